"""Dislocations: circuits about a screw close by 2 pi n, and strain is right where no unwrapped phase exists."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import exitwave as ew
import made_crystals as made
from exitwave.physics.crystal.dislocations import circuit_turns, phase_turns

CURVE = made.curve()
Q = CURVE.scattering_vector
ALONG = Q / np.linalg.norm(Q)
SIDE = np.linalg.qr(np.column_stack([ALONG, np.eye(3)[:, :2]]))[0]


def angle_about(line: np.ndarray, r: np.ndarray) -> np.ndarray:
    """The angle about a line through the middle, and the radius from it."""
    first = np.linalg.qr(np.column_stack([line, np.eye(3)[:, 1:]]))[0][:, 1]
    second = np.cross(line[::-1], first[::-1])[::-1]
    # Beside the middle, where no voxel stands.
    return np.arctan2(r @ second - 3.1e-9, r @ first - 2.3e-9)


def screw(turns: int, line: np.ndarray, core_m: float = 0.0) -> ew.BraggEstimate:
    """A ball with a dislocation along a line, Q . b = 2 pi turns; it may have an empty core."""
    density, _ = made.soft_ball(80e-9, 5e-9)

    def amplitude(r):
        radius = np.linalg.norm(np.cross(r, line), axis=-1)
        return density(np.linalg.norm(r, axis=-1)) * (radius >= core_m)

    return made.sampled(CURVE, amplitude, lambda r: turns * angle_about(line, r) / np.linalg.norm(Q))


@pytest.mark.parametrize("turns", [1, -1, 2])
@pytest.mark.parametrize("core_m", [0.0, 14e-9])
def test_a_dislocation_is_one_line_with_its_burgers_vector(turns, core_m):
    found = ew.dislocations(screw(turns, SIDE[:, 1], core_m))
    # On the voxels a double one is two singles side by side.
    assert [line.turns for line in found] == [abs(turns)]
    places = found[0].places_m
    away = np.linalg.norm(np.cross(places, SIDE[:, 1]), axis=1)
    assert np.percentile(away, 90) < 15e-9
    assert np.ptp(places @ SIDE[:, 1]) > 110e-9


@pytest.mark.parametrize("turns", [1, -1, 2, 0])
def test_burgers_circuits_close_by_whole_turns_wherever_they_run(turns):
    # Rocking turns Q within the plane of a frame, so that a screw runs in it.
    plane = screw(turns, ALONG).object.numpy()[:, 16]
    ends = [square(half) for half in (3, 4, 5)]
    # The array may be left-handed in the laboratory, so that the sense of the circuit is not said here.
    counted = {circuit_turns(plane, path) for path in ends}
    assert {abs(each) for each in counted} == {abs(turns)}
    assert len(counted) == 1
    assert circuit_turns(plane, square(1) + np.array([0, 4])) == 0


def square(half: int) -> np.ndarray:
    """A path of neighbouring pixels around the middle of a plane."""
    run = np.arange(-half, half)
    sides = [(-half + 0 * run, run), (run, half + 0 * run), (half + 0 * run, -run), (-run, -half + 0 * run)]
    return np.concatenate([np.stack(side, axis=1) for side in sides]) + 16


def test_a_circuit_counts_the_plaquettes_that_it_encloses():
    crystal = screw(1, ALONG).object.numpy()
    turns = phase_turns(crystal, np.ones(crystal.shape, bool))
    inside = turns[1, 12:20, 16, 12:20].sum()
    assert abs(inside) == 1
    # The square goes along columns first, then along frames, as the plaquettes square to rows do.
    assert circuit_turns(crystal[:, 16], square(4)) == inside
    assert circuit_turns(crystal[:, 16], square(4)[::-1]) == -inside


def test_no_line_ends_within_a_crystal():
    rng = np.random.default_rng(5)
    noise = torch.from_numpy(rng.normal(size=(12, 12, 12)) + 1j * rng.normal(size=(12, 12, 12)))
    turns = phase_turns(noise.numpy(), np.ones((12, 12, 12), bool))
    inner = slice(0, 11)
    flow = sum(np.take(t, range(1, 12), j) - np.take(t, range(0, 11), j) for j, t in enumerate_cut(turns))
    assert turns[:, inner, inner, inner].any()
    assert not flow.any()


def enumerate_cut(turns):
    """Turns square to each axis, cut to the cubes between voxels along the other two."""
    for axis in range(3):
        box = [slice(0, 11)] * 3
        box[axis] = slice(None)
        yield axis, turns[axis][tuple(box)]


def test_strain_about_a_dislocation_is_that_of_its_closed_form():
    line = SIDE[:, 2]
    crystal, r = screw(1, line), made.places_m(CURVE)
    found = ew.strain(crystal)
    # u = angle / |Q|, and an angle changes by 1 / radius across the radius.
    step = 1e-12
    ahead, behind = (angle_about(line, r + sign * step * ALONG) for sign in (1, -1))
    true = np.angle(np.exp(1j * (ahead - behind))) / (2 * step * np.linalg.norm(Q))
    radius = np.linalg.norm(np.cross(r, line), axis=-1)
    clear = (radius > 30e-9) & (np.linalg.norm(r, axis=-1) < 65e-9)
    assert clear.sum() > 100
    wrong = (found - true)[clear]
    assert np.ptp(true[clear]) > 2e-3
    assert np.abs(wrong - np.median(wrong)).max() < 1.5e-4


def test_a_whole_crystal_has_none_and_noise_at_its_surface_is_none():
    density, _ = made.soft_ball(80e-9, 5e-9)
    whole = made.sampled(
        CURVE, lambda r: density(np.linalg.norm(r, axis=-1)), lambda r: 1e5 * (r @ ALONG) * (r @ SIDE[:, 1])
    )
    noise = torch.randn(whole.object.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    noisy = replace(whole, object=whole.object + 0.07 * noise * whole.support)
    assert ew.dislocations(whole) == []
    assert ew.dislocations(noisy) == []
