"""Scan trajectories: where the probe goes. Positions (y, x) in pixels, float64, in the order of travel, smallest y and x 0."""

import math
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from exitwave.data.errors import InputError

GOLDEN_ANGLE_RAD = math.pi * (3 - math.sqrt(5))

Positions = Float[Tensor, "frame 2"]


def raster(shape: tuple[int, int], step_px: float) -> Positions:
    """Rows x columns on a square grid, x fastest. Its regularity leaves periodic artefacts: jitter or spirals are better."""
    rows, columns = shape
    _check(rows * columns, step_px)
    y, x = torch.meshgrid(
        torch.arange(rows, dtype=torch.float64), torch.arange(columns, dtype=torch.float64), indexing="ij"
    )
    return torch.stack([y.flatten(), x.flatten()], dim=1) * step_px


def jittered_raster(shape: tuple[int, int], step_px: float, *, jitter: float = 0.15, seed: int = 0) -> Positions:
    """A raster whose points are moved at random by up to `jitter` of a step each way, against grid artefacts."""
    grid = raster(shape, step_px)
    moves = np.random.default_rng(seed).uniform(-jitter, jitter, grid.shape) * step_px
    return _from_zero(grid + torch.from_numpy(moves))


def fermat_spiral(count: int, step_px: float) -> Positions:
    """Sunflower points, as dense as a raster of the same step. Huang et al., Opt. Express 22, 12634 (2014), eq. 1."""
    _check(count, step_px)
    number = torch.arange(count, dtype=torch.float64)
    # Every point owns step^2 of the disc: pi r^2 = k step^2.
    radius, angle = step_px * (number / math.pi).sqrt(), number * GOLDEN_ANGLE_RAD
    return _from_zero(torch.stack([radius * torch.sin(angle), radius * torch.cos(angle)], dim=1))


def concentric(count: int, step_px: float) -> Positions:
    """Rings one step apart, points about one step apart along each. Dierolf et al., New J. Phys. 12, 035017 (2010)."""
    _check(count, step_px)
    points = [(0.0, 0.0)]
    ring = 1
    while len(points) < count:
        on_ring = round(2 * math.pi * ring)
        angles = [2 * math.pi * k / on_ring for k in range(on_ring)]
        points += [(ring * step_px * math.sin(a), ring * step_px * math.cos(a)) for a in angles]
        ring += 1
    return _from_zero(torch.tensor(points[:count], dtype=torch.float64))


class Trajectory(Protocol):
    """So many positions, a step apart; seeded where chance has a part."""

    def __call__(self, count: int, step_px: float, *, seed: int = 0) -> Positions: ...


TRAJECTORIES: dict[str, Trajectory] = {
    "raster": lambda count, step_px, *, seed=0: raster(_grid(count), step_px)[:count],
    "jittered": lambda count, step_px, *, seed=0: _from_zero(jittered_raster(_grid(count), step_px, seed=seed)[:count]),
    "fermat": lambda count, step_px, *, seed=0: fermat_spiral(count, step_px),
    "concentric": lambda count, step_px, *, seed=0: concentric(count, step_px),
}
"""Scans by the names used on the command line; the rasters are as square as the number of positions allows."""


def _grid(count: int) -> tuple[int, int]:
    """Rows and columns of the squarest grid that holds `count` points."""
    if count < 1:
        return 0, 0
    columns = math.isqrt(count - 1) + 1
    return -(-count // columns), columns


def _check(count: int, step_px: float) -> None:
    if count < 1 or not (math.isfinite(step_px) and step_px > 0):
        raise InputError(f"{count} positions {step_px:g} px apart; expected at least one and a positive step")


def _from_zero(positions: Positions) -> Positions:
    return positions - positions.amin(dim=0)
