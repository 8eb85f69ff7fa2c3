"""Displacement and strain of a crystal's lattice along the scattering vector, on the array of the reconstruction."""

import math

import numpy as np
from jaxtyping import Float

from exitwave.data.bragg_geometry import Matrix, Vector
from exitwave.data.errors import InputError
from exitwave.physics.crystal.levelled import SURFACE, GivenCrystal, levelled_crystal
from exitwave.physics.crystal.phase import Crystal, Field, Region, phase_gradient


def displacement_m(estimate: GivenCrystal, *, level: float = SURFACE) -> Float[np.ndarray, "frame y x"]:
    """Displacement of the lattice along Q on the estimate's array, metres; NaN outside the crystal.

    u = -phase / |Q|, without offset and linear slope, between minus and plus half the distance of the lattice planes: it is not
    unwrapped. Voxels below `level` of the bulk's amplitude are outside. Pfeifer et al., Nature 442, 63 (2006).
    """
    crystal = levelled_crystal(estimate, level)
    return displacement_of(crystal.object, crystal.region, crystal.scattering_vector)


def displacement_of(crystal: Crystal, region: Region, scattering_vector: Vector) -> Field:
    """-phase / |Q| in a region, NaN outside."""
    return np.where(region, -np.angle(crystal) / np.linalg.norm(scattering_vector), np.nan)


def strain(estimate: GivenCrystal, *, level: float = SURFACE) -> Float[np.ndarray, "frame y x"]:
    """Strain of the lattice along Q on the estimate's array, relative to its mean lattice; NaN outside the crystal.

    The change of the displacement along Q by length along Q, d u_Q / d r_Q, from phase differences of neighbouring voxels
    and never from an unwrapped phase. Positive where the lattice planes are further apart than on average. At the surface
    differences are one-sided; voxels below `level` of the bulk's amplitude are outside, as their phase is noise. Right where
    the phase changes by less than pi from voxel to voxel.
    """
    crystal = levelled_crystal(estimate, level)
    return strain_of(crystal.object, crystal.region, crystal.basis_m, crystal.scattering_vector)


def strain_of(crystal: Crystal, region: Region, basis_m: Matrix, scattering_vector: Vector) -> Field:
    """d u_Q / d r_Q in a region: the slopes along the axes of the array, put together by the dual basis.

    With a_j the steps per voxel and s_j the slopes of the phase along them, grad(phase) . a_j = s_j, so that grad(phase) =
    basis^-T s, and the strain is -Q . grad(phase) / |Q|^2.
    """
    shares = np.linalg.solve(basis_m, scattering_vector) / float(scattering_vector @ scattering_vector)
    return -np.tensordot(shares, phase_gradient(crystal, region), axes=1)


def lattice_parameter_m(estimate: GivenCrystal, hkl: tuple[int, int, int]) -> float:
    """Edge of a cubic unit cell, metres, from the mean |Q| of the crystal's reflection hkl: 2 pi sqrt(h^2 + k^2 + l^2) / |Q|.

    Its strain relative to a known lattice of edge a is `lattice_parameter_m(...) / a - 1`; the accuracy is that of the angles.
    Raises InputError for the reflection 000.
    """
    order = math.hypot(*hkl)
    if not order:
        raise InputError("the reflection 000 is the direct beam; give h, k, l such as (1, 1, 1)")
    return 2 * math.pi * order / float(np.linalg.norm(levelled_crystal(estimate).scattering_vector))
