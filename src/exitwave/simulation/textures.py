"""Textures with which objects are drawn: random fields, soft-edged lines and stars, as real images in numpy."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Float32
from numpy.typing import NDArray
from scipy import ndimage

Image = Float[NDArray[np.float64], "y x"]
Segment = tuple[float, float, float, float]
"""Start and end of a straight line: y0, x0, y1, x1 in pixels."""


def power_law_field(shape: tuple[int, int], exponent: float, generator: np.random.Generator) -> Image:
    """A Gaussian random field whose power falls as spatial frequency to the minus `exponent`, stretched to 0..1."""
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(generator.standard_normal(shape)) * frequency ** (-exponent / 2)
    return stretch(np.fft.irfft2(spectrum, shape))


def stretch(image: Image) -> Image:
    """The image with its values mapped linearly to 0..1; all zeros where it is flat."""
    lowest, span = image.min(), np.ptp(image)
    return (image - lowest) / (span if span > 0 else 1.0)


def soft_step(distance_px: Image, edge_px: float = 1.0) -> Image:
    """1 well inside (positive distance), 0 well outside, linear over an edge of `edge_px`: an anti-aliased border."""
    return np.clip(0.5 + distance_px / edge_px, 0.0, 1.0)


def radius_and_angle(shape: tuple[int, int], centre: tuple[float, float] | None = None) -> tuple[Image, Image]:
    """Distance in pixels and angle in radians from the centre (n // 2 when left out)."""
    cy, cx = centre if centre is not None else (shape[0] // 2, shape[1] // 2)
    y, x = np.arange(shape[0])[:, None] - cy, np.arange(shape[1])[None, :] - cx
    return np.hypot(y, x), np.arctan2(y, x)


def star(shape: tuple[int, int], spokes: int, radius_px: float, turn_rad: float = 0.0) -> Image:
    """A Siemens star: `spokes` wedges that meet in the centre; they grey out where finer than a pixel."""
    radius, angle = radius_and_angle(shape)
    edge_distance = np.sin(spokes * (angle - turn_rad)) * radius / spokes
    return soft_step(edge_distance) * soft_step(radius_px - radius)


def random_segments(shape: tuple[int, int], count: int, generator: np.random.Generator) -> list[Segment]:
    """Straight lines between uniformly random points of the canvas."""
    ends = generator.uniform(size=(count, 4)) * np.array([*shape, *shape])
    return [(float(y0), float(x0), float(y1), float(x1)) for y0, x0, y1, x1 in ends]


def draw_segments(shape: tuple[int, int], segments: Iterable[Segment], width_px: float) -> Image:
    """Lines of one width with round ends and soft edges, value 1; where they cross they do not add."""
    canvas = np.zeros(shape)
    reach = width_px / 2 + 1
    for y0, x0, y1, x1 in segments:
        top, left = max(int(min(y0, y1) - reach), 0), max(int(min(x0, x1) - reach), 0)
        bottom, right = int(max(y0, y1) + reach) + 1, int(max(x0, x1) + reach) + 1
        window = canvas[top:bottom, left:right]
        if not window.size:
            continue
        y, x = np.arange(window.shape[0])[:, None] + top - y0, np.arange(window.shape[1])[None, :] + left - x0
        dy, dx = y1 - y0, x1 - x0
        along = np.clip((y * dy + x * dx) / max(dy * dy + dx * dx, 1e-12), 0.0, 1.0)
        distance = np.hypot(y - along * dy, x - along * dx)
        np.maximum(window, soft_step(width_px / 2 - distance), out=window)
    return canvas


def blur(image: Image, sigma_px: float) -> Image:
    """Gaussian blur that mirrors at the borders."""
    return ndimage.gaussian_filter(image, sigma_px, mode="reflect")


def fit(image: Image | Float32[NDArray[np.float32], "y x"], shape: tuple[int, int]) -> Image:
    """The central part of an image with the proportions of `shape`, linearly resized to it, without folding."""
    from skimage import transform  # imported late: it costs a second that no reconstruction should pay

    height, width = image.shape
    scale = min(height / shape[0], width / shape[1])
    rows, columns = max(round(shape[0] * scale), 1), max(round(shape[1] * scale), 1)
    top, left = (height - rows) // 2, (width - columns) // 2
    cut = np.asarray(image[top : top + rows, left : left + columns], dtype=np.float64)
    return np.asarray(transform.resize(cut, shape, order=1, mode="reflect", anti_aliasing=scale > 1))
