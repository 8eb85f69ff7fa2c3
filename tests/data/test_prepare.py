"""Preparation steps: exact small cases, and the beam stays in the middle."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from exitwave.data import prepare
from exitwave.data.errors import InputError
from exitwave.data.geometry import Geometry
from exitwave.data.patterns import ArrayPatterns
from exitwave.data.prepare.steps import prepared
from exitwave.data.scan import Scan

SHAPES = [(8, 12), (9, 12), (8, 13), (9, 13)]


class CountingPatterns:
    """Patterns that remember which frames were read."""

    in_memory = False

    def __init__(self, array):
        self.array, self.reads = array, []

    @property
    def shape(self):
        return tuple(self.array.shape)

    def read(self, index):
        self.reads.append(index.tolist())
        return self.array[index]


def scan_of(patterns, **changes) -> Scan:
    if isinstance(patterns, torch.Tensor):
        patterns = ArrayPatterns(patterns.to(torch.float32))
    frames = patterns.shape[0]
    geometry = Geometry(wavelength_m=1e-10, distance_m=2.0, detector_pixel_m=(50e-6, 75e-6))
    positions = torch.stack([torch.arange(frames) * 1e-6, torch.zeros(frames)], dim=1)
    return Scan(patterns=patterns, positions_m=positions, geometry=geometry, **changes)


def random_scan(shape=(8, 12), frames=5, **changes) -> Scan:
    generator = torch.Generator().manual_seed(1)
    return scan_of(torch.randint(0, 100, (frames, *shape), generator=generator), **changes)


def beam_scan(shape) -> Scan:
    """All light on the pixel that is the beam centre by convention."""
    patterns = torch.zeros(3, *shape)
    patterns[:, shape[0] // 2, shape[1] // 2] = 100.0
    return scan_of(patterns)


def centre_of(scan) -> tuple[int, int]:
    row, column = (scan.frames(slice(None)).sum(0) > 0).nonzero()[0].tolist()
    return row, column


def is_centred(scan) -> bool:
    height, width = scan.frame_shape
    return centre_of(scan) == (height // 2, width // 2)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("orientation", prepare.ORIENTATIONS)
def test_every_orientation_keeps_the_beam_in_the_middle(shape, orientation):
    assert is_centred(prepare.orient(beam_scan(shape), orientation))


NUMPY = {
    "identity": lambda a: a,
    "fliplr": np.fliplr,
    "flipud": np.flipud,
    "rot180": lambda a: np.rot90(a, 2),
    "transpose": np.transpose,
    "antitranspose": lambda a: np.rot90(a, 2).T,
    "rot90_cw": lambda a: np.rot90(a, -1),
    "rot90_ccw": lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", prepare.ORIENTATIONS)
def test_orientations_of_odd_frames_are_those_of_numpy(orientation):
    mask = torch.rand(9, 13, generator=torch.Generator().manual_seed(2)) > 0.3
    scan = random_scan((9, 13), mask=mask, background=torch.arange(9 * 13.0).reshape(9, 13))
    turned = prepare.orient(scan, orientation)
    turn = NUMPY[orientation]
    assert np.array_equal(turned.frames(slice(2, 3))[0], turn(scan.frames(slice(2, 3))[0].numpy()))
    assert np.array_equal(turned.mask, turn(mask.numpy()))
    assert np.array_equal(turned.background, turn(scan.background.numpy()))


@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("orientation", prepare.ORIENTATIONS)
def test_an_orientation_and_its_inverse_cancel(shape, orientation, near):
    inverse = {"rot90_cw": "rot90_ccw", "rot90_ccw": "rot90_cw"}.get(orientation, orientation)
    scan = random_scan(shape)
    if near:
        scan = replace(scan, geometry=replace(scan.geometry, focus_distance_m=0.1))
    back = prepare.orient(prepare.orient(scan, orientation), inverse)
    assert torch.equal(back.frames(slice(None)), scan.frames(slice(None)))
    assert back.geometry == scan.geometry


def test_near_field_frames_are_mirrored_as_pictures():
    scan = random_scan((8, 12))
    scan = replace(scan, geometry=replace(scan.geometry, focus_distance_m=0.1))
    flipped = prepare.orient(scan, "fliplr").frames(slice(0, 1))[0]
    assert np.array_equal(flipped, np.fliplr(scan.frames(slice(0, 1))[0].numpy()))


def test_far_field_flip_of_an_even_frame_is_the_pattern_of_the_mirrored_object():
    wave = torch.randn(8, 12, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    mirrored = wave.flip(1).roll(1, 1)

    def pattern(field):
        return torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(field))).abs().square()

    turned = prepare.orient(scan_of(pattern(wave)[None]), "fliplr").frames(slice(None))[0]
    assert torch.allclose(turned, pattern(mirrored).to(torch.float32), rtol=1e-5)


def test_transposing_swaps_the_detector_pixel_and_leaves_positions():
    scan = random_scan()
    turned = prepare.orient(scan, "rot90_cw")
    assert turned.geometry.detector_pixel_m == (75e-6, 50e-6)
    assert turned.frame_shape == (12, 8)
    assert torch.equal(turned.positions_m, scan.positions_m)
    assert turned.object_pixel_m == tuple(reversed(scan.object_pixel_m))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [4, 5, (5, 4), (8, 12)])
def test_a_crop_keeps_the_beam_in_the_middle(shape, size):
    assert is_centred(prepare.crop(beam_scan(shape), size))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [13, 16, 17, (9, 14), (14, 13)])
def test_padding_keeps_the_beam_in_the_middle_and_a_crop_undoes_it(shape, size):
    scan = random_scan(shape)
    assert is_centred(prepare.pad(beam_scan(shape), size))
    padded = prepare.pad(scan, size)
    assert not padded.mask.all()
    assert int(padded.mask.sum()) == shape[0] * shape[1]
    back = prepare.crop(padded, shape)
    assert torch.equal(back.frames(slice(None)), scan.frames(slice(None)))
    assert back.mask.all()


def test_a_crop_takes_the_stated_window_of_frames_mask_and_background():
    mask = torch.ones(8, 12, dtype=torch.bool)
    mask[4, 5] = False
    scan = random_scan(mask=mask, background=torch.arange(96.0).reshape(8, 12))
    cropped = prepare.crop(scan, (2, 3), centre=(5, 6))
    assert torch.equal(cropped.frames(slice(None)), scan.frames(slice(None))[:, 4:6, 5:8])
    assert torch.equal(cropped.background, scan.background[4:6, 5:8])
    assert cropped.mask.tolist() == [[False, True, True], [True, True, True]]


@pytest.mark.parametrize(("size", "centre"), [(9, None), ((2, 13), None), (4, (1, 6)), (4, (4, 11)), (0, None)])
def test_an_impossible_crop_is_refused(size, centre):
    with pytest.raises(InputError):
        prepare.crop(random_scan(), size, centre)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("centre", [(2, 9), (5, 3)])
def test_recentring_finds_the_beam_and_distrusts_the_revealed_edge(shape, centre):
    patterns = torch.zeros(3, *shape)
    patterns[:, centre[0], centre[1]] = 7.0
    patterns[:, 0, 0] = 1e6  # a hot pixel that is known
    mask = torch.ones(shape, dtype=torch.bool)
    mask[0, 0] = False
    scan = scan_of(patterns, mask=mask)
    for centred in (prepare.recentre(scan), prepare.recentre(scan, centre)):
        frame = centred.frames(slice(0, 1))[0]
        assert frame[shape[0] // 2, shape[1] // 2] == 7.0
        rows, columns = abs(centre[0] - shape[0] // 2), abs(centre[1] - shape[1] // 2)
        assert int((~centred.mask).sum()) >= shape[0] * shape[1] - (shape[0] - rows) * (shape[1] - columns)
        assert centred.frame_shape == shape


def test_recentring_dark_frames_or_to_nowhere_is_refused():
    with pytest.raises(InputError, match="dark"):
        prepare.recentre(scan_of(torch.zeros(3, 8, 8)))
    with pytest.raises(InputError, match="outside"):
        prepare.recentre(random_scan(), (8, 0))


@pytest.mark.parametrize("shape", [*SHAPES, (16, 12), (15, 15), (21, 12)])
@pytest.mark.parametrize("factor", [2, 3, 4, (2, 3)])
def test_binning_keeps_the_beam_in_the_middle(shape, factor):
    assert is_centred(prepare.bin(beam_scan(shape), factor))


def test_binning_sums_photons_and_trusts_only_whole_bins():
    mask = torch.ones(8, 12, dtype=torch.bool)
    mask[3, 4] = False
    scan = random_scan(mask=mask, background=torch.ones(8, 12))
    binned = prepare.bin(scan, (2, 3))
    frames = scan.frames(slice(None))
    assert torch.equal(binned.frames(slice(None)), frames.reshape(5, 4, 2, 4, 3).sum((2, 4)))
    assert (~binned.mask).nonzero().tolist() == [[1, 1]]
    assert torch.equal(binned.background, torch.full((4, 4), 6.0))
    assert binned.geometry.detector_pixel_m == pytest.approx((100e-6, 225e-6))
    assert binned.object_pixel_m == pytest.approx(scan.object_pixel_m)
    with pytest.raises(InputError, match="bin factor 9"):
        prepare.bin(scan, 9)


@pytest.mark.usefixtures("unchecked")
def test_masks_only_ever_lose_trust():
    mask = torch.zeros(8, 12, dtype=torch.bool)
    mask[2:] = True
    second = torch.ones(8, 12, dtype=torch.bool)
    second[:, :3] = False
    both = prepare.mask_pixels(random_scan(mask=mask), second).mask
    assert torch.equal(both, mask & second)
    with pytest.raises(InputError, match="mask has shape"):
        prepare.mask_pixels(random_scan(), torch.ones(3, 3))


def test_saturated_hot_and_dead_pixels_are_found_and_no_others():
    counts = torch.poisson(torch.full((40, 16, 16), 3.0), generator=torch.Generator().manual_seed(3))
    counts[17, 2, 3] = 1000.0
    counts[:, 5, 6] = 300.0
    counts[:, 9, 0] = 0.0
    counts[:, 12:, 12:] = 0.0  # a truly dark corner is not dead
    scan = scan_of(counts)
    assert (~prepare.mask_saturated(scan, 1000.0).mask).nonzero().tolist() == [[2, 3]]
    assert (~prepare.mask_hot(scan).mask).nonzero().tolist() == [[5, 6]]
    dead = (~prepare.mask_dead(scan).mask).nonzero().tolist()
    assert [9, 0] in dead
    assert all(row >= 12 and column >= 12 for row, column in dead if [row, column] != [9, 0])
    assert [15, 15] not in dead
    assert [14, 14] not in dead


def test_background_is_taken_off_once_and_never_below_zero():
    scan = random_scan(background=torch.full((8, 12), 30.0))
    clean = prepare.subtract_background(scan)
    assert torch.equal(clean.frames(slice(None)), (scan.frames(slice(None)) - 30).clamp(min=0))
    with pytest.raises(InputError, match="no background"):
        prepare.subtract_background(clean)
    with pytest.raises(InputError, match="background has shape"):
        prepare.subtract_background(scan, torch.zeros(3, 3))


def test_threshold_zeroes_only_what_lies_below():
    clean = prepare.threshold(scan_of(torch.tensor([[[5.0, 6.0, 7.0]]])), 6)
    assert clean.frames(slice(None)).tolist() == [[[0.0, 6.0, 7.0]]]
    with pytest.raises(InputError):
        prepare.threshold(clean, float("nan"))


def test_monitor_normalisation_undoes_a_drifting_beam():
    steady = torch.full((4, 8, 12), 60.0)
    beam = torch.tensor([0.5, 1.0, 1.5, 1.0])
    scan = scan_of(steady * beam[:, None, None], monitor=beam * 1e5)
    level = prepare.normalise_by_monitor(scan)
    assert torch.allclose(level.frames(torch.tensor([2, 0])), torch.tensor(60.0))
    assert level.monitor is None
    with pytest.raises(InputError, match="first: frame 1"):
        prepare.normalise_by_monitor(scan, torch.tensor([1.0, 0.0, 1.0, 1.0]))


@pytest.mark.usefixtures("unchecked")
def test_selection_carries_positions_and_monitor_along():
    scan = random_scan(monitor=torch.arange(1.0, 6.0))
    frames = scan.frames(slice(None))
    for index, kept in [
        (slice(1, None, 2), [1, 3]),
        ([4, 0, -2], [4, 0, 3]),
        (torch.tensor([True, False, False, True, False]), [0, 3]),
    ]:
        part = prepare.select(scan, index)
        assert torch.equal(part.frames(slice(None)), frames[kept])
        assert torch.equal(part.positions_m, scan.positions_m[kept])
        assert part.monitor.tolist() == [k + 1 for k in kept]
    for wrong in ([], [5], [-6], [0.5], slice(9, 12), torch.tensor([True])):
        with pytest.raises(InputError):
            prepare.select(scan, wrong)


def test_preparing_reads_nothing_and_reading_costs_only_the_frames_asked_for():
    patterns = CountingPatterns(torch.ones(50, 16, 16))
    scan = scan_of(patterns, background=torch.zeros(16, 16), monitor=torch.ones(50))
    scan = prepare.select(prepare.orient(prepare.pad(prepare.crop(scan, 8), 10), "transpose"), slice(10, 40))
    scan = prepare.bin(prepare.threshold(prepare.normalise_by_monitor(prepare.subtract_background(scan)), 0.5), 2)
    assert patterns.reads == []
    assert not scan.patterns.in_memory
    assert scan.frames(torch.tensor([3, 1])).shape == (2, 5, 5)
    assert patterns.reads == [[13, 11]]
    assert [line.split(":")[0] for line in scan.provenance["preparation"]] == [
        "crop",
        "pad",
        "orient",
        "select",
        "subtract_background",
        "normalise_by_monitor",
        "threshold",
        "bin",
    ]


def test_loading_into_memory_applies_what_was_prepared(monkeypatch):
    monkeypatch.setattr("exitwave.data.prepare.chunks.CHUNK_PIXELS", 40)
    patterns = CountingPatterns(torch.arange(5 * 8 * 12.0).reshape(5, 8, 12))
    lazy = prepare.crop(scan_of(patterns), 4)
    held = prepare.to_memory(lazy)
    assert patterns.reads == [[0, 1], [2, 3], [4]]
    assert isinstance(held.patterns, ArrayPatterns)
    assert torch.equal(held.frames(slice(None)), patterns.array[:, 2:6, 4:8])


def test_the_scan_given_is_left_alone():
    scan = random_scan(provenance={"file": "a.h5"})
    before = scan.frames(slice(None)).clone()
    prepare.subtract_background(prepare.bin(scan, 2), torch.ones(4, 6)).frames(slice(None)).add_(5)
    assert torch.equal(scan.frames(slice(None)), before)
    assert scan.provenance == {"file": "a.h5"}


@pytest.mark.parametrize("orientation", prepare.ORIENTATIONS)
def test_the_matrix_of_an_orientation_says_where_pixels_go(orientation):
    patterns = torch.zeros(2, 9, 9)
    patterns[:, 4 + 3, 4 + 1] = 100.0
    row, column = centre_of(prepare.orient(scan_of(patterns), orientation))
    expected = prepare.laid(orientation) @ torch.tensor([3.0, 1.0], dtype=torch.float64)
    assert [row - 4, column - 4] == expected.tolist()


def test_positions_are_mapped_by_a_matrix_and_a_note_says_so():
    scan = prepared(random_scan(), ({"map_positions": [[0, -1], [1.05, 0]]},))
    torch.testing.assert_close(scan.positions_m[2], torch.tensor([0.0, 2.1e-6], dtype=torch.float64))
    assert scan.provenance["preparation"] == ["map_positions: [[0, -1], [1.05, 0]]"]
    with pytest.raises(InputError, match="onto a line"):
        prepare.map_positions(random_scan(), ((1.0, 1.0), (1.0, 1.0)))


def test_a_turn_is_counter_clockwise_as_seen():
    up = prepare.rotation(90) @ torch.tensor([0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(up, torch.tensor([-1.0, 0.0], dtype=torch.float64))


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_orientation_is_refused_by_name():
    with pytest.raises(InputError, match="rot90_cw"):
        prepare.orient(random_scan(), "upside_down")


def test_dropping_empty_frames_and_repeated_positions_keeps_the_rest_in_order():
    scan = random_scan(frames=6)
    patterns = scan.frames(slice(None))
    patterns[1] = 0
    positions = scan.positions_m.clone()
    positions[4] = positions[3]
    lit = prepare.drop_empty(replace(scan, patterns=ArrayPatterns(patterns), positions_m=positions))
    assert torch.equal(lit.positions_m, positions[[0, 2, 3, 4, 5]])
    distinct = prepare.drop_duplicates(lit)
    assert torch.equal(distinct.frames(slice(None)), patterns[[0, 2, 3, 5]])
