"""Views of a reconstruction: the scanned part, without meaningless ramps, at the size of a screen."""

from dataclasses import dataclass, replace
from functools import singledispatch

import numpy as np
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from exitwave.data.estimate import Estimate, PtychoEstimate
from exitwave.data.result import Result
from exitwave.evaluation.region import phased_region, visible_region
from exitwave.io.colour import mean_ramp, without_ramp

MOST_PIXELS = 640
"""Longest side of a picture; larger images are averaged down to it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Map:
    """What is known of an object beside its complex image, such as its displacement: real values on the same pixels."""

    name: str
    values: Float[np.ndarray, "y x"]
    """NaN where it is not known."""
    unit: str
    caption: str


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """One complex image ready to be shown. Pixels outside the scanned region are NaN in `amplitude` and `phase`, and in `phase`
    those, too, where no two frames overlap."""

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
    in_pixels: bool = False
    """Lengths are pixels of the object, because nobody told its pixel size."""
    maps: tuple[Map, ...] = ()
    """Shown in place of the phase, by kinds of which it is no quantity by itself."""

    @property
    def phased(self) -> Complex[np.ndarray, "y x"]:
        """The image where its phase means something; NaN elsewhere."""
        return np.where(np.isfinite(self.phase), self.image, np.nan)

    @property
    def extent_m(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top edge, y downwards."""
        (top, left), (height, width) = self.corner_m, self.size_m
        return left, left + width, top + height, top


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectImage:
    """One image of the object, as it is shown."""

    name: str
    image: Complex[np.ndarray, "y x"]
    region: Bool[np.ndarray, "y x"]
    """Pixels that were really lit, and so mean something."""
    phased: Bool[np.ndarray, "y x"]
    """Those of them whose phase means something: where frames overlap."""
    pixel_m: tuple[float, float]
    maps: tuple[Map, ...] = ()


@singledispatch
def object_images(estimate: Estimate, pixel_m: tuple[float, ...]) -> list[ObjectImage]:
    """What is shown of an object, by kind: here itself, or its three middle cuts where it has three axes."""
    while estimate.object.ndim > 3:
        estimate = _cut(estimate, 0)
    sizes = (1.0, 1.0, *pixel_m)[-3:]
    if estimate.object.ndim < 3:
        return [_image("the object", estimate, sizes[1:])]
    return [
        _image(f"the middle cut across {name}", _cut(estimate, axis), sizes[:axis] + sizes[axis + 1 :])
        for axis, name in enumerate("zyx")
    ]


@object_images.register
def _(estimate: PtychoEstimate, pixel_m: tuple[float, float]) -> list[ObjectImage]:
    slices, region, phased = _numpy(estimate.object), *lit_regions(estimate)
    names = [f"slice {n + 1} of {len(slices)}" for n in range(len(slices))] if len(slices) > 1 else ["the object"]
    return [
        ObjectImage(name=name, image=image, region=region & np.isfinite(image), phased=phased, pixel_m=pixel_m)
        for name, image in zip(names, slices, strict=True)
    ]


@singledispatch
def deviation_images(estimate: Estimate, deviation: Estimate, pixel_m: tuple[float, ...]) -> list[ObjectImage]:
    """The standard deviations of an object, cut as the object is: of its kind, with the other numbers."""
    return object_images(replace(estimate, object=deviation.object), pixel_m)


def _image(name: str, estimate: Estimate, pixel_m: tuple[float, ...]) -> ObjectImage:
    image = _numpy(estimate.plane())
    region, phased = lit_regions(estimate)
    region = region & np.isfinite(image)
    return ObjectImage(name=name, image=image, region=region, phased=phased, pixel_m=(pixel_m[0], pixel_m[1]))


def _cut(estimate: Estimate, axis: int) -> Estimate:
    """The middle of all that lies over the object, such as its support, across an axis."""
    shape = estimate.object.shape
    over = {name: value for name, value in estimate.tensors().items() if value.shape == shape}
    return replace(estimate, **{name: value.select(axis, shape[axis] // 2) for name, value in over.items()})


def pixel_pair(pixel_m: tuple[float, ...]) -> tuple[float, float]:
    """Pixel size (y, x) of the image of an object on any number of axes."""
    *_, height, width = (pixel_m[-1], *pixel_m)
    return height, width


def object_views(result: Result, most_pixels: int = MOST_PIXELS) -> list[tuple[str, View]]:
    """What is shown of the object, by name, cropped to what was really lit (of a scan: coverage above 5 %)."""
    return [
        (shown.name, shown_view(shown, most_pixels)) for shown in object_images(result.estimate, result.object_pixel_m)
    ]


def estimate_views(estimate: Estimate) -> list[tuple[str, View]]:
    """The same of an estimate alone, which does not tell its pixel size but for that of crystals."""
    shown = object_images(estimate, (1.0,) * min(estimate.object.ndim, 3))
    return [(each.name, replace(shown_view(each), in_pixels=each.pixel_m == (1.0, 1.0))) for each in shown]


def shown_view(
    shown: ObjectImage, most_pixels: int = MOST_PIXELS, ramp_rad_px: tuple[float, float] | None = None
) -> View:
    """One image of the object ready to be shown."""
    seen = view(
        shown.image,
        shown.region,
        shown.pixel_m,
        phased=shown.phased,
        ramp_rad_px=ramp_rad_px,
        most_pixels=most_pixels,
    )
    if not shown.maps:
        return seen
    region = shown.region if shown.region.any() else np.ones_like(shown.region)
    box = box_around(region)
    factor = _factor(region[box].shape, most_pixels)
    # What is known of few pixels of a block is left out with them.
    return replace(seen, maps=tuple(replace(each, values=averaged(each.values[box], factor)) for each in shown.maps))


def lit_regions(x: Estimate) -> tuple[Bool[np.ndarray, "y x"], Bool[np.ndarray, "y x"]]:
    """Pixels of the object's image that were really lit, and those whose phase means something; all of them where probe or
    positions tell nothing."""
    everything = np.ones(x.plane().shape, dtype=bool)
    others = [value for name, value in x.tensors().items() if name != "object"]
    if not all(bool(value.isfinite().all()) for value in others) or not bool((x.light() > 0).any()):
        return everything, everything
    found = visible_region(x).numpy()
    return (found, phased_region(x).numpy()) if found.any() else (everything, everything)


def view(
    image: Complex[np.ndarray, "y x"],
    region: Bool[np.ndarray, "y x"],
    pixel_m: tuple[float, float],
    *,
    phased: Bool[np.ndarray, "y x"] | None = None,
    ramp_rad_px: tuple[float, float] | None = None,
    most_pixels: int = MOST_PIXELS,
) -> View:
    """Crop an image to a region, take off its phase ramp and global phase, average it down and unwrap its phase.

    The phase is shown where it means something, `phased`. `ramp_rad_px` is taken off instead of its own, to show it as another
    image is shown.
    """
    if not region.any():
        image, region = np.zeros_like(image), np.ones_like(region)
    box = box_around(region)
    phased = (region if phased is None else region & phased)[box]
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
    sure = inside & (averaged(phased, factor) > 0.5)
    phase, wrapped = _shown_phase(image, sure)
    return View(
        image=np.where(inside, image, np.nan),
        amplitude=np.where(inside, amplitude, np.nan),
        phase=np.where(sure, phase, np.nan),
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


def box_around(region: Bool[np.ndarray, "y x"]) -> tuple[slice, slice]:
    """The rows and columns in which a region lies."""
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


def shown_like(result: Result, deviation: Estimate) -> list[Float[np.ndarray, "y x"]]:
    """The modulus of another object of this shape (its spread), cropped and averaged down as the object's views are."""
    pixel_m = result.object_pixel_m
    maps = deviation_images(result.estimate, deviation, pixel_m)
    shown: list[np.ndarray] = []
    for image, values in zip(object_images(result.estimate, pixel_m), maps, strict=True):
        inside = image.region if image.region.any() else np.ones_like(image.region)
        box = box_around(inside)
        factor = _factor(inside[box].shape)
        share = averaged(inside[box], factor)
        means = averaged(np.where(inside, np.abs(values.image), 0.0)[box], factor) / np.where(share > 0.5, share, 1.0)
        shown.append(np.where(share > 0.5, means, np.nan))
    return shown


def _factor(shape: tuple[int, ...], most_pixels: int = MOST_PIXELS) -> int:
    return max(1, -(-max(shape) // most_pixels))
