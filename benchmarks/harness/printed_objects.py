"""Patterns of single printed objects with hard edges, as a test chart gives them, made with numpy alone.

Letters, dots and gratings, binary or with phases, behind a beam stop with arms; and what else real patterns have.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

import exitwave as ew

Image = NDArray[np.float64]
GEOMETRY = ew.Geometry.from_energy(8000.0, 2.0, (75e-6, 75e-6))
GLYPHS = {
    "A": "01110 10001 10001 11111 10001 10001 10001",
    "E": "11111 10000 10000 11110 10000 10000 11111",
    "F": "11111 10000 10000 11110 10000 10000 10000",
    "H": "10001 10001 10001 11111 10001 10001 10001",
    "K": "10001 10010 10100 11000 10100 10010 10001",
    "L": "10000 10000 10000 10000 10000 10000 11111",
    "P": "11110 10001 10001 11110 10000 10000 10000",
    "R": "11110 10001 10001 11110 10100 10010 10001",
    "S": "01111 10000 10000 01110 00001 00001 11110",
    "Z": "11111 00001 00010 00100 01000 10000 11111",
    "5": "11111 10000 11110 00001 00001 10001 01110",
}
FINER = 4
"""Objects are drawn on a grid so much finer."""


@dataclass(frozen=True, kw_only=True)
class Flaws:
    """How a pattern is recorded."""

    photons: float = 1e9
    """In the whole pattern, of 512 x 512 pixels; in proportion to the pixels where there are fewer."""
    stop_px: float = 22.0
    """Diameter of the beam stop."""
    arms_rad: tuple[float, ...] = (0.4, 2.2)
    """Directions in which arms hold the stop."""
    arm_px: float = 6.0
    background: float = 0.0
    """Photons in every pixel that do not come from the object."""
    blur_px: float = 0.0
    """Partial coherence: standard deviation of the Gaussian."""
    saturated: int = 0
    """So many of the brightest pixels beside the stop are lost."""
    off_px: tuple[float, float] = (0.0, 0.0)
    """The beam's centre beside the frame's."""
    symmetrised: bool = False
    """Opposite pixels averaged, so that most of the arms are filled."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Printed:
    """A pattern and what it was made of."""

    pattern: ew.Pattern
    truth: Tensor = field(repr=False)


def printed(
    kind: str,
    *,
    seed: int,
    frame_px: int = 512,
    oversampling: float = 5.0,
    phase: float = 0.0,
    flaws: Flaws | None = None,
) -> Printed:
    """The pattern of an object of `kind` that is 1 / `oversampling` as wide as the frame; its phase spans `phase` rad."""
    flaws, rng = flaws or Flaws(), np.random.default_rng(seed)
    size = round(frame_px / oversampling)
    drawn = DRAWN[kind](size * FINER, rng).reshape(size, FINER, size, FINER).mean(axis=(1, 3)) > 0.5
    truth = np.zeros((frame_px, frame_px), complex)
    start = (frame_px - size) // 2
    slow = ndimage.gaussian_filter(rng.normal(size=drawn.shape), size / 8)
    truth[start : start + size, start : start + size] = drawn * np.exp(1j * phase * (slow - slow.min()) / np.ptp(slow))
    counts, mask = _recorded(truth, flaws, rng)
    pattern = ew.Pattern(
        patterns=torch.from_numpy(counts).float()[None], geometry=GEOMETRY, mask=torch.from_numpy(mask)
    )
    return Printed(pattern=pattern, truth=torch.from_numpy(truth).to(torch.complex64))


def _recorded(truth: NDArray[np.complex128], flaws: Flaws, rng: Generator) -> tuple[Image, NDArray[np.bool_]]:
    n = len(truth)
    y, x = np.mgrid[:n, :n] - n // 2
    tilted = truth * np.exp(2j * np.pi * (flaws.off_px[0] * y + flaws.off_px[1] * x) / n)
    intensity = np.abs(np.fft.fftshift(np.fft.fft2(tilted))) ** 2
    if flaws.blur_px:
        intensity = ndimage.gaussian_filter(intensity, flaws.blur_px, mode="wrap")
    mask = np.hypot(y, x) > flaws.stop_px / 2
    for angle in flaws.arms_rad:
        along, across = y * np.sin(angle) + x * np.cos(angle), x * np.sin(angle) - y * np.cos(angle)
        mask &= (along <= 0) | (np.abs(across) >= flaws.arm_px / 2)
    intensity *= flaws.photons * (n / 512) ** 2 / intensity.sum()
    counts = rng.poisson(intensity + flaws.background).astype(float)
    if flaws.saturated:
        mask &= counts < np.sort(counts[mask])[-flaws.saturated]
    if flaws.symmetrised:
        turned, seen = (np.roll(a[::-1, ::-1], ((n + 1) % 2,) * 2, (0, 1)) for a in (counts * mask, mask))
        counts = (counts * mask + turned) / np.maximum(mask.astype(float) + seen, 1)
        mask = mask | seen
    return counts * mask, mask


def _word(image: Image, box: tuple[float, float, float, float], text: str) -> None:
    """Letters into a box (top, left, height, width), shares of the image."""
    n = len(image)
    top, left, height, width = (n * part for part in box)
    cell = width / (6 * len(text) - 1)
    for place, letter in enumerate(text):
        for row, line in enumerate(GLYPHS[letter].split()):
            for column, dot in enumerate(line):
                if dot == "1":
                    rows = slice(int(top + row * height / 7), int(top + (row + 1) * height / 7))
                    first = left + (6 * place + column) * cell
                    image[rows, int(first) : int(first + cell)] = 1


def _dot(image: Image, row: float, column: float, radius: float) -> None:
    n = len(image)
    y, x = np.mgrid[:n, :n]
    image[np.hypot(y - n * row, x - n * column) < n * radius] = 1


def _some(rng: Generator, count: int) -> str:
    return "".join(rng.choice(list(GLYPHS), count))


def _letters_and_dots(n: int, rng: Generator) -> Image:
    image = np.zeros((n, n))
    _word(image, (0.0, 0.0, 0.6, 1.0), _some(rng, 3))
    for _ in range(8):
        _dot(image, rng.uniform(0.68, 0.93), rng.uniform(0.07, 0.93), rng.uniform(0.02, 0.07))
    _dot(image, 0.84, rng.uniform(0.2, 0.8), 0.16)
    return image


def _letters(n: int, rng: Generator) -> Image:
    image = np.zeros((n, n))
    _word(image, (0.0, 0.0, 0.47, 1.0), _some(rng, 3))
    _word(image, (0.53, 0.0, 0.47, 1.0), _some(rng, 2))
    return image


def _full(n: int, rng: Generator) -> Image:
    """Fat letters without gaps to speak of, and a bar: about 7,500 pixels of 102 x 102."""
    image = _letters_and_dots(n, rng)
    image = ndimage.binary_dilation(image, iterations=max(1, n // 26)).astype(float)
    _word(image, (0.66, 0.02, 0.3, 0.5), _some(rng, 1))
    return image


def _dots(n: int, rng: Generator) -> Image:
    image = np.zeros((n, n))
    for _ in range(25):
        turn, away = rng.uniform(0, 2 * np.pi), 0.44 * np.sqrt(rng.uniform())
        _dot(image, 0.5 + away * np.sin(turn), 0.5 + away * np.cos(turn), rng.uniform(0.02, 0.06))
    return image


def _grating(n: int, rng: Generator) -> Image:
    image, lines = np.zeros((n, n)), int(rng.integers(6, 10))
    for line in range(lines):
        image[: n // 2, int(line * n / lines) : int((line + 0.5) * n / lines)] = 1
    _word(image, (0.6, 0.0, 0.4, 0.6), _some(rng, 2))
    for line in range(4):
        image[int(n * (0.62 + 0.1 * line)) : int(n * (0.67 + 0.1 * line)), int(0.68 * n) : int(0.98 * n)] = 1
    return image


def _parts(n: int, rng: Generator) -> Image:
    """Several pieces that stand apart."""
    image = np.zeros((n, n))
    _word(image, (0.0, 0.0, 0.3, 0.4), _some(rng, 2))
    _word(image, (0.72, 0.5, 0.28, 0.5), _some(rng, 2))
    _dot(image, 0.2, 0.8, 0.12)
    _dot(image, 0.8, 0.15, 0.1)
    image[int(0.45 * n) : int(0.55 * n), int(0.3 * n) : int(0.7 * n)] = 1
    return image


def _badge(n: int, rng: Generator) -> Image:
    """Letters cut out of a disc, whose outline is its own mirror image."""
    image, word = np.zeros((n, n)), np.zeros((n, n))
    _dot(image, 0.5, 0.5, 0.5)
    _word(word, (0.3, 0.12, 0.4, 0.76), _some(rng, 3))
    return image * (1 - word)


DRAWN = {
    "letters and dots": _letters_and_dots,
    "letters": _letters,
    "full": _full,
    "dots": _dots,
    "grating": _grating,
    "parts": _parts,
    "badge": _badge,
}
"""How each kind of object is drawn."""
