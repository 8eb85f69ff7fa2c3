"""How stage and detector lie to each other is found from the frames, with how sure that is; right scans stay as they are."""

from dataclasses import replace
from functools import cache

import pytest
import torch

import exitwave as ew
from exitwave.data import prepare
from exitwave.data.errors import DoubtfulImageWarning, ExitwaveError, InputError
from exitwave.data.position_map import PositionMap
from exitwave.data.scan import Scan
from exitwave.problems.frame_lag import frame_lag
from exitwave.running import orientation as module
from exitwave.running.orientation import Orientation, find_orientation, oriented


@cache
def made(seed: int = 5, frames: int = 64) -> Scan:
    return ew.simulate("natural", frame_px=48, frames=frames, overlap=0.75, seed=seed).scan


def turned(scan: Scan, degrees: float) -> Scan:
    """A scan whose stage was turned: positions must be turned back."""
    return replace(scan, positions_m=scan.positions_m @ prepare.rotation(-degrees).T)


def test_an_angle_and_a_mirrored_detector_are_found_and_undone():
    scan = prepare.to_memory(prepare.orient(turned(made(), 25), "transpose"))
    found = find_orientation(scan)
    assert found.sure
    assert found.frames in ("transpose", "antitranspose")
    assert found.positions.rotation_deg == pytest.approx(25, abs=0.3)
    assert found.residual < 0.3 * found.as_read
    right = found.applied(scan)
    off = right.positions_m - made().positions_m
    assert float((off - off.mean(dim=0)).abs().max()) < 0.5 * scan.object_pixel_m[0]
    assert torch.equal(right.frames(torch.arange(2)), made().frames(torch.arange(2)))


def test_a_scan_that_is_right_stays_exactly_as_it_is():
    found = find_orientation(made())
    assert found.sure
    assert not found.changes
    assert found.applied(made()) is made()
    assert found.options(made()) == ()


def test_gaps_that_read_the_largest_number_decide_nothing():
    frames = made().frames(slice(None)).clone()
    frames[:, 30:32], frames[:, :, 10] = 2.0**32 - 1, 2.0**32 - 1
    scan = replace(made(), patterns=frames)
    found = find_orientation(scan)
    assert found.sure
    assert not found.changes
    assert found.applied(scan) is scan
    assert frame_lag(scan).lag == 0


@pytest.mark.slow
def test_the_sign_of_positions_is_seen_in_the_near_field():
    scan = ew.simulate(
        "siemens", frame_px=64, frames=64, overlap=0.7, focus_distance_m=2e-3, distance_m=1.0, seed=1
    ).scan
    found = find_orientation(replace(scan, positions_m=-scan.positions_m))
    assert found.sure
    assert (found.frames, found.flip_positions) == ("identity", True)
    assert found.options(scan)[0] == "--position-sign sample"


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "matrix"), [(6, ((1.06, 0.0), (0.0, 1.06))), (7, ((0.95, 0.0), (0.0, 1.04)))])
def test_a_stretch_is_found_to_two_percent(seed, matrix):
    scan = made(seed, 100)
    wrong = replace(scan, positions_m=scan.positions_m @ torch.linalg.inv(torch.tensor(matrix).double()).T)
    found = find_orientation(wrong)
    assert found.sure
    assert found.positions.scales == pytest.approx((matrix[0][0], matrix[1][1]), abs=0.02)
    assert found.positions.rotation_deg == pytest.approx(0, abs=0.3)


@pytest.mark.slow
def test_noise_is_no_ground_for_an_orientation():
    scan = made()
    shuffled = replace(
        scan, positions_m=scan.positions_m[torch.randperm(64, generator=torch.Generator().manual_seed(1))]
    )
    with pytest.warns(DoubtfulImageWarning, match="left as they are"):
        assert oriented(shuffled) is shuffled


def test_photon_noise_that_all_residuals_share_makes_none_doubtful():
    def told(best: float, other: float, noise: float) -> Orientation:
        return Orientation(
            frames="identity",
            flip_positions=False,
            positions=PositionMap.of(torch.eye(2, dtype=torch.float64)),
            deviation=0.0,
            residual=best,
            runner_up=other,
            as_read=other,
            noise=noise,
        )

    assert told(0.020, 0.022, 0.0).doubts == told(0.020, 0.022, 0.012).doubts != ()
    assert told(0.020, 0.022, 0.018).sure
    assert told(0.017, 0.019, 0.018).sure
    assert not told(0.0175, 0.0180, 0.0179).sure


@pytest.mark.slow
def test_a_mirrored_scan_of_few_photons_is_told_with_certainty():
    scan = ew.simulate("natural", frame_px=48, frames=64, overlap=0.75, seed=6, photons_per_frame=1e3).scan
    found = find_orientation(prepare.to_memory(prepare.orient(scan, "transpose")))
    assert found.sure
    assert found.frames in ("transpose", "antitranspose")
    assert found.noise == pytest.approx(found.residual, rel=0.3)


def test_scans_without_overlap_are_refused():
    far_apart = replace(made(), positions_m=10 * made().positions_m)
    with pytest.raises(ExitwaveError, match="too sparse"):
        find_orientation(far_apart)
    with pytest.raises(InputError, match="for a scan only"):
        oriented(ew.simulate_pattern(frame_px=48).scan)


@pytest.mark.parametrize("frames", prepare.ORIENTATIONS)
@pytest.mark.parametrize("degrees", [0.0, -30.0])
def test_what_is_told_to_be_added_reads_the_scan_right(frames, degrees):
    found = Orientation(
        frames=frames,
        flip_positions=False,
        positions=PositionMap.of(prepare.rotation(degrees)),
        deviation=0.0,
        residual=1.0,
        runner_up=2.0,
        as_read=2.0,
    )
    scan = replace(made(), provenance={"orientation": "rot90_cw", "position_sign": "probe", "rotation_deg": 5.0})
    words = " ".join(found.options(scan))
    stated = words.partition("--orientation ")[2].partition(" ")[0] or "rot90_cw"
    assert torch.equal(prepare.laid(stated), prepare.laid(frames) @ prepare.laid("rot90_cw"))
    assert ("--rotation-deg -25.000" in words) == (degrees != 0)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0.0, 80.0, 100.0, -170.0])
def test_of_all_descriptions_that_nearest_to_the_recorded_positions_is_told(mirrored, angle):
    frames, flip, matrix = module._least_change(mirrored, prepare.rotation(angle), near_field=True)  # pyright: ignore
    assert abs(PositionMap.of(matrix).rotation_deg) <= 10 + 1e-9
    back = prepare.laid("transpose" if mirrored else "identity") @ prepare.laid(frames).T
    sign = -1 if flip else 1
    assert frames in prepare.ORIENTATIONS
    torch.testing.assert_close(sign * (back @ matrix), prepare.rotation(angle), atol=1e-9, rtol=0)


def test_a_map_is_told_by_angles_and_stretches_of_its_axes():
    told = PositionMap.of(prepare.rotation(10) @ torch.diag(torch.tensor([1.02, 0.97], dtype=torch.float64)))
    assert told.rotation_deg == pytest.approx(10)
    assert told.scales == pytest.approx((1.02, 0.97))
    assert told.shear_deg == pytest.approx(0, abs=1e-9)
    assert PositionMap.of(prepare.rotation(0.1)).rounded(0.2, 0.2, 0.01).largest_change == 0
    again = told.rounded(0.0, 0.0, 0.0).matrix
    torch.testing.assert_close(torch.tensor(again), torch.tensor(told.matrix))


@pytest.mark.parametrize("lag", [-1, 0, 1])
def test_frames_that_belong_to_the_next_position_are_told(lag):
    scan = made()
    wrong = replace(scan, positions_m=scan.positions_m.roll(lag, dims=0))
    found = frame_lag(prepare.select(wrong, slice(1, -1)))
    assert found.lag == lag
