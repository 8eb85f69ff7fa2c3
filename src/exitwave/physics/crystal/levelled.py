"""A crystal as everything after the reconstruction is measured on it: without the slope of its phase, surface drawn."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex, Float

from exitwave.data.errors import InputError
from exitwave.data.estimate import BraggEstimate, Estimate
from exitwave.data.result import Result
from exitwave.physics.crystal.phase import levelled

SURFACE = 0.3
"""Share of the bulk's amplitude below which a voxel counts as outside: the phase of dim ones along the rim is noise."""


GivenCrystal = BraggEstimate | Result
"""A reconstructed crystal, or the result that holds it."""


def given_crystal(given: Estimate | Result) -> BraggEstimate:
    """The crystal that was handed in. Raises InputError where it is none."""
    x = given.estimate if isinstance(given, Result) else given
    if not isinstance(x, BraggEstimate):
        raise InputError(
            f"{type(x).__name__} is no crystal; give the result of a rocking curve (3D Bragg CDI), such as "
            "ew.read_result('crystal.h5')"
        )
    return x


@dataclass(frozen=True, kw_only=True, eq=False)
class LevelledCrystal:
    """What is measured on a crystal: its arrays in NumPy without the mean slope of the phase, and the mean lattice."""

    object: Complex[np.ndarray, "frame y x"]
    """Zero outside the support of the estimate."""
    region: Bool[np.ndarray, "frame y x"]
    """Where it is bright enough for its phase to mean something."""
    threshold: float
    """Amplitude from which it is."""
    basis_m: Float[np.ndarray, "3 3"]
    """Columns: steps in the laboratory (z, y, x) per voxel along each axis."""
    scattering_vector: Float[np.ndarray, "3"]
    """Q of the mean lattice in the laboratory, 1/m: that of the estimate, and what the slope of the phase adds."""


def levelled_crystal(estimate: GivenCrystal, level: float = SURFACE) -> LevelledCrystal:
    """The crystal without offset and linear slope of its phase, and where its amplitude is at least `level` of its bulk's.

    Raises InputError for an empty crystal, what is none, and a level that is no share.
    """
    if not 0 <= level < 1:
        raise InputError(f"the level of the surface is {level}; expected a share of the bulk's amplitude, 0 to below 1")
    values = given_crystal(estimate).numpy()
    obj = np.where(values["support"], values["object"], 0).astype(np.complex128)
    threshold = level * bulk_amplitude(np.abs(obj))
    region = (np.abs(obj) >= threshold) & (obj != 0)
    if not region.any():
        raise InputError("the crystal is empty: its support holds no voxel with any amplitude; reconstruct it anew")
    basis = values["basis_m"].astype(np.float64)
    flat, step = levelled(obj, region)
    # exp(i step . n) with n = basis^-1 r moves the peak by basis^-T step.
    moved = np.linalg.solve(basis.T, step)
    return LevelledCrystal(
        object=flat,
        region=region,
        threshold=threshold,
        basis_m=basis,
        scattering_vector=values["scattering_vector"] + moved,
    )


def bulk_amplitude(amplitude: Float[np.ndarray, "*axes"]) -> float:
    """The amplitude of most of a crystal, whatever empty space is around it: half of what there is is dimmer, half brighter."""
    values = np.sort(amplitude[amplitude > 0], axis=None)
    if not values.size:
        return 0.0
    below = np.cumsum(values, dtype=np.float64)
    return float(values[np.searchsorted(below, below[-1] / 2)])
