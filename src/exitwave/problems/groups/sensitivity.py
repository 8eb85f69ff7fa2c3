"""Preconditioner of the conjugate gradients: how strongly patterns tell of detail of each size."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from exitwave.problems.groups.canvases import SOFTNESS, Canvases

BANDS = 20
"""Spatial frequencies at which the sensitivity to phase is measured."""


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """How much of the light that a phase ripple of the object moves changes the patterns, by spatial frequency.

    The rest of it is invisible: a slow phase under a strongly curved probe moves 1 % of its light where it can be seen, and
    descent needs a hundred times the steps. The share of an amplitude ripple is one less that of phase. For an even
    probe this is the contrast transfer of in-line holography, sin^2 and cos^2 (Guigay, Optik 49, 121, 1977); here it is
    measured with random ripples of a flat object, for any probe, mask and propagation.
    """

    frequency: Float[np.ndarray, " band"]
    """Cycles per object pixel."""
    share: Float[np.ndarray, " band"]

    @classmethod
    def of(cls, canvases: Canvases, seed: int = 0) -> "Sensitivity":
        """Measured on canvases of a few frames; costs about as much as ten iterations on them."""
        shape = canvases.illumination.shape
        radius = _radius((shape[1], shape[2]))
        edges = np.concatenate([[-1, 0.5 / max(shape[1:])], np.geomspace(0.75 / max(shape[1:]), 0.72, BANDS)])
        flat = torch.ones(shape, dtype=canvases.probes.dtype, device=canvases.illumination.device)
        waves = canvases.at_detector(flat)
        modulus, _ = canvases.pull(waves)
        noise = torch.fft.fft2(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))
        frequency: list[float] = []
        share: list[float] = []
        for low, high in pairwise(edges):
            band = (radius > low) & (radius <= high)
            if not band.any():
                continue
            ripple = torch.fft.ifft2(noise * torch.from_numpy(band)).real.to(flat.device)
            moved = canvases.at_detector(torch.complex(torch.zeros_like(ripple), ripple))
            shown = real_product(waves, moved) / modulus * canvases.trusted
            frequency.append(float(radius[band].mean()))
            share.append(float(shown.square().sum() / moved.abs().square().sum().clamp(min=1e-30)))
        return cls(np.array(frequency), np.array(share))

    def gains(self, shape: tuple[int, int]) -> Float[Tensor, "2 Y Xhalf"]:
        """By how much to enlarge amplitude and phase of a search direction, for `rfft2` of a canvas of this shape."""
        phase = np.interp(_radius(shape)[:, : shape[1] // 2 + 1], self.frequency, self.share)
        return torch.from_numpy(1 / (np.stack([1 - phase, phase]).clip(0, 1) + SOFTNESS)).to(torch.float32)


def _radius(shape: tuple[int, int]) -> np.ndarray:
    return np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None, :])


def real_product(waves: Tensor, others: Tensor) -> Float[Tensor, "frame y x"]:
    """Sum over modes of Re(conj(waves) others): how the intensity grows along `others`, halved."""
    one, other = torch.view_as_real(waves), torch.view_as_real(others)
    parts = torch.addcmul(one[..., 0] * other[..., 0], one[..., 1], other[..., 1])
    return parts[:, 0] if parts.shape[1] == 1 else parts.sum(dim=1)
