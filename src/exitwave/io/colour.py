"""Complex images in colour: hue tells the phase, brightness the amplitude; ramps of phase, which say nothing, taken off."""

from functools import cache

import numpy as np
from jaxtyping import Complex, Float, UInt8
from torch import Tensor

STEPS = 256
LIGHTNESS = 67.0
"""CIELAB L* of every colour of the cycle, so that brightness stays free for the amplitude."""
RED_DEGREES = 35.0
"""CIELAB hue of phase zero; from there over yellow, green and blue to magenta with rising phase."""


@cache
def cyclic_colours() -> Float[np.ndarray, "256 3"]:
    """The phase colours (sRGB, 0 to 1) from phase 0 in steps of 2 pi / 256: one lightness, equal visible steps.

    The most colourful smooth cycle of this lightness that screens can show, walked at constant CIEDE2000 speed.
    """
    # Imported here: colour science costs a good part of a second that most commands do not need.
    from scipy import ndimage
    from skimage.color import deltaE_ciede2000, lab2rgb

    degrees = np.arange(0, 360, 0.25)
    limit = _largest_chroma(degrees)
    smooth = ndimage.gaussian_filter1d(ndimage.minimum_filter1d(limit, 97, mode="wrap"), 24, mode="wrap")
    # Walked from red to red, the start repeated at the end.
    walk = np.append(np.roll(np.arange(degrees.size), -int(RED_DEGREES / 0.25)), int(RED_DEGREES / 0.25))
    path = _lab(degrees, np.minimum(smooth, limit))[walk]
    way = np.concatenate([[0.0], np.cumsum(deltaE_ciede2000(path[:-1], path[1:]))])
    even = way[-1] * np.arange(STEPS) / STEPS
    chosen = np.stack([np.interp(even, way, path[:, axis]) for axis in range(3)], axis=-1)
    return np.clip(lab2rgb(chosen), 0.0, 1.0)


def complex_to_rgb(
    image: Complex[np.ndarray, "*batch y x"] | Complex[Tensor, "*batch y x"], *, brightest: float | None = None
) -> UInt8[np.ndarray, "*batch y x 3"]:
    """A complex image as 8-bit sRGB: hue is the phase, brightness the amplitude up to `brightest`.

    Without `brightest`, the largest finite amplitude shines fully. Values that are not finite are black.
    """
    values = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    finite = np.isfinite(values)
    values = np.where(finite, values, 0)
    amplitude = np.abs(values)
    top = float(amplitude.max(initial=0.0)) if brightest is None else brightest
    brightness = np.clip(amplitude / top, 0.0, 1.0) if top > 0 else np.zeros(amplitude.shape)
    step = np.rint(np.angle(values) * (STEPS / (2 * np.pi))).astype(np.int64) % STEPS
    return np.rint(255 * cyclic_colours()[step] * brightness[..., None]).astype(np.uint8)


def colour_wheel(size_px: int) -> UInt8[np.ndarray, "y x 4"]:
    """The legend of `complex_to_rgb` as RGBA: amplitude from the centre outwards, phase 0 to the right, pi / 2 up.

    Transparent outside the circle.
    """
    ruler = (np.arange(size_px) - (size_px - 1) / 2) / (size_px / 2)
    disc = ruler[None, :] - 1j * ruler[:, None]
    rgb = complex_to_rgb(disc, brightest=1.0)
    # One pixel of soft rim.
    alpha = np.clip((1.0 - np.abs(disc)) * size_px / 2, 0.0, 1.0)
    return np.concatenate([rgb, np.rint(255 * alpha)[..., None].astype(np.uint8)], axis=-1)


def mean_ramp(image: Complex[np.ndarray, "y x"]) -> tuple[float, float]:
    """Mean phase step (y, x) from pixel to pixel, radians, weighted by intensity; wraps of the phase do not matter."""
    down = np.sum(image[:-1].conj() * image[1:])
    across = np.sum(image[:, :-1].conj() * image[:, 1:])
    return float(np.angle(down)), float(np.angle(across))


def without_ramp(image: Complex[np.ndarray, "y x"], ramp: tuple[float, float]) -> Complex[np.ndarray, "y x"]:
    """The image without a phase ramp (y, x) in radians per pixel."""
    down, across = (np.exp(-1j * step * np.arange(size)) for step, size in zip(ramp, image.shape, strict=True))
    return image * down[:, None] * across[None, :]


def _lab(degrees: Float[np.ndarray, "*shape"], chroma: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape 3"]:
    angle = np.deg2rad(degrees)
    return np.stack([np.full_like(chroma, LIGHTNESS), chroma * np.cos(angle), chroma * np.sin(angle)], axis=-1)


def _largest_chroma(degrees: Float[np.ndarray, " hue"]) -> Float[np.ndarray, " hue"]:
    """The highest chroma of each hue that sRGB can show at this lightness."""
    from skimage.color import lab2rgb, rgb2lab

    chroma = np.arange(0.0, 100.0, 1.0)
    asked = _lab(*np.broadcast_arrays(degrees[:, None], chroma[None, :]))
    shown = np.abs(rgb2lab(lab2rgb(asked)) - asked).max(axis=-1) < 0.05
    return chroma[np.argmin(shown, axis=1) - 1]
