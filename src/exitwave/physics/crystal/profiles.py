"""How sharp the edges of a crystal are: profiles of its amplitude."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from exitwave.data.laboratory_crystal import LaboratoryCrystal


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """The amplitude along a line through a crystal."""

    distance_m: Float[np.ndarray, " voxel"]
    """From the crystal's centre."""
    amplitude: Float[np.ndarray, " voxel"]
    inside: float
    """The amplitude inside: the median of what is above half the largest on this line."""
    width_m: float
    """Between the outermost places at half of it; NaN where the line leaves the box inside the crystal."""
    edges_m: tuple[float, float]
    """From 10 to 90 % of it, at the lower and the upper end; NaN where it is not reached."""


def profile(crystal: LaboratoryCrystal, axis: int) -> Profile:
    """The amplitude along an axis of the laboratory (0 z, 1 y, 2 x), through the crystal's centre."""
    place: list[int | slice] = list(crystal.middle)
    place[axis] = slice(None)
    values = crystal.amplitude[tuple(place)].astype(np.float64)
    bright = values[values > 0.5 * values.max()]
    inside = float(np.median(bright)) if bright.size else 0.0
    low, high = _outermost(values, 0.5 * inside), len(values) - 1 - _outermost(values[::-1], 0.5 * inside)
    first, last = (
        crystal.voxel_m * (_outermost(side, 0.9 * inside) - _outermost(side, 0.1 * inside))
        for side in (values, values[::-1])
    )
    return Profile(
        distance_m=crystal.axis_m(axis),
        amplitude=values,
        inside=inside,
        width_m=crystal.voxel_m * (high - low),
        edges_m=(first, last),
    )


def _outermost(values: Float[np.ndarray, " voxel"], level: float) -> float:
    """The first place at which values rise to a level, between voxels; NaN where they start above it or never do."""
    above = np.flatnonzero(values >= level)
    if not above.size or above[0] == 0 or not level > 0:
        return math.nan
    first = int(above[0])
    return first - float((values[first] - level) / (values[first] - values[first - 1]))
