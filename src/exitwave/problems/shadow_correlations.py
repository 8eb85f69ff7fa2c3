"""Correlations of pairs of frames, and the linear map from differences of position to shifts that they agree on."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import fft, ndimage

LEAST_OVERLAP = 0.15
"""Pairs whose beams would overlap less, after the shift that is tried, say nothing of it."""
LEAST_PAIRS = 6
"""Pairs that must say something of a map."""
STRONGEST = 8.0
"""Correlations, in standard deviations of their map, are counted no higher: no pair decides alone."""
FILTER_FLOOR, FILTER_POWER = 0.03, 0.75
"""How far the mean spectrum is flattened before correlation; all the way would leave noise alone where light is scarce."""

Maps = Float[np.ndarray, "pair y x"]
Pairs = Float[np.ndarray, "pair 2"]
Matrix = Float[np.ndarray, "2 2"]


@dataclass(frozen=True, eq=False)
class Correlations:
    """How well the frames of each pair agree after every shift (zero at index 0), in standard deviations."""

    maps: Maps
    overlap: Float[np.ndarray, "y x"]
    """Share of the beam's power that still overlaps with itself after a shift."""
    steps: Pairs
    """Difference of the positions of each pair."""
    reach: tuple[float, float]
    """Largest shift (y, x) that is told from its complement."""

    def some(self, kept: Bool[np.ndarray, " pair"]) -> "Correlations":
        """These pairs alone."""
        return Correlations(self.maps[kept], self.overlap, self.steps[kept], self.reach)

    def blurred(self, sigma_px: float) -> "Correlations":
        """The same, less choosy about the shift."""
        maps = ndimage.gaussian_filter(self.maps, (0, sigma_px, sigma_px), mode="wrap")
        for image in maps:
            image /= image.std()
        return Correlations(maps, self.overlap, self.steps, self.reach)

    def weights(self, shifts: Float[np.ndarray, "*tried pair 2"]) -> Float[np.ndarray, "*tried pair"]:
        """What each pair can say of the shift tried on it: the overlap, or nothing."""
        y, x = self._nearest(shifts)
        overlap = self.overlap[y, x]
        within = (np.abs(shifts[..., 0]) < self.reach[0]) & (np.abs(shifts[..., 1]) < self.reach[1])
        return np.where(within & (overlap > LEAST_OVERLAP), overlap, 0.0)

    def agreement(
        self, shifts: Float[np.ndarray, "*tried pair 2"], weights: Float[np.ndarray, "*tried pair"]
    ) -> Float[np.ndarray, "*tried"]:
        """How strongly pairs agree on shifts, in standard deviations of chance; minus infinity where too few say anything."""
        y, x = self._nearest(shifts)
        seen = self.maps[np.arange(len(self.maps)), y, x].clip(-STRONGEST, STRONGEST)
        total = (weights * seen).sum(axis=-1) / np.sqrt((weights * weights).sum(axis=-1) + 1e-9)
        return np.where((weights > 0).sum(axis=-1) >= LEAST_PAIRS, total, -np.inf)

    def of_map(self, matrices: Float[np.ndarray, "*tried 2 2"]) -> Float[np.ndarray, "*tried"]:
        """How strongly pairs agree that shifts are `matrix @ step`."""
        shifts = self.steps @ np.swapaxes(matrices, -1, -2)
        return self.agreement(shifts, self.weights(shifts))

    def rival(self, matrix: Matrix, around: int = 3) -> float:
        """How strongly pairs agree that the shadow moved by one period more, over their agreement on `matrix`; 0 where nothing repeats.

        The shadow of a lattice under a raster fits as well when it is moved by one more period for every step.
        """
        shifts = self.steps @ matrix.T
        whole, weights = np.rint(shifts).astype(int), self.weights(shifts)
        # Pairs laid over each other so that their expected shifts coincide: what is seen beside is the period.
        laid = np.zeros(self.maps.shape[1:])
        for image, shift, weight in zip(self.maps, whole, weights, strict=True):
            if weight > 0:
                laid += weight * np.roll(image.clip(-STRONGEST, STRONGEST), tuple(-shift), axis=(0, 1))
        near = np.arange(-around, around + 1)
        peaks = (laid == ndimage.maximum_filter(laid, len(near), mode="wrap")) & (laid > 0)
        peaks[np.ix_(near, near)] = False
        if not peaks.any():
            return 0.0
        place = np.unravel_index(np.where(peaks, laid, 0.0).argmax(), laid.shape)
        y, x = ((int(at) + n // 2) % n - n // 2 for at, n in zip(place, laid.shape, strict=True))
        step = float(np.linalg.norm(self.steps, axis=1).min())
        period = np.array([[y, -x], [x, y]]) / step
        turns = [np.array([[c, -s], [s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
        others = np.stack([matrix + period @ turn for turn in turns])
        return float(self.of_map(others).max()) / max(float(self.of_map(matrix)), 1e-30)

    def _nearest(self, shifts: Float[np.ndarray, "*tried pair 2"]) -> tuple[np.ndarray, np.ndarray]:
        whole = np.rint(shifts).astype(np.int32)
        return whole[..., 0] % self.maps.shape[1], whole[..., 1] % self.maps.shape[2]


def correlate(
    amplitudes: Float[np.ndarray, "frame y x"],
    trusted: Bool[np.ndarray, "y x"],
    pairs: Int[np.ndarray, "pair 2"],
    steps: Pairs,
) -> Correlations:
    """Correlate what distinguishes the frames of each pair from the mean frame.

    Square roots of counts scatter equally everywhere, so that dark and bright pixels count as much as they know. Every
    frame counts the same, however bright.
    """
    brightness = np.sqrt((amplitudes**2).mean(axis=(1, 2), keepdims=True)).clip(min=1e-20)
    amplitudes = amplitudes / brightness
    mean = amplitudes.mean(axis=0)
    share = (amplitudes * mean).sum(axis=(1, 2), keepdims=True) / max(float((mean * mean).sum()), 1e-20)
    window = trusted * _tapered(mean.shape[0])[:, None] * _tapered(mean.shape[1])
    change = (amplitudes - share * mean) * window
    change /= np.sqrt((change * change).sum(axis=(1, 2), keepdims=True)).clip(min=1e-20)
    padded = [cast(int, fft.next_fast_len(int(1.7 * length), real=True)) for length in mean.shape]
    spectra = np.fft.rfft2(change.astype(np.float32), padded)
    power = ndimage.uniform_filter((np.abs(spectra) ** 2).mean(axis=0), 3, mode="wrap")
    flattening = ((power + FILTER_FLOOR * power.max() + 1e-30) ** -FILTER_POWER).astype(np.float32)
    flattening[0, 0] = 0
    maps = np.empty((len(pairs), *padded), dtype=np.float32)
    for number, (first, second) in enumerate(pairs):
        # One after the other: the products of all pairs would take more memory than the maps.
        found = np.fft.irfft2(spectra[first].conj() * spectra[second] * flattening, padded)
        maps[number] = (found - found.mean()) / max(float(found.std()), 1e-20)
    lit = np.fft.irfft2(np.abs(np.fft.rfft2((window * mean) ** 2, padded)) ** 2, padded)
    reach = (0.8 * mean.shape[0], 0.8 * mean.shape[1])
    return Correlations(maps, (lit / max(float(lit[0, 0]), 1e-20)).clip(min=0), steps, reach)


def search(seen: Correlations) -> tuple[float, Matrix | None]:
    """The similarity (any scale, angle and mirror) on which pairs agree most, and how strongly they do."""
    lengths = np.linalg.norm(seen.steps, axis=1)
    first, last = math.log(0.7 / np.quantile(lengths, 0.9)), math.log(max(seen.reach) / np.quantile(lengths, 0.1))
    angles = np.arange(0, 2 * np.pi, 0.06)
    cos, sin = np.cos(angles), np.sin(angles)
    best: tuple[float, Matrix | None] = (-math.inf, None)
    agreement = _tabulated(seen)
    for mirror in (1, -1):
        turns = np.stack([np.stack([cos, -mirror * sin], -1), np.stack([sin, mirror * cos], -1)], -2)
        turned = seen.steps @ np.swapaxes(turns, -1, -2)
        for scale in np.exp(np.arange(first, last, 0.06)):
            agreed = agreement(scale * turned)
            top = int(agreed.argmax())
            if agreed[top] > best[0]:
                best = float(agreed[top]), scale * turns[top]
    return best


def _tabulated(
    seen: Correlations,
) -> Callable[[Float[np.ndarray, "tried pair 2"]], Float[np.ndarray, " tried"]]:
    """`Correlations.agreement` for shifts and their weights, in half the time where it is asked for many of them."""
    height, width = seen.maps.shape[1:]
    strength = seen.maps.clip(-STRONGEST, STRONGEST).ravel()
    overlap = np.where(seen.overlap > LEAST_OVERLAP, seen.overlap, 0.0).ravel()
    own_map = np.arange(len(seen.maps)) * (height * width)

    def agreement(shifts: Float[np.ndarray, "tried pair 2"]) -> Float[np.ndarray, " tried"]:
        y, x = shifts[..., 0], shifts[..., 1]
        place = np.rint(y).astype(np.int32) % height * width + np.rint(x).astype(np.int32) % width
        weights = overlap[place] * ((np.abs(y) < seen.reach[0]) & (np.abs(x) < seen.reach[1]))
        total = (weights * strength[place + own_map]).sum(axis=-1) / np.sqrt((weights * weights).sum(axis=-1) + 1e-9)
        return np.where((weights > 0).sum(axis=-1) >= LEAST_PAIRS, total, -np.inf)

    return agreement


def refine(seen: Correlations, matrix: Matrix, rounds: int = 4) -> Matrix:
    """Fit the map to the peaks of the pairs near where it expects them: weighted least squares, outliers left out softly."""
    for _ in range(rounds):
        shifts, weights = _peaks(seen, seen.steps @ matrix.T)
        if int((weights > 0).sum()) < LEAST_PAIRS:
            return matrix
        kept = weights
        for _ in range(3):
            root = np.sqrt(kept)[:, None]
            matrix = np.linalg.lstsq(seen.steps * root, shifts * root, rcond=None)[0].T
            miss = np.linalg.norm(shifts - seen.steps @ matrix.T, axis=1)
            usual = max(float(np.median(miss[weights > 0])), 0.2)
            kept = weights / (1 + (miss / (1.5 * usual)) ** 2) ** 2
    return matrix


def _peaks(seen: Correlations, expected: Pairs, around: int = 3) -> tuple[Pairs, Float[np.ndarray, " pair"]]:
    """The highest point of each map near the expected shift, to a part of a pixel, and what it is worth."""
    whole, offsets = np.rint(expected).astype(int), np.arange(-around, around + 1)
    pair, size = np.arange(len(whole)), len(offsets)
    rows = (whole[:, 0, None, None] + offsets[:, None]) % seen.maps.shape[1]
    columns = (whole[:, 1, None, None] + offsets) % seen.maps.shape[2]
    near = seen.maps[pair[:, None, None], rows, columns]
    row, column = np.divmod(near.reshape(len(pair), -1).argmax(axis=1), size)
    inner = (row > 0) & (row < size - 1) & (column > 0) & (column < size - 1)
    row, column = row.clip(1, size - 2), column.clip(1, size - 2)
    height = near[pair, row, column]
    fine_y = _vertex(near[pair, row - 1, column], height, near[pair, row + 1, column])
    fine_x = _vertex(near[pair, row, column - 1], height, near[pair, row, column + 1])
    shifts = whole + np.stack([row - around + fine_y, column - around + fine_x], axis=1)
    return shifts, np.where(inner, height.clip(min=0) ** 2 * seen.weights(expected), 0.0)


def _vertex(before: np.ndarray, at: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where the parabola through three points one pixel apart is highest, relative to the middle one."""
    bend = before - 2 * at + after
    return np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, -1), 0.0).clip(-0.5, 0.5)


def _tapered(length: int) -> Float[np.ndarray, " n"]:
    """1 with soft ends, so that the edge of the frame is no feature."""
    edge = max(1, length // 10)
    ramp = np.sin(0.5 * np.pi * (np.arange(edge) + 0.5) / edge) ** 2
    window = np.ones(length)
    window[:edge], window[-edge:] = ramp, ramp[::-1]
    return window
