"""How large a crystal is and how sharp its edges are: profiles of its amplitude, and its widths in all directions."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from exitwave.physics.crystal.isosurface import HALF, Surface

DIRECTIONS = 600
"""In which widths are measured: neighbours are 6 degrees apart, which changes a width by less than 0.2 %."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """The amplitude along a line through a crystal."""

    distance_m: Float[np.ndarray, " voxel"]
    """From the crystal's centre."""
    amplitude: Float[np.ndarray, " voxel"]
    inside: float
    """The amplitude inside, on this line."""
    width_m: float
    """Between the outermost places at half of it; NaN where the line leaves the box inside the crystal."""
    edges_m: tuple[float, float]
    """From 10 to 90 % of it, at the lower and the upper end; NaN where it is not reached."""


def centre_of_mass(amplitude: Float[np.ndarray, "z y x"]) -> tuple[float, float, float]:
    """Where a crystal's amplitude has its middle, voxels; the middle of the box where it is dark."""
    total = float(amplitude.sum())
    if not total > 0:
        return tuple((size - 1) / 2 for size in amplitude.shape)  # pyright: ignore[reportReturnType]
    sums = (amplitude.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3))
    return tuple(float(each @ np.arange(len(each)) / total) for each in sums)  # pyright: ignore[reportReturnType]


def profile(amplitude: Float[np.ndarray, "z y x"], axis: int, step_m: float) -> Profile:
    """The amplitude along one axis, through the centre of mass."""
    from scipy.ndimage import map_coordinates

    centre = centre_of_mass(amplitude)
    size = amplitude.shape[axis]
    line = np.tile(np.asarray(centre)[:, None], size)
    line[axis] = np.arange(size)
    values = map_coordinates(amplitude, line, order=1)
    bright = values[values > HALF * values.max()]
    inside = float(np.median(bright)) if bright.size else 0.0
    low, high = _outermost(values, HALF * inside), size - 1 - _outermost(values[::-1], HALF * inside)
    edges = tuple(
        step_m * (_outermost(side, 0.9 * inside) - _outermost(side, 0.1 * inside)) for side in (values, values[::-1])
    )
    return Profile(
        distance_m=(np.arange(size) - centre[axis]) * step_m,
        amplitude=values,
        inside=inside,
        width_m=step_m * (high - low),
        edges_m=(edges[0], edges[1]),
    )


def _outermost(values: Float[np.ndarray, " voxel"], level: float) -> float:
    """The first place at which values rise to a level, between voxels; NaN where they start above it or never do."""
    above = np.flatnonzero(values >= level)
    if not above.size or above[0] == 0 or not level > 0:
        return math.nan
    first = int(above[0])
    return first - float((values[first] - level) / (values[first] - values[first - 1]))


def widths_m(surface: Surface) -> tuple[float, float]:
    """Smallest and largest distance between two parallel planes that hold a crystal between them (Feret's diameters)."""
    # Points spread evenly over half a sphere: Fibonacci's spiral.
    number = np.arange(DIRECTIONS) + 0.5
    height, turn = number / DIRECTIONS, math.pi * (3 - math.sqrt(5)) * number
    radius = np.sqrt(1 - height**2)
    directions = np.stack((height, radius * np.cos(turn), radius * np.sin(turn)), axis=1)
    least, most = math.inf, 0.0
    for part in np.array_split(directions, 12):
        along = surface.points_m @ part.T
        spans = along.max(axis=0) - along.min(axis=0)
        least, most = min(least, float(spans.min())), max(most, float(spans.max()))
    return least, most


def equal_sphere_m(volume_m3: float) -> float:
    """Diameter of the ball of a volume."""
    return (6 * max(volume_m3, 0.0) / math.pi) ** (1 / 3)
