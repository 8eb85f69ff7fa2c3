"""Sub-pixel shifts by a few weights per axis, fitted to the probe at hand: far cheaper than Fourier transforms, error known."""

from dataclasses import dataclass, field
from functools import cache

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.physics.kernels.reference import TAPS, Weights

STEPS = 128
"""To a pixel: the shifts for which weights are fitted. Between them they are interpolated, within 5e-5."""
RIDGE = 1e-9
"""Share of the power added to the fit, so that weights stay small where the probe has no power."""


@dataclass(frozen=True, eq=False)
class Interpolation:
    """Moves a probe by fractions of a pixel: value = sum over 8 x 8 neighbours of (weight of row x weight of column) probe."""

    tables: Float[Tensor, "axis step tap"] = field(repr=False)
    """Weights along y and along x for shifts from -1/2 to 1/2 pixel."""
    error: float
    """At the worst shift: root mean square error of the moved probe over its root mean square, both axes added in squares."""

    @classmethod
    def of(cls, spectrum: Complex[Tensor, "mode y x"]) -> "Interpolation":
        """The weights that move a probe of this transform best: least squares over its power in every frequency.

        Fitted along each axis to exp(-2 pi i f shift), as in Wiener interpolation (Yaroslavsky, Opt. Express 11, 387, 2003,
        compares such filters with the exact shift); the shift wraps at the edge, as the Fourier shift does.
        """
        power = torch.view_as_real(spectrum).square().sum(dim=(0, -1)).double().cpu()
        power /= power.sum().clamp(min=1e-300)
        # How like the probe is to itself at each distance, of two neighbours and of a neighbour and the place.
        alike = torch.stack([_correlations(n) @ power.sum(dim=1 - axis) for axis, n in enumerate(power.shape)])
        places = STEPS * (torch.arange(TAPS) - TAPS // 2)
        normal = alike[:, (places[:, None] - places).abs()]
        wanted = alike[:, (torch.arange(-STEPS // 2, STEPS // 2 + 1)[:, None] + places).abs()]
        weights = torch.linalg.solve(normal + RIDGE * torch.eye(TAPS, dtype=torch.float64), wanted, left=False)
        errors = 1 - 2 * (weights * wanted).sum(dim=-1) + (weights @ normal * weights).sum(dim=-1)
        return cls(weights, float(errors.amax(dim=1).clamp(min=0).sum()) ** 0.5)

    def weights(self, shift_px: Float[Tensor, "batch 2"]) -> Weights:
        """Those for shifts (y, x) of at most half a pixel."""
        place = ((shift_px.double().cpu() + 0.5) * STEPS).clamp(0, STEPS)
        below = place.floor().clamp(max=STEPS - 1).long()
        share = (place - below)[..., None]
        axis = torch.arange(2)
        return torch.lerp(self.tables[axis, below], self.tables[axis, below + 1], share).float()


@cache
def _correlations(size: int) -> Float[Tensor, "distance frequency"]:
    """Correlation of each wave on so many pixels with itself, at distances of 1 / STEPS pixels up to TAPS pixels."""
    distance_px = torch.arange(TAPS * STEPS, dtype=torch.float64) / STEPS
    return torch.cos(2 * torch.pi * distance_px[:, None] * torch.fft.fftfreq(size, dtype=torch.float64))
