"""A linear map of scan positions in words: how far the axes of a stage are turned, stretched and off a right angle."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PositionMap:
    """What positions (y, x) are multiplied by; rotation, scales and shear are those of the two axes."""

    matrix: tuple[tuple[float, float], tuple[float, float]] = ((1.0, 0.0), (0.0, 1.0))

    @classmethod
    def of(cls, matrix: Float[Tensor, "2 2"]) -> "PositionMap":
        """From a matrix."""
        (a, b), (c, d) = matrix.tolist()
        return cls(matrix=((a, b), (c, d)))

    @property
    def axis_angles_deg(self) -> tuple[float, float]:
        """By how much each axis (y, x) is turned, counter-clockwise as seen with row 0 on top."""
        (a, b), (c, d) = self.matrix
        return math.degrees(math.atan2(c, a)), math.degrees(math.atan2(-b, d))

    @property
    def rotation_deg(self) -> float:
        """The mean of both."""
        y, x = self.axis_angles_deg
        return x + _halved(y - x)

    @property
    def shear_deg(self) -> float:
        """By how much the angle between the axes differs from a right one."""
        y, x = self.axis_angles_deg
        return 2 * _halved(y - x)

    @property
    def scales(self) -> tuple[float, float]:
        """By how much each axis (y, x) is stretched."""
        (a, b), (c, d) = self.matrix
        return math.hypot(a, c), math.hypot(b, d)

    def rounded(self, angle_deg: float, shear_deg: float, stretch: float) -> "PositionMap":
        """The same with angles and stretches that small taken for none."""
        turned = 0.0 if abs(self.rotation_deg) < angle_deg else self.rotation_deg
        sheared = 0.0 if abs(self.shear_deg) < shear_deg else self.shear_deg
        scales = [1.0 if abs(s - 1) < stretch else s for s in self.scales]
        of_y, of_x = math.radians(turned + sheared / 2), math.radians(turned - sheared / 2)
        return PositionMap(
            matrix=(
                (scales[0] * math.cos(of_y), -scales[1] * math.sin(of_x)),
                (scales[0] * math.sin(of_y), scales[1] * math.cos(of_x)),
            )
        )

    @property
    def largest_change(self) -> float:
        """The largest entry of the matrix less the identity."""
        (a, b), (c, d) = self.matrix
        return max(abs(a - 1), abs(b), abs(c), abs(d - 1))


def _halved(degrees: float) -> float:
    """Half of an angle, taken between -180 and 180 degrees."""
    return ((degrees + 180) % 360 - 180) / 2
