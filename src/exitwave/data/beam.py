"""Where the beam stands in far-field frames, and how far its light reaches."""

import torch
from jaxtyping import Bool, Float
from scipy import fft
from torch import Tensor

from exitwave.data.untrusted_pixels import filled_from_neighbours

SHELL_PX = 4
"""Width of the square shells around the beam in which light is summed."""
KEPT = 1e-4
"""Share of the light that may fall outside a cut."""
DOUBT = 5.0
"""Standard deviations by which a shell must be above the background to count as lit."""


def centre_offset(light: Float[Tensor, "y x"]) -> tuple[float, float]:
    """The centre of the brighter part of a pattern, relative to [h // 2, w // 2], pixels (y, x)."""
    # Scattering that reaches all over the frame tells of the frame, not of the beam.
    level = 0.1 * light.flatten().sort().values[-max(1, light.numel() // 500)]
    bright = torch.where(light > level, light.clamp(max=10 * float(level)), 0.0)
    total = bright.sum()
    rows = torch.arange(light.shape[0], dtype=torch.float64) - light.shape[0] // 2
    columns = torch.arange(light.shape[1], dtype=torch.float64) - light.shape[1] // 2
    return float((bright.sum(dim=1) * rows).sum() / total), float((bright.sum(dim=0) * columns).sum() / total)


def beam_centre(mean_pattern: Float[Tensor, "y x"], mask: Bool[Tensor, "y x"]) -> tuple[int, int]:
    """The (row, column) of the beam: the centre of the brighter part of the mean pattern, untrusted pixels filled in.

    [h // 2, w // 2] where all is dark.
    """
    height, width = mean_pattern.shape
    light = _filled(mean_pattern, mask)
    if not float(light.sum()) > 0:
        return height // 2, width // 2
    row, column = centre_offset(light)
    return height // 2 + round(row), width // 2 + round(column)


def lit_size(mean_pattern: Float[Tensor, "y x"], centre: tuple[int, int]) -> int:
    """Side of the square around the beam that holds all but 1e-4 of its light, above the even background, pixels.

    Square shells whose mean is not above the background beyond doubt, by the scatter of their pixels, count nothing.
    """
    light, (height, width) = mean_pattern.double().flatten(), mean_pattern.shape
    # A single pixel that shines by itself is no light of the beam.
    light = light.clamp(max=float(light.sort().values[-max(1, light.numel() // 500)]))
    rows = (torch.arange(height) - centre[0]).abs()[:, None]
    columns = (torch.arange(width) - centre[1]).abs()[None, :]
    shells = (torch.maximum(rows, columns) // SHELL_PX).flatten()
    pixels = shells.bincount().clamp(min=1)
    mean = shells.bincount(light) / pixels
    scatter = (shells.bincount(light.square()) / pixels - mean.square()).clamp(min=0) / pixels
    above = mean - mean.quantile(0.1)
    excess = torch.where(above > DOUBT * scatter.sqrt(), above * pixels, 0.0)
    beyond = excess.flip(0).cumsum(0).flip(0)
    return 2 * SHELL_PX * max(1, int((beyond > KEPT * excess.sum()).sum()))


def quick_length(length: int) -> int:
    """The largest even number of pixels up to `length` that is transformed quickly: of small prime factors only."""
    length -= length % 2
    while length > 2 and fft.next_fast_len(length) != length:
        length -= 2
    return length


def is_quick(length: int) -> bool:
    """Whether so many pixels are transformed quickly."""
    return fft.next_fast_len(length) == length


def _filled(mean_pattern: Float[Tensor, "y x"], mask: Bool[Tensor, "y x"]) -> Float[Tensor, "y x"]:
    """Light, with untrusted pixels filled in; nothing where none is trusted."""
    if not bool(mask.any()):
        return torch.zeros_like(mean_pattern, dtype=torch.float64)
    return filled_from_neighbours(mean_pattern, mask).clamp(min=0).double()
