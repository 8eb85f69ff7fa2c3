"""The surface of a crystal as triangles that carry displacement and strain: what is turned on screens and exported."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from exitwave.data.lengths import lengths, number
from exitwave.data.showing import Told


@dataclass(frozen=True, kw_only=True, eq=False)
class CrystalSurface(Told):
    """The surface of a crystal: where its amplitude has fallen to a share of that of its bulk. Arrays are NumPy's."""

    points_m: Float[np.ndarray, "point 3"]
    """Corners of the triangles, (z, y, x) in the axes of the crystal, from its centre."""
    triangles: Int[np.ndarray, "triangle 3"]
    """Numbers of their corners, counter-clockwise as seen from outside."""
    displacement_m: Float[np.ndarray, " point"]
    """Of the lattice along Q, as the crystal has it just inside."""
    strain: Float[np.ndarray, " point"]
    """Along Q, likewise."""
    level: float
    """Amplitude on the surface, as a share of that of the bulk."""
    scattering_vector: Float[np.ndarray, "3"]
    """Q (z, y, x) of the crystal's mean lattice, 1/m."""

    @property
    def volume_m3(self) -> float:
        """What the triangles enclose (divergence theorem)."""
        # (x, y, z) is right-handed, so that triangles that turn that way count as positive.
        a, b, c = (self.points_m[self.triangles[:, corner], ::-1] for corner in range(3))
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)

    def told(self) -> tuple[str, ...]:
        sides = tuple(np.ptp(self.points_m, axis=0).tolist())
        return (
            f"{type(self).__name__}: {len(self.triangles)} triangles around {lengths(sides)} (z × y × x)",
            f"where the amplitude is {number(100 * self.level)} % of that of the bulk",
        )
