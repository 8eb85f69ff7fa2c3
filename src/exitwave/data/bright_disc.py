"""The bright-field disc: the aperture's image in the mean far-field pattern."""

import math

import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

LEAST_PIXELS = 12
"""A disc of fewer pixels has no radius worth telling."""


def disc_angle(
    mean_pattern: Float[Tensor, "y x"], mask: Bool[Tensor, "y x"], pixel_angle_rad: tuple[float, float]
) -> float | None:
    """Radius (rad) of the disc that has the area of all pixels above half the bright level; None where it is no disc."""
    lit = disc_pixels(mean_pattern, mask)
    return None if lit is None else math.sqrt(lit * pixel_angle_rad[0] * pixel_angle_rad[1] / math.pi)


def disc_pixels(mean_pattern: Float[Tensor, "y x"], mask: Bool[Tensor, "y x"]) -> int | None:
    """Pixels of the bright disc; None where the pattern has none: pixels as bright as the disc lie all about, or hardly any do."""
    # Single hot pixels are no disc, and may hold more counts than one.
    calm = ndimage.median_filter(torch.where(mask, mean_pattern, 0.0).cpu().double().numpy(), size=3)
    pattern = torch.from_numpy(calm)
    if not float(pattern.max()) > 0:
        return None
    # The level above which half of the light lies: the dim surroundings do not decide it.
    ranked = pattern.flatten().sort(descending=True).values
    level = float(ranked[int((ranked.cumsum(dim=0) < 0.5 * ranked.sum()).sum().clamp(max=len(ranked) - 1))])
    lit = pattern > 0.5 * level
    count = int(lit.sum())
    if not LEAST_PIXELS <= count < 0.7 * pattern.numel():
        return None
    rows, columns = torch.nonzero(lit, as_tuple=True)
    # An even disc of so many pixels has this mean square distance from its middle along each axis.
    spread = float(rows.double().var() + columns.double().var())
    return count if abs(spread / (count / (2 * math.pi)) - 1) < 0.25 else None
