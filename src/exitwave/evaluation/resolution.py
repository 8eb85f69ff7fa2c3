"""Resolution of an image: Fourier ring correlation (FRC) and its thresholds."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int
from numpy import fft
from scipy.signal.windows import tukey
from torch import Tensor

from exitwave.data.errors import InputError

BEYOND_CHANCE = 3.0
"""Standard deviations by which the power of a ring must be lower for it to be without signal."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RingCorrelation:
    """Agreement of two images, ring by ring of spatial frequency, from 0 to Nyquist."""

    frequency: Float[np.ndarray, " ring"]
    """Radius of each ring as a fraction of Nyquist (of the coarser axis)."""
    correlation: Float[np.ndarray, " ring"]
    """Real part of the normalised correlation, -1 to 1; 1 by definition in ring 0, as the mean was removed."""
    samples: Int[np.ndarray, " ring"]
    """Fourier samples in each ring."""
    empty: Bool[np.ndarray, " ring"] | None = None
    """Rings that hold less, noise included, than images share in a finer ring: they lie between the reflections of a lattice, and
    their correlation says nothing of the resolution. None where there are none."""

    @property
    def half_bit(self) -> Float[np.ndarray, " ring"]:
        """Half-bit threshold of each ring."""
        return information_threshold(self.samples, 0.5)

    @property
    def one_bit(self) -> Float[np.ndarray, " ring"]:
        """One-bit threshold of each ring, the stricter one."""
        return information_threshold(self.samples, 1.0)

    def crossing(self, threshold: float | Float[np.ndarray, " ring"]) -> float:
        """Fraction of Nyquist where the curve first falls below a threshold (one value, or one for each ring); empty rings
        do not count.

        Interpolated between rings; 1.0 when it stays above up to Nyquist.
        """
        above = self.correlation - threshold
        counted = np.ones(len(above), dtype=bool) if self.empty is None else ~self.empty | (above >= 0)
        return self._falls_below(above, counted)

    def first_crossing(self, threshold: float | Float[np.ndarray, " ring"]) -> float:
        """The same where every ring counts, as is usual where the object is no lattice."""
        above = self.correlation - threshold
        return self._falls_below(above, np.ones(len(above), dtype=bool))

    def _falls_below(self, above: Float[np.ndarray, " ring"], counted: Bool[np.ndarray, " ring"]) -> float:
        below = np.flatnonzero(counted[1:] & (above[1:] < 0)) + 1
        if len(below) == 0:
            return 1.0
        ring = int(below[0])
        if not counted[ring - 1]:
            return float(self.frequency[np.flatnonzero(above[:ring] >= 0)[-1]])
        before, after = max(float(above[ring - 1]), 0.0), float(above[ring])
        part = before / (before - after)
        return float(min(self.frequency[ring - 1] + part * (self.frequency[ring] - self.frequency[ring - 1]), 1.0))

    @property
    def remark(self) -> str:
        """How many rings up to the half-bit resolution hold signal, where that is not all of them; else nothing."""
        reached = (self.frequency <= self.crossing(self.half_bit)) & (self.frequency > 0)
        held, count = int((reached & (self.correlation >= self.half_bit)).sum()), int(reached.sum())
        return (
            f"a lattice: {held} of {count} rings up to there hold signal, the others do not count"
            if held < count
            else ""
        )


def information_threshold(samples: Int[np.ndarray, " ring"], bits: float) -> Float[np.ndarray, " ring"]:
    """Ring correlation at which each sample of the two halves together carries `bits` of information; 1 at n = 1.

    van Heel & Schatz, J. Struct. Biol. 151, 250 (2005), eq. 17: with half the signal-to-noise ratio s = (2^bits - 1) / 2,
    T = (s + (2 sqrt(s) + 1) / sqrt(n)) / (1 + s + 2 sqrt(s) / sqrt(n)); half a bit gives the usual
    (0.2071 + 1.9102 / sqrt(n)) / (1.2071 + 0.9102 / sqrt(n)).
    """
    ratio = (2.0**bits - 1) / 2
    root = np.sqrt(np.maximum(samples, 1))
    return (ratio + (2 * ratio**0.5 + 1) / root) / (1 + ratio + 2 * ratio**0.5 / root)


def fourier_ring_correlation(
    a: Complex[Tensor, "y x"] | Float[Tensor, "y x"],
    b: Complex[Tensor, "y x"] | Float[Tensor, "y x"],
    *,
    pixel: tuple[float, float] = (1.0, 1.0),
    taper: float = 0.5,
    weights: Float[Tensor, "y x"] | None = None,
) -> RingCorrelation:
    """Correlate two aligned images in rings of their Fourier transforms; where it falls off, detail is no longer shared.

    Rings are one sample wide along the coarser frequency axis, so images and pixels need not be square: `pixel` is the
    pixel size (y, x), any unit. `taper` is the fraction of each side over which the images fade at their edges
    (Tukey: 0 none, 1 Hann); `weights` multiplies that. The weighted mean is taken off first, or the shared edge of the
    window would pass for shared detail. Saxton & Baumeister, J. Microsc. 127, 127 (1982). Raises InputError.
    """
    if a.ndim != 2 or a.shape != b.shape or min(a.shape) < 4:
        raise InputError(
            f"images of shape {tuple(a.shape)} and {tuple(b.shape)}; expected two equal ones of at least 4 x 4"
        )
    window = edge_window((a.shape[0], a.shape[1]), taper)
    if weights is not None:
        window = window * weights.detach().cpu().double().numpy()
    first, second = (windowed_spectrum(image, window) for image in (a, b))
    index, frequency = _rings(first.shape, pixel)
    count = len(frequency)

    def total(values: Float[np.ndarray, "y x"]) -> Float[np.ndarray, " ring"]:
        return np.bincount(index.ravel(), values.ravel(), minlength=count)[:count]

    cross, power_a, power_b = (
        total(values) for values in (np.real(first * second.conj()), np.abs(first) ** 2, np.abs(second) ** 2)
    )
    correlation = ring_ratio(cross, power_a, power_b)
    correlation[0] = 1.0
    samples = np.bincount(index.ravel(), minlength=count)[:count]
    empty = _without_signal(cross / samples, np.sqrt(power_a * power_b) / samples, correlation, samples)
    return RingCorrelation(frequency=frequency, correlation=correlation, samples=samples, empty=empty)


def _without_signal(
    shared: Float[np.ndarray, " ring"],
    held: Float[np.ndarray, " ring"],
    correlation: Float[np.ndarray, " ring"],
    samples: Int[np.ndarray, " ring"],
) -> Bool[np.ndarray, " ring"] | None:
    """Rings that hold less than images share, beyond chance, in a finer one; powers of a sample. The mean, ring 0, is none."""
    certain = np.where(correlation >= information_threshold(samples, 0.5), shared, 0.0)
    finer = np.append(np.maximum.accumulate(certain[::-1])[::-1][1:], 0.0)
    # The power of few samples varies by chance; of real images they come in pairs.
    empty = held * (1 + BEYOND_CHANCE * np.sqrt(2 / samples)) < finer
    empty[0] = False
    return empty if empty.any() else None


def ring_ratio(
    cross: Float[np.ndarray, " ring"], power_a: Float[np.ndarray, " ring"], power_b: Float[np.ndarray, " ring"]
) -> Float[np.ndarray, " ring"]:
    """cross / sqrt(power_a power_b); rings empty in both images agree (1), empty in one do not (0)."""
    # Rounding leaves some 1e-32 of the total power in rings that are empty.
    empty_a, empty_b = (power <= 1e-28 * power.sum() for power in (power_a, power_b))
    norm = np.sqrt(np.where(empty_a, 1.0, power_a) * np.where(empty_b, 1.0, power_b))
    return np.where(empty_a & empty_b, 1.0, np.where(empty_a | empty_b, 0.0, cross / norm))


def edge_window(shape: tuple[int, int], taper: float) -> Float[np.ndarray, "y x"]:
    """Window that fades to zero over `taper` / 2 of the image at each edge (Tukey)."""
    # Two points more, cut off again: the outermost pixels keep a little weight.
    sides = [tukey(size + 2, taper)[1:-1] for size in shape]
    return np.outer(sides[0], sides[1])


def windowed_spectrum(
    image: Complex[Tensor, "y x"] | Float[Tensor, "y x"], window: Float[np.ndarray, "y x"]
) -> Complex[np.ndarray, "y x"]:
    """Unitary Fourier transform of an image less its weighted mean, times the window; zero frequency at [0, 0]."""
    array = image.detach().cpu().to(torch.complex128).numpy()
    mean = np.sum(window * array) / np.sum(window)
    return fft.fft2((array - mean) * window, norm="ortho")


def radial_frequency(shape: tuple[int, ...], pixel: tuple[float, float] = (1.0, 1.0)) -> Float[np.ndarray, "y x"]:
    """Distance of each Fourier sample from zero frequency, as a fraction of the Nyquist frequency of the coarser axis."""
    down, across = (fft.fftfreq(size, step) for size, step in zip(shape, pixel, strict=True))
    return np.hypot(down[:, None], across[None, :]) * 2 * max(pixel)


def _rings(
    shape: tuple[int, ...], pixel: tuple[float, float]
) -> tuple[Int[np.ndarray, "y x"], Float[np.ndarray, " ring"]]:
    """Ring number of each Fourier sample, and the radius of each ring up to Nyquist."""
    width = max(2 * max(pixel) / (size * step) for size, step in zip(shape, pixel, strict=True))
    index = np.rint(radial_frequency(shape, pixel) / width).astype(np.int64)
    return index, width * np.arange(int(np.floor(1 / width + 1e-9)) + 1)
