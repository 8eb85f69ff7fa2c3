"""The surface of a crystal as triangles: where its amplitude falls below a share of what it is inside."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from exitwave.data.crystal_surface import CrystalSurface
from exitwave.data.errors import InputError
from exitwave.data.laboratory_crystal import LaboratoryCrystal
from exitwave.physics.crystal.levelled import bulk_amplitude

HALF = 0.5
"""Share of the bulk's amplitude at which a crystal ends: resolution blurs an edge to both sides alike."""


def crystal_surface(crystal: LaboratoryCrystal, *, level: float = HALF) -> CrystalSurface:
    """The surface on which a crystal's amplitude is `level` of that of its bulk, with displacement and strain on it.

    Closed also where the crystal meets the edge of its box. By marching cubes: Lorensen & Cline, Computer Graphics 21, 163
    (1987). Raises InputError for a level that is no share.
    """
    from skimage.measure import marching_cubes

    amplitude = crystal.amplitude.astype(np.float64)
    height = level * bulk_amplitude(amplitude)
    if not 0 < height < amplitude.max():
        raise InputError(f"the level of the surface is {level}; expected a share of the bulk's amplitude, 0.3 to 0.7")
    found, triangles, _, _ = marching_cubes(np.pad(amplitude, 1), height)
    places = found.astype(np.float64) - 1
    displacement, strain = _on_surface(crystal, places)
    made = CrystalSurface(
        points_m=places * crystal.voxel_m + crystal.origin_m,
        triangles=triangles,
        displacement_m=displacement,
        strain=strain,
        level=level,
        scattering_vector=crystal.scattering_vector,
    )
    # Whichever way the triangles turn, what they enclose is no negative volume.
    return made if made.volume_m3 > 0 else replace(made, triangles=np.ascontiguousarray(triangles[:, ::-1]))


def _on_surface(
    crystal: LaboratoryCrystal, places: Float[np.ndarray, "point 3"]
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Displacement and strain, beyond the last voxels that are known those of the nearest."""
    known = np.isfinite(crystal.strain) & np.isfinite(crystal.displacement_m)
    if not known.any():
        return np.full(len(places), np.nan), np.full(len(places), np.nan)
    _, index = ndimage.distance_transform_edt(~known, return_indices=True)  # pyright: ignore[reportGeneralTypeIssues]
    nearest = tuple(index)
    size = float(np.linalg.norm(crystal.scattering_vector))
    # Of the phase's factor, which has no jumps where the displacement reaches half a lattice spacing.
    factor = np.exp(-1j * size * crystal.displacement_m[nearest])
    sampled = ndimage.map_coordinates(factor, places.T, order=1, mode="nearest")
    return -np.angle(sampled) / size, ndimage.map_coordinates(
        crystal.strain[nearest], places.T, order=1, mode="nearest"
    )
