"""A scan reads what it is asked for, and refuses shapes that do not fit together."""

import numpy as np
import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.geometry import Geometry
from exitwave.data.patterns import ArrayPatterns, MappedPatterns, Patterns, RememberedPatterns, SelectedPatterns
from exitwave.data.scan import Scan

GEOMETRY = Geometry(wavelength_m=1e-10, distance_m=1.0, detector_pixel_m=(1e-5, 2e-5))


pytestmark = pytest.mark.usefixtures("unchecked")
"""A scan takes plain arrays, and refuses what does not fit in its own words."""


def scan_of(patterns, **changes) -> Scan:
    fields = {"patterns": patterns, "positions_m": torch.zeros(len(patterns), 2), "geometry": GEOMETRY}
    return Scan(**(fields | changes))


def test_a_memory_map_gives_single_frames_and_stays_on_disk(tmp_path):
    stack = np.memmap(tmp_path / "stack.raw", dtype=np.uint16, mode="w+", shape=(20, 6, 8))
    stack[:] = np.arange(20 * 48).reshape(20, 6, 8)
    scan = scan_of(stack)
    assert not scan.patterns.in_memory
    frames = scan.frames(torch.tensor([7, 2]))
    assert frames.dtype == torch.float32
    assert torch.equal(frames, torch.from_numpy(stack[[7, 2]].astype(np.float32)))


def test_a_memory_map_larger_than_memory_opens_and_gives_its_last_frame(tmp_path):
    path = tmp_path / "huge.raw"
    shape = (400_000, 256, 256)  # 105 GB, a sparse file
    with path.open("wb") as file:
        file.truncate(int(np.prod(shape)) * 4)
    stack = np.memmap(path, dtype=np.float32, mode="r+", shape=shape)
    stack[-1, 3, 4] = 5.0
    scan = scan_of(stack)
    assert scan.frames(slice(-1, None))[0, 3, 4] == 5.0


def test_layers_of_selection_and_mapping_ask_their_source_only_for_the_frames_needed():
    asked = []

    class Counting:
        shape = (30, 4, 4)
        in_memory = False

        def read(self, index):
            asked.append(index.tolist())
            return torch.ones(len(index), 4, 4) * index[:, None, None]

    selected = SelectedPatterns(Counting(), torch.tensor([9, 4, 27]))
    doubled = MappedPatterns(selected, lambda frames, index: 2 * frames[:, :2], (2, 4))
    assert isinstance(doubled, Patterns)
    assert doubled.shape == (3, 2, 4)
    assert not doubled.in_memory
    assert doubled.read(torch.tensor([2, 0]))[:, 0, 0].tolist() == [54.0, 18.0]
    assert asked == [[27, 9]]


def test_frames_takes_slices_and_any_order():
    scan = scan_of(torch.arange(5 * 4.0).reshape(5, 2, 2))
    assert scan.frames(slice(1, 4, 2)).shape == (2, 2, 2)
    assert scan.frames(torch.tensor([4, 0]))[:, 0, 0].tolist() == [16.0, 0.0]
    assert len(scan) == 5
    assert scan.frame_shape == (2, 2)


def test_positions_are_kept_in_double_precision_and_the_mask_defaults_to_trust():
    positions = np.array([[0.0, 1e-6], [1.000000001e-3, 0.0]])
    scan = scan_of(np.ones((2, 3, 4), dtype=np.uint8), positions_m=positions)
    assert scan.positions_m.dtype == torch.float64
    assert np.array_equal(scan.positions_m, positions)
    assert scan.mask.dtype == torch.bool
    assert scan.mask.all()


@pytest.mark.parametrize(
    "changes",
    [
        {"patterns": torch.ones(3, 4)},
        {"patterns": torch.ones(3, 4, 4, dtype=torch.complex64)},
        {"patterns": np.ones((3, 4, 4), dtype=np.complex64)},
        {"positions_m": torch.zeros(2, 2)},
        {"positions_m": torch.zeros(3, 3)},
        {"mask": torch.ones(4, 5, dtype=torch.bool)},
        {"background": torch.ones(3, 4, 4)},
        {"monitor": torch.ones(4)},
    ],
)
def test_what_does_not_fit_together_is_refused(changes):
    with pytest.raises(InputError):
        scan_of(**({"patterns": torch.ones(3, 4, 4)} | changes))


def test_unequal_numbers_of_frames_and_positions_are_both_named():
    with pytest.raises(InputError, match="3 diffraction patterns but 2 positions"):
        scan_of(torch.ones(3, 4, 4), positions_m=torch.zeros(2, 2))


def test_a_wrapped_array_is_in_memory():
    assert ArrayPatterns(np.ones((2, 3, 4))).in_memory
    assert ArrayPatterns(torch.ones(2, 3, 4)).shape == (2, 3, 4)


def test_an_estimate_clones_without_sharing_and_checks_its_axes():
    estimate = PtychoEstimate(
        object=torch.ones(1, 5, 5, dtype=torch.complex64),
        probe=torch.ones(2, 3, 3, dtype=torch.complex64),
        positions_px=torch.zeros(4, 2, dtype=torch.float64),
    )
    copy = estimate.clone()
    copy.object.zero_()
    assert estimate.object.abs().min() == 1
    with pytest.raises(InputError, match="expected"):
        PtychoEstimate(object=estimate.object[0], probe=estimate.probe, positions_px=estimate.positions_px)


def test_remembered_patterns_are_those_of_the_source_and_each_is_read_once():
    array, read = torch.arange(5 * 6).reshape(5, 2, 3).float(), list[int]()

    class Counting(ArrayPatterns):
        def read(self, index):
            read.extend(index.tolist())
            return super().read(index)

    for room, times in ((5 * 24, [3, 1, 0]), (24, [3, 1, 1, 0, 1])):
        read.clear()
        kept = RememberedPatterns(Counting(array), room)
        for index in ([3, 1, 1], [0, 1]):
            assert torch.equal(kept.read(torch.tensor(index)), array[index])
        assert read == times
