"""How far a rocking curve is from a straight grid of reciprocal space: the Ewald sphere and the turning of the crystal are round."""

import numpy as np
from jaxtyping import Float

from exitwave.data.bragg_geometry import direction, rotation
from exitwave.data.rocking_curve import RockingCurve

PLACES = 5
"""Voxels looked at along each axis, from end to end."""


def scattering_vectors(curve: RockingCurve, offsets_px: Float[np.ndarray, "place 3"]) -> Float[np.ndarray, "place 3"]:
    """Exact Q (z, y, x) of voxels, 1/m, with the crystal held fast as it stands in the middle frame.

    `offsets_px` count (frame, row, column) from the voxel in the middle; between frames the angle is interpolated.
    """
    frames, rows, columns = offsets_px.T
    angles = curve.angles_rad.numpy()
    turned = np.interp(frames + len(curve) // 2, np.arange(len(curve)), angles) - angles[len(curve) // 2]
    axis, incident = curve.posed.rocking_axis(), 2 * np.pi / curve.geometry.wavelength_m * direction("z+")
    seen = curve.posed.scattered(curve.geometry, rows, columns) - incident
    # What a crystal sees that was turned is what was seen, turned back.
    return np.stack([rotation(axis, -float(angle)) @ q for angle, q in zip(turned, seen, strict=True)])


def curvature_px(curve: RockingCurve) -> float:
    """The largest distance, in voxels, of a voxel's exact Q from the straight grid that reconstructions are made on.

    What is well below one voxel where the pattern is bright does no harm. Crop the frames and angles to have it smaller.
    """
    ends = [np.linspace(-(size // 2), size - 1 - size // 2, PLACES) for size in curve.patterns.shape]
    offsets = np.stack(np.meshgrid(*ends, indexing="ij"), axis=-1).reshape(-1, 3)
    away = scattering_vectors(curve, offsets) - curve.scattering_vector
    straight = np.linalg.solve(curve.reciprocal_basis, away.T).T
    return float(np.linalg.norm(straight - offsets, axis=1).max())
