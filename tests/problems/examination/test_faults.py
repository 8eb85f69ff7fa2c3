"""Every fault that has one safe cure is cured, and nothing else; what has none is refused with its cure."""

from dataclasses import replace

import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.data.prepare.steps import prepared
from exitwave.problems.examination import examine
from made_measurements import made_pattern, made_scan, spoilt


def pixels(*places):
    mask = torch.zeros(64, 64, dtype=torch.bool)
    for place in places:
        mask[place] = True
    return mask


GAP = pixels((slice(None), slice(20, 22)), (slice(40, 43), slice(None)), (10, 50))


def masked(measurement):
    """What the examination masked, and which frames it left out."""
    found = examine(measurement)
    assert not found.refusals
    return measurement.mask & ~found.measurement.mask, found.measurement.provenance.get("frames_left_out", [])


@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize(
    "value",
    [2**32 - 1, 2**31 - 1, 2.0**64, 65535, 32767, 2**20 - 1, 12345678, -1, -2, -(2**31), float("nan"), float("inf")],
)
def test_marks_of_missing_data_are_masked(near, value):
    scan = made_scan(near=near, photons=(1e3, 1e6)[near])
    # In nearly all frames: some were never exposed.
    marked = spoilt(scan, lambda frames: (frames.masked_fill_(GAP, value), frames[:3].zero_()))
    found, left_out = masked(marked)
    assert bool((found == GAP).all())
    assert left_out == [0, 1, 2]


@pytest.mark.parametrize("value", [2**32 - 1, 65535, -1, float("nan")])
def test_marks_are_masked_in_a_single_pattern(value):
    gap = torch.zeros(128, 128, dtype=torch.bool)
    gap[50:54], gap[:, 90] = True, True
    found, _ = masked(spoilt(made_pattern(1e7), lambda frames: frames.masked_fill_(gap, value)))
    assert bool((found == gap).all())


def test_a_mark_is_told_as_it_was_written():
    (finding,) = examine(spoilt(made_scan(), lambda frames: frames.masked_fill_(GAP, 2**32 - 1))).findings
    assert (finding.name, finding.action) == ("sentinel-pixels", "cured")
    assert f"{int(GAP.sum())} pixels masked, 4294967295" in finding.message


@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("value", [3.0, 40.0, 500.0, 1e6])
def test_stuck_pixels_are_masked(near, value):
    stuck = pixels((31, 34), (12, 50))
    found, _ = masked(
        spoilt(made_scan(near=near, photons=1e5, seed=2), lambda frames: frames.masked_fill_(stuck, value))
    )
    assert bool((found == stuck).all())


@pytest.mark.parametrize("factor", [1.0, 1e-3, 7.0])
@pytest.mark.parametrize("near", [False, True])
def test_hot_and_dead_pixels_are_masked_in_any_unit(near, factor):
    hot, dead = pixels((31, 40), (12, 50), (3, 3)), pixels((31, 36), (30, 26), (30, 27))

    def spoil(frames):
        level = 30 * frames.mean(dim=0)[hot].clamp(min=float(frames.mean()) * 2)
        frames[:, hot] = torch.poisson(level.expand(len(frames), -1), generator=torch.Generator().manual_seed(1))
        frames[:, dead] = 0
        frames *= factor

    found, _ = masked(spoilt(made_scan(near=near, photons=1e6, seed=3), spoil))
    assert bool((found == hot | dead).all())


@pytest.mark.parametrize("frames", [9, 49])
@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize(
    "ruin",
    [
        lambda frame: frame.mul_(40),
        lambda frame: frame.div_(40).round_(),
        lambda frame: frame.fill_(float(frame.mean())),
        lambda frame: frame.zero_(),
        lambda frame: frame[5, 5].fill_(float("nan")),
        lambda frame: frame[9, 9].fill_(2.0**32),
    ],
    ids=["too bright", "too dark", "flat", "empty", "NaN", "without data"],
)
def test_bad_frames_are_left_out_by_number(frames, near, ruin):
    number = frames // 2
    scan = made_scan(near=near, frames=frames, photons=1e5, seed=4)
    found, left_out = masked(spoilt(scan, lambda stack: ruin(stack[number])))
    assert left_out == [number]
    assert not found.any()


def test_two_corrupt_frames_of_many_are_left_out():
    scan = made_scan(frames=64, seed=6)
    shuffled = torch.randperm(64 * 64, generator=torch.Generator().manual_seed(5))

    def spoil(frames):
        frames[10] *= 40
        frames[41] = frames[41].flatten()[shuffled].reshape(64, 64)

    _, left_out = masked(spoilt(scan, spoil))
    assert left_out == [10, 41]


def test_a_pixel_that_fails_often_is_masked_and_no_frame_left_out():
    found, left_out = masked(spoilt(made_scan(), lambda frames: frames[::4, 30, 30].fill_(float("nan"))))
    assert found.nonzero().tolist() == [[30, 30]]
    assert left_out == []


@pytest.mark.parametrize("offset", [(4e-5, 0.0), (1e6, 1e6), (float("nan"), 0.0), (0.0, float("inf"))])
def test_positions_that_cannot_be_are_left_out(offset):
    scan = made_scan(frames=25)
    positions = scan.positions_m.clone()
    positions[7] += torch.tensor(offset, dtype=torch.float64)
    _, left_out = masked(replace(scan, positions_m=positions))
    assert left_out == [7]


def test_a_stage_that_jumps_and_comes_back_is_noticed_inside_a_large_scan():
    scan = made_scan(frames=400, frame_px=16, trajectory="raster")
    positions = scan.positions_m.clone()
    positions[30] += positions[-1] - positions[60]
    assert masked(replace(scan, positions_m=positions))[1] in ([30], [])


def test_a_scan_of_two_regions_is_left_whole():
    scan = made_scan(frames=60)
    positions = scan.positions_m.clone()
    positions[40:] += 1e-4
    assert masked(replace(scan, positions_m=positions))[1] == []


@pytest.mark.parametrize("axes", ["both", "rows", "columns"])
@pytest.mark.parametrize("frame_px", [63, 64])
def test_a_beam_in_the_corner_is_refused_and_its_cure_is_right(axes, frame_px):
    scan = made_scan(frame_px=frame_px, photons=1e4)
    dims = {"both": (1, 2), "rows": (1,), "columns": (2,)}[axes]
    turned = spoilt(scan, lambda frames: frames.copy_(torch.fft.ifftshift(frames, dim=dims)))
    (finding,) = examine(turned).refusals
    assert finding.name == "beam-in-corner"
    cured = prepared(turned, (finding.cure.removeprefix("--prepare "),))
    assert bool((cured.frames(slice(None)) == scan.frames(slice(None))).all())
    assert examine(cured).findings == ()


@pytest.mark.parametrize("shift", [(13, 0), (0, -14), (9, 11)])
def test_a_beam_far_off_the_middle_is_refused_and_its_cure_is_right(shift):
    moved = spoilt(made_scan(photons=1e4), lambda frames: frames.copy_(frames.roll(shift, (1, 2))))
    (finding,) = examine(moved).refusals
    assert (finding.name, finding.cure) == ("beam-off-centre", "--prepare recentre")
    assert examine(prepared(moved, ("recentre",))).refusals == ()


@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("lines", [slice(24, 26), slice(31, 32), slice(36, 40)])
def test_gaps_without_a_mask_are_refused_and_their_cure_is_right(near, lines):
    scan = spoilt(made_scan(near=near, photons=1e5), lambda frames: frames[:, lines].zero_())
    (finding,) = examine(scan).refusals
    assert finding.name == "straight-gaps"
    assert "mask_dead" in finding.cure
    cured = prepared(scan, ("mask_dead",))
    assert not cured.mask[lines].any()
    assert int((~cured.mask).sum()) == int((~cured.mask[lines]).sum())
    assert examine(cured).findings == ()


def test_an_area_behind_a_beam_stop_is_refused_and_its_cure_is_right():
    rows = torch.arange(64)[:, None] - 32
    behind = torch.hypot(rows.float(), rows.T.float()) < 5
    scan = spoilt(made_scan(probe="disc", photons=1e6), lambda frames: frames.masked_fill_(behind, 0.0))
    (finding,) = examine(scan).refusals
    assert finding.name == "dark-area"
    assert bool((~prepared(scan, ("mask_dead",)).mask == behind).all())


def test_frames_are_dropped_and_kept_as_asked():
    scan = spoilt(made_scan(), lambda frames: frames[20].mul_(40))
    assert examine(scan, drop_frames=(3, 4)).measurement.provenance["frames_left_out"] == [3, 4, 20]
    kept = examine(scan, keep_frames=(20,))
    assert (len(kept.measurement), kept.findings) == (49, ())
    with pytest.raises(InputError, match="frame 49 is named but there are frames 0 to 48"):
        examine(scan, drop_frames=(49,))


def test_a_frame_without_position_cannot_be_kept():
    scan = made_scan()
    positions = scan.positions_m.clone()
    positions[5] = float("nan")
    with pytest.raises(InputError, match="frames 5 are to be kept but their positions are not numbers"):
        examine(replace(scan, positions_m=positions), keep_frames=(5,))


def test_taken_as_it_is_nothing_changes():
    scan = spoilt(made_scan(), lambda frames: frames.masked_fill_(GAP, 65535))
    found = examine(scan, as_is=True)
    assert found.findings == ()
    assert bool(found.measurement.mask.all())


def test_a_measurement_is_examined_once():
    scan = spoilt(made_scan(), lambda frames: frames[20].mul_(40))
    first = examine(scan)
    again = examine(first.measurement)
    assert again.measurement is first.measurement
    assert again.findings == first.findings
