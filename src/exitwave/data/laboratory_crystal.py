"""A crystal on a grid at right angles: what is looked at, measured and exported after 3D Bragg coherent diffraction imaging."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex, Float

from exitwave.data.lengths import length, lengths, number
from exitwave.data.showing import Told


@dataclass(frozen=True, kw_only=True, eq=False)
class LaboratoryCrystal(Told):
    """A crystal on cubic voxels: z along the beam, y up, x so that (x, y, z) is right-handed; or turned so that Q is an axis.

    The mean slope of the phase and its mean are taken off. Arrays are NumPy's, axes (z, y, x), coordinates growing with the
    index. Lengths count from the centre of the crystal, as diffraction does not know where it stood.
    """

    object: Complex[np.ndarray, "z y x"]
    """Amplitude is electron density in the unit of the estimate, phase is -Q . u."""
    support: Bool[np.ndarray, "z y x"]
    """Where the amplitude is high enough for the phase to mean something."""
    displacement_m: Float[np.ndarray, "z y x"]
    """Of the lattice along Q, between minus and plus half the distance of its planes; NaN outside the support."""
    strain: Float[np.ndarray, "z y x"]
    """Change of the displacement along Q by length along Q, relative to the mean lattice; NaN outside the support."""
    voxel_m: float
    origin_m: Float[np.ndarray, "3"]
    """(z, y, x) of the middle of voxel [0, 0, 0] from the centre of mass of the amplitude."""
    scattering_vector: Float[np.ndarray, "3"]
    """Q (z, y, x) of the crystal's mean lattice in the axes of this grid, 1/m."""

    @property
    def amplitude(self) -> Float[np.ndarray, "z y x"]:
        """Electron density, any unit."""
        return np.abs(self.object)

    @property
    def phase(self) -> Float[np.ndarray, "z y x"]:
        """-Q . u, -pi to pi."""
        return np.angle(self.object)

    @property
    def q_direction(self) -> Float[np.ndarray, "3"]:
        """The unit vector of Q (z, y, x) in the axes of this grid."""
        return self.scattering_vector / np.linalg.norm(self.scattering_vector)

    @property
    def spacing_m(self) -> float:
        """Mean distance of the lattice planes that reflect."""
        return 2 * math.pi / float(np.linalg.norm(self.scattering_vector))

    def axis_m(self, axis: int) -> Float[np.ndarray, " n"]:
        """Coordinates of the voxels along an axis (0 z, 1 y, 2 x), from the centre of the crystal."""
        return self.origin_m[axis] + self.voxel_m * np.arange(self.object.shape[axis])

    @property
    def middle(self) -> tuple[int, int, int]:
        """The voxel at the centre of the crystal, where central cuts are taken."""
        z, y, x = (
            int(np.clip(round(-at / self.voxel_m), 0, n - 1))
            for at, n in zip(self.origin_m.tolist(), self.object.shape, strict=True)
        )
        return z, y, x

    def told(self) -> tuple[str, ...]:
        size = " × ".join(map(str, self.object.shape))
        known = self.strain[np.isfinite(self.strain)]
        low, high = (np.percentile(known, (1, 99)) * 100).tolist() if known.size else (math.nan, math.nan)
        return (
            f"{type(self).__name__}: {size} voxels of {length(self.voxel_m)} "
            f"({lengths(tuple(n * self.voxel_m for n in self.object.shape))}, z × y × x)",
            f"lattice planes {number(self.spacing_m * 1e10, 5)} Å apart, Q along (z, y, x) = "
            f"({', '.join(number(float(part)) for part in self.q_direction)})",
            f"strain {number(low)} % to {number(high)} % (1st to 99th percentile)",
        )
