"""Orthogonalisation: a crystal from the oblique array of its rocking curve onto cubic voxels of the laboratory."""

import math
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Num
from scipy import ndimage

from exitwave.data.bragg_geometry import Direction, Matrix, Vector, direction, rotation
from exitwave.data.errors import InputError
from exitwave.data.estimate import BraggEstimate
from exitwave.data.laboratory_crystal import LaboratoryCrystal
from exitwave.data.lengths import length
from exitwave.physics.crystal.levelled import SURFACE, LevelledCrystal, levelled_crystal
from exitwave.physics.crystal.strain import displacement_of, strain_of

MOST_VOXELS = 2**26
"""Of a laboratory grid: half a gigabyte of complex numbers."""
RIM = 2
"""Voxels around the crystal."""


def crystal_in_laboratory(
    estimate: BraggEstimate,
    *,
    voxel_m: float | None = None,
    q_along: Direction | None = None,
    level: float = SURFACE,
) -> LaboratoryCrystal:
    """A reconstructed crystal on cubic voxels in the laboratory, in a small box, with its displacement and strain.

    `voxel_m` is the edge of a voxel; without it as fine as the finest axis of the reconstruction. `q_along`, such as "y+",
    turns the crystal by the smallest angle so that Q points along that axis. What is dimmer than `level` of
    the bulk's amplitude is outside. Amplitude and phase factor are interpolated linearly each for itself, which neither breaks
    at phase wraps nor dims where the phase changes fast; strain is taken on the reconstruction's own array and interpolated.
    Raises InputError for an empty crystal, and a voxel that makes too large a grid.
    """
    crystal = levelled_crystal(estimate, level)
    turn = np.eye(3) if q_along is None else turn_onto(crystal.scattering_vector, direction(q_along))
    basis = turn @ crystal.basis_m
    low, high = _box_m(crystal, basis)
    voxel = _voxel_m(basis, high - low, voxel_m)
    centre = basis @ _centre(crystal)
    # So that the centre of the crystal is the middle of a voxel.
    first = np.floor((low - centre) / voxel) - RIM
    sizes = np.ceil((high - centre) / voxel) + RIM - first + 1
    z, y, x = (int(size) for size in sizes)
    grid = _Grid(crystal, np.linalg.inv(basis), first * voxel + centre, voxel, (z, y, x))
    return _sampled(crystal, grid, turn @ crystal.scattering_vector, first * voxel)


def turn_onto(vector: Vector, target: Vector) -> Matrix:
    """The smallest rotation that brings a vector to point along a unit vector."""
    along = vector / np.linalg.norm(vector)
    # The cross product in the order (z, y, x): reversed vectors, reversed result.
    axis = np.cross(along[::-1], target[::-1])[::-1]
    sine, cosine = float(np.linalg.norm(axis)), float(along @ target)
    if sine < 1e-12:
        across = np.eye(3)[int(np.argmin(np.abs(along)))]
        across = across - along * (along @ across)
        return np.eye(3) if cosine > 0 else rotation(across / np.linalg.norm(across), math.pi)
    return rotation(axis / sine, math.atan2(sine, cosine))


class _Grid:
    """Where the voxels of the laboratory lie in the array of the reconstruction."""

    def __init__(
        self, crystal: LevelledCrystal, to_array: Matrix, start_m: Vector, voxel_m: float, shape: tuple[int, int, int]
    ) -> None:
        self.voxel_m, self.shape = voxel_m, shape
        self._matrix = to_array * voxel_m
        self._start = to_array @ start_m + np.array(crystal.object.shape) // 2

    def sample(self, values: Num[np.ndarray, "frame row column"]) -> Num[np.ndarray, "z y x"]:
        """Values there, interpolated linearly; zero beyond the array."""
        start = cast("Any", self._start)  # one offset an axis, which its type stub does not know
        return ndimage.affine_transform(values, self._matrix, start, self.shape, order=1, mode="constant")


def _sampled(crystal: LevelledCrystal, grid: _Grid, scattering_vector: Vector, origin_m: Vector) -> LaboratoryCrystal:
    amplitude = grid.sample(np.abs(crystal.object))
    factor = grid.sample(crystal.object)
    modulus = np.abs(factor)
    obj = amplitude * np.where(modulus > 0, factor / np.where(modulus > 0, modulus, 1), 1)
    support = amplitude >= max(crystal.threshold, 1e-6 * float(amplitude.max()))
    own = strain_of(crystal.object, crystal.region, crystal.basis_m, crystal.scattering_vector)
    return LaboratoryCrystal(
        object=obj.astype(np.complex64),
        support=support,
        displacement_m=displacement_of(obj, support, scattering_vector),
        strain=np.where(support, _known_only(own, grid), np.nan),
        voxel_m=grid.voxel_m,
        origin_m=origin_m,
        scattering_vector=scattering_vector,
    )


def _known_only(values: Float[np.ndarray, "frame row column"], grid: _Grid) -> Float[np.ndarray, "z y x"]:
    """Values with NaN among them, interpolated from those that are known; where none is near, as in a corner, the nearest."""
    known = np.isfinite(values)
    if not known.any():
        return np.full(grid.shape, np.nan)
    share = grid.sample(known.astype(np.float64))
    total = grid.sample(np.where(known, values, 0.0))
    mean = total / np.maximum(share, 1e-3)
    nearest = ndimage.distance_transform_edt(share < 1e-3, return_distances=False, return_indices=True)
    return mean[tuple(np.asarray(nearest))]


def _box_m(crystal: LevelledCrystal, basis: Matrix) -> tuple[Vector, Vector]:
    """The corners (least, greatest) of the box around all voxels that are not empty, from the middle of the array."""
    # Only the surface can be a corner; its voxels are few.
    there = crystal.object != 0
    surface = there & np.logical_not(ndimage.binary_erosion(there))
    places = (np.argwhere(surface) - np.array(crystal.object.shape) // 2) @ basis.T
    reach = np.abs(basis).sum(axis=1) / 2
    return places.min(axis=0) - reach, places.max(axis=0) + reach


def _centre(crystal: LevelledCrystal) -> Vector:
    """Centre of mass of the amplitude, voxels from the middle of the array."""
    at = np.array(ndimage.center_of_mass(np.abs(crystal.object)))
    return at - np.array(crystal.object.shape) // 2


def _voxel_m(basis: Matrix, size_m: Vector, asked_m: float | None) -> float:
    """The edge of a cubic voxel: as asked for, or the least distance of the array's planes, two digits of it."""
    least = float(np.cbrt(np.prod(size_m) / MOST_VOXELS))
    if asked_m is not None:
        if not least <= asked_m <= float(size_m.min()) / 4:
            raise InputError(
                f"voxels of {length(asked_m)} for a crystal of {length(float(size_m.max()))}; expected metres, {length(least)} to "
                f"{length(float(size_m.min()) / 4)}"
            )
        return asked_m
    finest = float(1 / np.linalg.norm(np.linalg.inv(basis), axis=1).max())
    digit = 10.0 ** (math.floor(math.log10(finest)) - 1)
    return max(math.floor(finest / digit) * digit, least)
