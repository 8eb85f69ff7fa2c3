"""Scans cover the sample evenly at the step asked for."""

import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.simulation import trajectories
from exitwave.simulation.trajectories import TRAJECTORIES


@pytest.mark.parametrize("name", sorted(TRAJECTORIES))
@pytest.mark.parametrize("count", [1, 7, 144])
def test_every_trajectory_has_the_asked_positions_from_zero(name: str, count: int):
    positions = TRAJECTORIES[name](count, 5.0)
    assert tuple(positions.shape) == (count, 2)
    assert positions.dtype == torch.float64
    assert positions.amin(dim=0).tolist() == [0.0, 0.0]
    assert len(torch.unique(positions, dim=0)) == count


@pytest.mark.parametrize("name", sorted(TRAJECTORIES))
def test_neighbours_are_about_one_step_apart_everywhere(name: str):
    positions = TRAJECTORIES[name](400, 8.0)
    distance = torch.cdist(positions, positions).fill_diagonal_(torch.inf).amin(dim=1)
    assert float(distance.mean()) == pytest.approx(8.0, rel=0.15)
    assert float(distance.max()) < 1.3 * 8.0
    assert float(distance.min()) > 0.5 * 8.0


@pytest.mark.parametrize("name", ["fermat", "concentric"])
def test_round_scans_are_as_dense_as_a_raster(name: str):
    positions = TRAJECTORIES[name](1000, 3.0)
    span = positions.amax(dim=0)
    assert float(torch.pi / 4 * span[0] * span[1]) == pytest.approx(1000 * 3.0**2, rel=0.1)


def test_a_raster_runs_along_x_first():
    assert trajectories.raster((2, 3), 2.0).tolist() == [[0, 0], [0, 2], [0, 4], [2, 0], [2, 2], [2, 4]]


def test_jitter_moves_points_by_no_more_than_its_share_of_a_step():
    moved = trajectories.jittered_raster((10, 12), 20.0, jitter=0.15, seed=1) - trajectories.raster((10, 12), 20.0)
    assert float((moved.amax(dim=0) - moved.amin(dim=0)).max()) <= 2 * 0.15 * 20 + 1e-9
    assert float(moved.std(dim=0).mean()) == pytest.approx(0.15 * 20 / 3**0.5, rel=0.15)


def test_jitter_follows_its_seed():
    first, same, other = (trajectories.jittered_raster((5, 5), 4.0, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_concentric_points_lie_on_rings_one_step_apart():
    positions = trajectories.concentric(1 + 6 + 13, 4.0)
    radius = torch.hypot(*(positions - positions[0]).T) / 4.0
    torch.testing.assert_close(radius, radius.round(), atol=1e-9, rtol=0)
    assert radius.round().int().bincount().tolist() == [1, 6, 13]


def test_a_fermat_spiral_grows_with_the_square_root():
    positions = trajectories.fermat_spiral(200, 4.0)
    radius = torch.hypot(*(positions - positions[0]).T)
    torch.testing.assert_close(radius.square() * torch.pi / 16, torch.arange(200, dtype=torch.float64))


@pytest.mark.parametrize(("count", "step_px"), [(0, 1.0), (10, 0.0), (10, -2.0), (10, float("nan"))])
def test_scans_without_positions_or_step_are_refused(count: int, step_px: float):
    for travel in TRAJECTORIES.values():
        with pytest.raises(InputError, match="positive step"):
            travel(count, step_px)
