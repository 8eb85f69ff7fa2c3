"""What photon counting does to amplitudes: their expected squared deviation, and roots whose mean is right in dark pixels, too."""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor

BRIGHT = 30.0
"""Photons from which on the asymptotic series is exact to 1e-5."""
STEPS = 512
"""Places at which the exact sum is tabled, evenly in the root of the photons."""


def amplitude_variance(expected: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """E (sqrt(N) - sqrt(mu))^2 of Poisson counts N of mean mu: 1/4 where there is light, 2 mu where it is dark.

    With E N = mu it is 2 mu - 2 sqrt(mu) E sqrt(N); the sum over counts below 30 photons, above it the series
    1/4 + 7 / (64 mu) + 75 / (512 mu^2) of Anscombe, Biometrika 35, 246 (1948).
    """
    mean = expected.clamp(min=0)
    dim = mean * _looked_up(_table(), mean)
    bright = mean.clamp(min=BRIGHT)
    return torch.where(mean < BRIGHT, dim, 0.25 + 7 / (64 * bright) + 75 / (512 * bright.square()))


def offset_amplitudes(amplitudes: Float[Tensor, "*shape"], offset_photons: float) -> Float[Tensor, "*shape"]:
    """Roots of counts N with photons added, of which the mean is sqrt(mu + offset), where that of sqrt(N) is hardly mu in the dark.

    sqrt(N + c + min(N, c) / 4) with c the offset. At c = 1 it is 1 for no count and 3/2 for one, as it must be where mu is small;
    for many photons the mean of sqrt(N + c + 1/4) is sqrt(mu + c) (Anscombe, Biometrika 35, 246, 1948). Where N is Poisson of
    mean mu the fit to it is off by 0.05 photons at most; to plain roots, by 0.4 at one photon and by all of them below.
    """
    counts = amplitudes.square()
    return (counts + 0.25 * counts.clamp(max=offset_photons)).add_(offset_photons).sqrt_()


def offset_variance(expected: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """E (`offset_amplitudes` - sqrt(mu + 1))^2 of Poisson counts of mean mu with one photon added: 1/4 where there is light, 0
    where it is dark.

    The sum over counts below 30 photons, above it 1/4 - 7 / (32 mu): the variance of sqrt(N + 5 / 4) (Anscombe 1948).
    """
    mean = expected.clamp(min=0)
    return torch.where(mean < BRIGHT, _looked_up(_offset_table(), mean), 0.25 - 7 / (32 * mean.clamp(min=BRIGHT)))


def _looked_up(values: Float[np.ndarray, " step"], mean: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """What is tabled, between two places on a line."""
    table = torch.from_numpy(values).to(mean.device, torch.float32)
    place = (mean.clamp(max=BRIGHT) / BRIGHT).sqrt() * STEPS
    below = place.floor().clamp(max=STEPS - 1).to(torch.int64)
    return torch.lerp(table[below], table[below + 1], (place - below).to(torch.float32)).to(mean.dtype)


@cache
def _offset_table() -> Float[np.ndarray, " step"]:
    mean, counts, chances = _counting()
    amplitudes = offset_amplitudes(torch.from_numpy(counts).double().sqrt(), 1.0).numpy()
    return (chances * np.square(amplitudes[None, :] - np.sqrt(mean + 1)[:, None])).sum(axis=1)


@cache
def _table() -> Float[np.ndarray, " step"]:
    mean, counts, chances = _counting()
    root = chances @ np.sqrt(counts)
    # Over the mean, so that what lies between two places is exact in the dark, too.
    return 2 - 2 * root / np.sqrt(np.maximum(mean, 1e-300))


def _counting() -> tuple[Float[np.ndarray, " step"], Int[np.ndarray, " count"], Float[np.ndarray, "step count"]]:
    """Means that are tabled, counts that may come, and their chances."""
    mean = BRIGHT * np.square(np.arange(STEPS + 1) / STEPS)
    counts = np.arange(int(BRIGHT + 12 * BRIGHT**0.5))
    return mean, counts, stats.poisson.pmf(counts[None, :], mean[:, None])
