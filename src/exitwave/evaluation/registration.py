"""Registration of complex images: moving by parts of a pixel, finding shift and phase ramp."""

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from numpy import fft
from scipy import ndimage
from scipy.fft import next_fast_len

from exitwave.physics.fourier import conjugate_inverse, shift_factor

Image = Complex[np.ndarray, "y x"]
Spectrum = Complex[np.ndarray, "v u"]
Weights = Float[np.ndarray, "y x"]
Pair = Float[np.ndarray, "2"]

MARGIN_PX = 32
"""Smooth rim around an image that is moved by Fourier phases, so that its opposite edges do not ring into each other."""


def rulers(shape: tuple[int, ...]) -> tuple[Float[np.ndarray, "y 1"], Float[np.ndarray, "1 x"]]:
    """Distance of each row and column from the centre n // 2, pixels."""
    height, width = shape
    return (np.arange(height) - height // 2.0)[:, None], (np.arange(width) - width // 2.0)[None, :]


def phase_ramp(shape: tuple[int, ...], ramp_rad_px: Pair) -> Image:
    """exp(i ramp . r), with r counted from the centre."""
    down, across = rulers(shape)
    return np.exp(1j * ramp_rad_px[0] * down) * np.exp(1j * ramp_rad_px[1] * across)


def twin(image: Image) -> Image:
    """Conjugate inversion O*(-r); the pixel n // 2 stays where it is."""
    return conjugate_inverse(torch.from_numpy(image)).resolve_conj().numpy()


def moved(image: Image, shift_px: Pair) -> tuple[Image, Spectrum]:
    """The image moved by `shift_px`, exact for band-limited images, and the spectrum of the moved image with its rim."""
    spectrum = fft.fft2(_rimmed(image))
    for axis, (distance, size) in enumerate(zip(shift_px, spectrum.shape, strict=True)):
        wave = shift_factor(size, torch.tensor([distance], dtype=torch.float64))[0].numpy()
        spectrum *= wave[:, None] if axis == 0 else wave[None, :]
    return _cropped(fft.ifft2(spectrum), image.shape), spectrum


def slopes(spectrum: Spectrum, shape: tuple[int, ...]) -> list[Image]:
    """Derivatives along y and x of the image whose spectrum, with its rim, `moved` gave."""
    waves = [2j * np.pi * fft.fftfreq(size) for size in spectrum.shape]
    return [_cropped(fft.ifft2(spectrum * wave), shape) for wave in (waves[0][:, None], waves[1][None, :])]


def rolled(image: np.ndarray, shift_px: Pair) -> np.ndarray:
    """The image moved by whole pixels, with zeros coming in; for regions as well."""
    result = np.zeros_like(image)
    into, out = [], []
    for distance, size in zip(np.rint(shift_px).astype(int), image.shape, strict=True):
        into.append(slice(max(distance, 0), max(size + min(distance, 0), 0)))
        out.append(slice(max(-distance, 0), max(size - max(distance, 0), 0)))
    result[tuple(into)] = image[tuple(out)]
    return result


def filled(image: Image, trusted: Bool[np.ndarray, "y x"], blur_px: float = 1.0) -> Image:
    """The image with a smooth continuation where it is not trusted: what stands there must not ring into the rest."""
    if trusted.all():
        return image
    smooth, share = np.full_like(image, image[trusted].mean()), 1e-3
    # From coarse to fine: each blur counts where it still sees trusted pixels.
    for blur in (4 * blur_px, 2 * blur_px, blur_px):
        seen = ndimage.gaussian_filter(trusted.astype(float), blur)
        known = ndimage.gaussian_filter(np.where(trusted, image, 0), blur)
        smooth = (known + share * smooth) / (seen + share)
    return np.where(trusted, image, smooth)


def whole_pixel_shift(moving: Image, target: Image, weights: tuple[Weights, Weights], reach: int) -> Pair:
    """Shift of `moving` onto `target` in whole pixels, from the cross-correlation of neighbour products.

    A product of a pixel with its conjugate neighbour turns a global phase into nothing and a ramp into one constant
    phase, so the modulus of the correlation peaks at the shift whatever the ramp. Plain correlation, not phase
    correlation, which is wrong for smooth images. Searches up to 1 / `reach` of the image.
    """
    power = np.zeros(moving.shape)
    for axis in (0, 1):
        a, b = (_neighbour_product(i, w, axis) for i, w in zip((target, moving), weights, strict=True))
        power += np.abs(fft.ifft2(fft.fft2(a) * np.conj(fft.fft2(b)))) ** 2
    for axis, size in enumerate(power.shape):
        far = np.abs(fft.fftfreq(size)) > 1 / reach
        power[(far, slice(None)) if axis == 0 else (slice(None), far)] = -1
    peak = np.unravel_index(np.argmax(power), power.shape)
    return np.array([place - size * (place > size // 2) for place, size in zip(peak, power.shape, strict=True)], float)


def ramp_of(product: Image) -> Pair:
    """The linear phase (rad per pixel) of an image: the peak of its spectrum, then the phase advance over a quarter."""
    peak = np.unravel_index(np.argmax(np.abs(fft.fft2(product))), product.shape)
    ramp = np.array([2 * np.pi * fft.fftfreq(size)[place] for place, size in zip(peak, product.shape, strict=True)])
    level = product * phase_ramp(product.shape, -ramp)
    for axis, size in enumerate(level.shape):
        lag = max(size // 4, 1)
        ahead, behind = np.split(level, [lag], axis)[1], np.split(level, [size - lag], axis)[0]
        ramp[axis] += np.angle(np.sum(ahead * np.conj(behind))) / lag
    return ramp


def _neighbour_product(image: Image, weights: Weights, axis: int) -> Image:
    """image(r + 1) image*(r) with the amplitude of the image, less its mean, where the weights are."""
    even = image / np.sqrt(np.maximum(np.abs(image), np.finfo(float).tiny))
    product = np.roll(even, -1, axis) * np.conj(even)
    return weights * (product - np.sum(weights * product) / np.sum(weights))


def _rimmed(image: Image) -> Spectrum:
    """The image with a mirrored rim that fades to the mean, of a size that is fast to transform."""
    mean = image.mean()
    sizes = [next_fast_len(size + 2 * MARGIN_PX) for size in image.shape]
    rims = [(MARGIN_PX, total - size - MARGIN_PX) for total, size in zip(sizes, image.shape, strict=True)]
    fade_y, fade_x = (_fade(size, rim) for size, rim in zip(image.shape, rims, strict=True))
    return np.pad(image - mean, rims, mode="symmetric") * fade_y[:, None] * fade_x[None, :] + mean


def _fade(size: int, rim: tuple[int, int]) -> Float[np.ndarray, " n"]:
    before, after = (np.cos(np.pi / 2 * np.arange(1, width + 1) / (width + 1)) ** 2 for width in rim)
    return np.concatenate([before[::-1], np.ones(size), after])


def _cropped(padded: Spectrum, shape: tuple[int, ...]) -> Image:
    return padded[MARGIN_PX : MARGIN_PX + shape[0], MARGIN_PX : MARGIN_PX + shape[1]]
