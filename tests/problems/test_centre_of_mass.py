"""Turns and mirrors by the curl of the centre of mass."""

from functools import cache

import pytest
import torch

from exitwave.data import prepare
from exitwave.data.scan import Scan
from exitwave.problems.centre_of_mass import least_curl
from exitwave.running.orientation import find_orientation
from exitwave.simulation.detection import Detection
from exitwave.simulation.stem import Microscope, simulate_stem


@cache
def scan() -> Scan:
    microscope = Microscope(scan="18x18", defocus_nm=8.0)
    return simulate_stem("lattices", microscope=microscope, detection=Detection(photons_per_frame=1e5)).scan


@pytest.mark.parametrize("orientation", prepare.ORIENTATIONS)
def test_every_way_to_lay_the_frames_is_put_right_up_to_half_a_turn(orientation: prepare.Orientation) -> None:
    laid = prepare.orient(scan(), orientation)
    found = find_orientation(laid)
    assert found.judged_by == "curl"
    assert found.sure
    again = prepare.laid(found.frames) @ prepare.laid(orientation)
    turn = torch.tensor(found.positions.matrix, dtype=torch.float64) * (-1.0 if found.flip_positions else 1.0)
    assert torch.equal(again.abs(), torch.eye(2, dtype=again.dtype))
    assert float(torch.linalg.det(again)) > 0
    torch.testing.assert_close(turn, torch.eye(2, dtype=torch.float64))


@pytest.mark.parametrize("degrees", [-35.0, 20.0, 75.0])
def test_an_angle_is_found_as_well_as_it_says(degrees: float) -> None:
    turned = prepare.map_positions(scan(), tuple(map(tuple, prepare.rotation(-degrees).tolist())))  # pyright: ignore[reportArgumentType]
    found = least_curl(turned)
    assert found is not None
    best, other = found
    assert not best.mirrored
    assert best.share < 0.5 * other.share
    off = (best.turn_deg - degrees + 90) % 180 - 90
    assert abs(off) < max(4 * best.deviation_deg, 1.0)
    assert best.deviation_deg < 5


def test_a_beam_that_wanders_with_the_scan_is_no_image() -> None:
    # The descan moves all patterns along with the positions, and not along the gradient of anything.
    ramp = scan().positions_m @ torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    moved = (ramp / ramp.abs().max() * 4).round().to(torch.int64).tolist()
    frames = scan().frames(slice(None))
    rolled = torch.stack([torch.roll(f, m, (0, 1)) for f, m in zip(frames, moved, strict=True)])
    wandering = Scan(patterns=rolled, positions_m=scan().positions_m, geometry=scan().geometry)  # pyright: ignore[reportArgumentType]
    found = least_curl(wandering)
    assert found is not None
    assert abs((found[0].turn_deg + 90) % 180 - 90) < 15


def test_too_few_frames_or_frames_on_a_line_tell_nothing() -> None:
    assert least_curl(prepare.select(scan(), slice(0, 10))) is None
    assert least_curl(prepare.select(scan(), slice(0, 18))) is None
