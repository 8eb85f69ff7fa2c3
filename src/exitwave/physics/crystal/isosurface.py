"""The surface of a crystal as triangles: where its amplitude falls below a share of what it is inside."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from exitwave.data.errors import InputError

HALF = 0.5
"""Share of the amplitude inside at which a crystal ends: resolution blurs an edge to both sides alike."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """Triangles around what is brighter than a level, seen from outside counter-clockwise."""

    points_m: Float[np.ndarray, "point 3"]
    """Corners of the triangles, (z, y, x) in the laboratory."""
    triangles: Int[np.ndarray, "triangle 3"]
    """Numbers of their corners."""
    places: Float[np.ndarray, "point 3"]
    """The corners in voxels of the volume."""

    @property
    def volume_m3(self) -> float:
        """What the triangles enclose (divergence theorem)."""
        # (x, y, z) is right-handed, so that triangles that turn that way count as positive.
        a, b, c = (self.points_m[self.triangles[:, corner], ::-1] for corner in range(3))
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def plateau(amplitude: Float[np.ndarray, "z y x"]) -> float:
    """The amplitude inside a crystal: the median of what is brighter than half of nearly the brightest."""
    bright = amplitude[amplitude > 0]
    if not bright.size:
        raise InputError("the crystal is dark everywhere: there is no surface to draw; reconstruct again")
    # Half a thousandth of a large box may be all the crystal: its own voxels are asked first.
    top = np.quantile(bright[bright > 0.1 * bright.max()], 0.98)
    return float(np.median(amplitude[amplitude > HALF * top]))


def isosurface(
    amplitude: Float[np.ndarray, "z y x"],
    level: float,
    step_m: float,
    corner_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Surface:
    """The surface on which an amplitude has a level (marching cubes); closed also where the crystal meets the edge of its box.

    `corner_m` is the middle of the first voxel. Raises InputError where nothing reaches the level.
    """
    from skimage.measure import marching_cubes

    values = np.pad(amplitude, 1)
    if not values.max() > level:
        raise InputError(f"the brightest voxel has amplitude {values.max():.3g}, below the surface's {level:.3g}")
    found, triangles, _, _ = marching_cubes(values, level)
    places = found.astype(np.float64) - 1
    points_m = places * step_m + np.asarray(corner_m)
    made = Surface(points_m=points_m, triangles=triangles, places=places)
    # Whichever way the triangles turn, what they enclose is no negative volume.
    return made if made.volume_m3 > 0 else Surface(points_m=points_m, triangles=triangles[:, ::-1], places=places)


def at_surface(
    values: Float[np.ndarray, "z y x"], known: Bool[np.ndarray, "z y x"], surface: Surface
) -> Float[np.ndarray, " point"]:
    """Values of a map at the corners of a surface; outside the voxels that are known those of the nearest one count."""
    if not known.any():
        return np.full(len(surface.places), np.nan)
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return _sampled(values[tuple(nearest)], surface.places)


def _sampled(values: Float[np.ndarray, "z y x"], places: Float[np.ndarray, "point 3"]) -> Float[np.ndarray, " point"]:
    return ndimage.map_coordinates(values, places.T, order=1, mode="nearest")
