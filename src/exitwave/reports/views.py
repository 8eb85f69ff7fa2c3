"""Views of a reconstruction: the scanned part, without meaningless ramps, at the size of a screen."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from exitwave.data.result import Result
from exitwave.evaluation.region import scanned_region
from exitwave.io.colour import mean_ramp, without_ramp

MOST_PIXELS = 640
"""Longest side of a picture; larger images are averaged down to it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """One complex image ready to be shown. Pixels outside the scanned region are NaN in `amplitude` and `phase`."""

    image: Complex[np.ndarray, "y x"]
    """Without the ramp and the global phase."""
    amplitude: Float[np.ndarray, "y x"]
    phase: Float[np.ndarray, "y x"]
    """Radians, median near zero; unwrapped unless `wrapped`."""
    wrapped: bool
    """The phase has vortices or undersampled steps, so no unwrapped phase exists; -pi to pi instead."""
    ramp_rad_px: tuple[float, float]
    """(y, x): what was taken off, radians per pixel of the object."""
    corner_m: tuple[float, float]
    """(y, x) of the upper left edge, from the upper left edge of the object array."""
    size_m: tuple[float, float]
    """(y, x)."""

    @property
    def extent_m(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top edge, y downwards."""
        (top, left), (height, width) = self.corner_m, self.size_m
        return left, left + width, top + height, top


def object_views(result: Result) -> list[View]:
    """Each slice of the object, cropped to the scanned region (coverage above 5 %)."""
    slices = result.estimate.object.detach().cpu().numpy()
    region = displayed_region(result)
    return [view(image, region & np.isfinite(image), result.object_pixel_m) for image in slices]


def displayed_region(result: Result) -> Bool[np.ndarray, "y x"]:
    """Pixels of the object that were really lit; all of them where probe or positions tell nothing."""
    estimate = result.estimate
    height, width = estimate.object.shape[-2:]
    if estimate.support is not None:
        amplitude = np.abs(_numpy(estimate.object)).max(axis=0)
        # Phases mean nothing where it is dark, as it is along the rim of the support.
        found = _numpy(estimate.support.any(dim=0)) & (amplitude > 0.1 * amplitude.max())
        return found if found.any() else np.ones((height, width), dtype=bool)
    if not (np.isfinite(_numpy(estimate.probe)).all() and np.isfinite(_numpy(estimate.positions_px)).all()):
        return np.ones((height, width), dtype=bool)
    if not len(estimate.positions_px) or not bool((estimate.probe != 0).any()):
        return np.ones((height, width), dtype=bool)
    return scanned_region(estimate.probe, estimate.positions_px, (height, width)).numpy()


def view(
    image: Complex[np.ndarray, "y x"],
    region: Bool[np.ndarray, "y x"],
    pixel_m: tuple[float, float],
    *,
    ramp_rad_px: tuple[float, float] | None = None,
    most_pixels: int = MOST_PIXELS,
) -> View:
    """Crop an image to a region, take off its phase ramp and global phase, average it down and unwrap its phase.

    `ramp_rad_px` is taken off instead of its own, to show it as another image is shown.
    """
    if not region.any():
        image, region = np.zeros_like(image), np.ones_like(region)
    box = _box_around(region)
    region = region[box]
    image = np.where(region, image[box], 0).astype(np.complex128)
    ramp = mean_ramp(image) if ramp_rad_px is None else ramp_rad_px
    image = without_ramp(image, ramp)
    image *= np.exp(-1j * np.angle(image.sum()))
    factor = _factor(image.shape, most_pixels)
    share = averaged(region, factor)
    inside = share > 0.5
    # Means over the scanned pixels of each block, or blocks at the rim would be dark.
    weight = np.where(inside, share, 1.0)
    amplitude, image = averaged(np.abs(image), factor) / weight, averaged(image, factor) / weight
    phase, wrapped = _shown_phase(image, inside)
    return View(
        image=np.where(inside, image, np.nan),
        amplitude=np.where(inside, amplitude, np.nan),
        phase=np.where(inside, phase, np.nan),
        wrapped=wrapped,
        ramp_rad_px=ramp,
        corner_m=(box[0].start * pixel_m[0], box[1].start * pixel_m[1]),
        size_m=(image.shape[0] * factor * pixel_m[0], image.shape[1] * factor * pixel_m[1]),
    )


def averaged(image: np.ndarray, factor: int) -> np.ndarray:
    """Mean over blocks of factor x factor pixels; an incomplete last row or column of blocks is left out."""
    if factor == 1:
        return image
    height, width = (max(size // factor, 1) for size in image.shape)
    image = image[: height * factor, : width * factor]
    rows, columns = min(factor, image.shape[0]), min(factor, image.shape[1])
    return image.reshape(height, rows, width, columns).mean(axis=(1, 3))


def contrast(values: Float[np.ndarray, "*shape"], lowest: float = 0.5, highest: float = 99.5) -> tuple[float, float]:
    """Ends of a colour scale: percentiles of the finite values, never equal."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(end) for end in np.percentile(finite, (lowest, highest)))
    least = 1e-3 * max(abs(low), abs(high)) or 1e-3
    if high - low >= least:
        return low, high
    middle = (low + high) / 2
    return middle - least / 2, middle + least / 2


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def _box_around(region: Bool[np.ndarray, "y x"]) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(region.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _shown_phase(
    image: Complex[np.ndarray, "y x"], inside: Bool[np.ndarray, "y x"]
) -> tuple[Float[np.ndarray, "y x"], bool]:
    """The unwrapped phase, or the wrapped one where unwrapping leaves jumps."""
    from skimage.restoration import unwrap_phase

    wrapped = np.angle(image)
    if min(image.shape) < 2 or not inside.any():
        return wrapped, False
    phase = np.ma.filled(unwrap_phase(np.ma.masked_array(wrapped, ~inside), rng=0), 0.0)
    phase = phase - 2 * np.pi * np.rint(np.median(phase[inside]) / (2 * np.pi))
    jumps = sum(int(((np.abs(np.diff(phase, axis=axis)) > np.pi) & _both(inside, axis)).sum()) for axis in (0, 1))
    return (wrapped, True) if jumps > 2e-3 * inside.sum() else (phase, False)


def _both(inside: Bool[np.ndarray, "y x"], axis: int) -> Bool[np.ndarray, "y x"]:
    """Pairs of neighbours along an axis that both lie inside."""
    return inside[1:] & inside[:-1] if axis == 0 else inside[:, 1:] & inside[:, :-1]


def shown_like(result: Result, maps: Float[np.ndarray, "slice y x"]) -> list[Float[np.ndarray, "y x"]]:
    """Real maps of the object (its spread), cropped and averaged down as the object's views are."""
    region = displayed_region(result)
    objects = result.estimate.object.detach().cpu().numpy()
    shown: list[np.ndarray] = []
    for image, values in zip(objects, maps, strict=True):
        inside = region & np.isfinite(image)
        inside = inside if inside.any() else np.ones_like(inside)
        box = _box_around(inside)
        factor = _factor(values[box].shape)
        share = averaged(inside[box], factor)
        means = averaged(np.where(inside, values, 0.0)[box], factor) / np.where(share > 0.5, share, 1.0)
        shown.append(np.where(share > 0.5, means, np.nan))
    return shown


def _factor(shape: tuple[int, ...], most_pixels: int = MOST_PIXELS) -> int:
    return max(1, -(-max(shape) // most_pixels))
