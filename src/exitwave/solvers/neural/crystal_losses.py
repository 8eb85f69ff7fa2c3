"""Loss functions of networks for crystals: how far the pattern of what they give is from the measured one. All of order 1.

Transforms are unitary and patterns are compared at the scale that fits best, so that no loss depends on photons, on the size of
the grid, on the norm of the transform or on the number of crystals in a batch.
"""

import math
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

Amplitudes = Float[Tensor, "crystal z y x"]
"""Square roots of photons, zero frequency at index 0."""
Crystals = Complex[Tensor, "crystal z y x"]
CrystalLoss = Literal["rms", "chi2", "l1", "pcc", "comb2"]
AXES = (1, 2, 3)
TINY = 1e-8


class Fit(NamedTuple):
    """How the patterns of crystals compare with the measured ones; each "crystal"."""

    chi2: Float[Tensor, " crystal"]
    """sum (s |F| - A)^2 / sum A^2, at the scale s that makes it least."""
    l1: Float[Tensor, " crystal"]
    """sum |s |F| - A| / sum A."""
    correlation: Float[Tensor, " crystal"]
    """Pearson correlation of |F| and A."""


def crystals_of(images: Float[Tensor, "crystal 2 z y x"], threshold: float) -> Crystals:
    """Amplitude and phase as a crystal that is zero where its amplitude is below a share of its largest.

    The share is of the crystal's own maximum: none is lost whose amplitude is small everywhere. The support passes no gradient.
    """
    amplitude, phase = images[:, 0].float(), images[:, 1].float()
    inside = amplitude >= threshold * amplitude.detach().amax(dim=AXES, keepdim=True)
    return torch.polar(amplitude * inside, phase)


def fit(crystals: Crystals, measured: Amplitudes) -> Fit:
    """Compare patterns; differentiable in the crystals."""
    wave = torch.fft.fftn(crystals, dim=AXES, norm="ortho")
    # A modulus with a slope at zero.
    modulus = (wave.real.square() + wave.imag.square() + TINY).sqrt()
    power = measured.square().sum(dim=AXES).clamp(min=TINY)
    scale = (modulus * measured).sum(dim=AXES, keepdim=True) / modulus.square().sum(dim=AXES, keepdim=True)
    deviation = scale * modulus - measured
    return Fit(
        chi2=deviation.square().sum(dim=AXES) / power,
        l1=deviation.abs().sum(dim=AXES) / measured.sum(dim=AXES).clamp(min=TINY),
        correlation=_correlation(modulus, measured),
    )


def _correlation(one: Amplitudes, other: Amplitudes) -> Float[Tensor, " crystal"]:
    a, b = (values - values.mean(dim=AXES, keepdim=True) for values in (one, other))
    norms = (a.square().sum(dim=AXES) * b.square().sum(dim=AXES)).clamp(min=TINY**2).sqrt()
    return (a * b).sum(dim=AXES) / norms


def _rms(found: Fit) -> Float[Tensor, " crystal"]:
    return (found.chi2 + TINY).sqrt()


LOSSES: Mapping[CrystalLoss, Callable[[Fit], Float[Tensor, " crystal"]]] = {
    "rms": _rms,
    "chi2": lambda found: found.chi2,
    "l1": lambda found: found.l1,
    "pcc": lambda found: 1 - found.correlation,
    "comb2": lambda found: (_rms(found) + 1 - found.correlation) / 2,
}


def support_threshold(first: float, last: float, done: float) -> float:
    """The threshold of the support when a share `done` of the training is: it rises along half a cosine."""
    return last + (first - last) * (1 + math.cos(math.pi * min(max(done, 0.0), 1.0))) / 2
