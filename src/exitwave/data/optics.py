"""What forms the probe, as an electron microscope tells it: semi-angle of convergence, defocus, further aberrations."""

import math
import re
from dataclasses import dataclass

from exitwave.data.errors import InputError

_NUMBER = r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?"
_ABERRATION = re.compile(
    rf"C([1-9])([0-9])\s*=\s*({_NUMBER})\s*(mm|um|nm|angstrom|m)(?:\s*[,@]\s*({_NUMBER})\s*(?:deg)?)?"
)
_METRES = {"m": 1.0, "mm": 1e-3, "um": 1e-6, "nm": 1e-9, "angstrom": 1e-10}


@dataclass(frozen=True, kw_only=True)
class Aberration:
    """One coefficient C_nm of the aberration function (Krivanek, Dellby & Lupini, Ultramicroscopy 78, 1 (1999))."""

    order: int
    """n: the path differs in proportion to angle^(n + 1)."""
    symmetry: int
    """m: how often it repeats around the axis; 0 is round."""
    coefficient_m: float
    angle_rad: float = 0.0
    """Where it is largest, counter-clockwise from the columns' direction as seen with row 0 on top."""

    def __post_init__(self) -> None:
        n, m = self.order, self.symmetry
        if n < 1 or not 0 <= m <= n + 1 or (n + m) % 2 == 0:
            raise InputError(
                f"there is no aberration C{n}{m}; there are C10 (defocus), C12, C21, C23, C30 (spherical), C32, C34 ..."
            )
        if not (math.isfinite(self.coefficient_m) and math.isfinite(self.angle_rad)):
            raise InputError(f"the aberration C{n}{m} is {self.coefficient_m}; expected a length in metres")

    @classmethod
    def parsed(cls, text: str) -> "Aberration":
        """From words such as "C30=1.2mm" or "C12=5nm,30deg". Raises InputError for any others."""
        found = _ABERRATION.fullmatch(text.strip())
        if found is None:
            raise InputError(
                f"{text!r} is no aberration; write it as C30=1.2mm, or with the angle at which it is largest C12=5nm,30deg"
            )
        return cls(
            order=int(found[1]),
            symmetry=int(found[2]),
            coefficient_m=float(found[3]) * _METRES[found[4]],
            angle_rad=math.radians(float(found[5] or 0.0)),
        )

    @property
    def words(self) -> str:
        """As it is written on the command line."""
        turned = f",{math.degrees(self.angle_rad):g}deg" if self.symmetry else ""
        size = abs(self.coefficient_m)
        unit = next((unit for unit in ("mm", "um") if size >= 0.1 * _METRES[unit]), "nm")
        return f"C{self.order}{self.symmetry}={self.coefficient_m / _METRES[unit]:.6g}{unit}{turned}"


@dataclass(frozen=True, kw_only=True)
class ProbeOptics:
    """How the probe is formed, as far as it is known. Raises InputError for values that cannot be."""

    semi_angle_rad: float | None = None
    """Half of the cone's opening angle: the radius of the bright-field disc."""
    defocus_m: float | None = None
    """Positive where the beam comes to its focus behind the sample (underfocus), negative in front of it: C10 = -defocus."""
    aberrations: tuple[Aberration, ...] = ()
    """Beside the defocus."""

    def __post_init__(self) -> None:
        if self.semi_angle_rad is not None and not 0 < self.semi_angle_rad < 0.5:
            raise InputError(
                f"the semi-angle is {1e3 * self.semi_angle_rad:g} mrad; expected more than 0 and less than 500 mrad"
            )
        if self.defocus_m is not None and not abs(self.defocus_m) < 1:
            raise InputError(f"the defocus is {self.defocus_m:g} m; expected less than a metre")
        if any((a.order, a.symmetry) == (1, 0) for a in self.aberrations) and self.defocus_m is not None:
            raise InputError("defocus and C10 are the same, with opposite sign; state one of them")

    @property
    def phase_known(self) -> bool:
        """Whether the phase across the aperture is stated, not only its size."""
        return self.defocus_m is not None or bool(self.aberrations)

    @property
    def coefficients(self) -> tuple[Aberration, ...]:
        """All aberrations, the defocus as C10 among them."""
        if not self.defocus_m:
            return self.aberrations
        return (Aberration(order=1, symmetry=0, coefficient_m=-self.defocus_m), *self.aberrations)

    @property
    def words(self) -> str:
        """What is known, in a line."""
        told = [] if self.semi_angle_rad is None else [f"semi-angle {1e3 * self.semi_angle_rad:.5g} mrad"]
        told += [] if self.defocus_m is None else [f"defocus {1e9 * self.defocus_m:.5g} nm"]
        return ", ".join(told + [a.words for a in self.aberrations])
