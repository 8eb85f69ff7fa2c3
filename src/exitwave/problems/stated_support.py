"""A support that the user knows: a shape of a certain size, or an image in a file."""

import math
import re
from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.io.images import read_image

LENGTHS_M = {"nm": 1e-9, "um": 1e-6, "µm": 1e-6, "mm": 1e-3}
_LENGTH = r"(\d+(?:\.\d*)?(?:e-?\d+)?)\s*(px|nm|um|µm|mm)?"
_CIRCLE = re.compile(rf"(?:circle|sphere):{_LENGTH}")
_RECTANGLE = re.compile(rf"rectangle:{_LENGTH}x{_LENGTH}")


def names_file(stated: str) -> bool:
    """Whether a support is stated by the name of a file rather than by its shape."""
    return not stated.startswith(("circle:", "sphere:", "rectangle:"))


def stated_support(stated: str, shape: Sequence[int], pixel_m: Sequence[float]) -> Bool[Tensor, "*axes"]:
    """Where the object may be, as the user says: `circle:RADIUS` (`sphere:` on three axes), `rectangle:ROWSxCOLUMNS` or an image in a file.

    Sizes are object pixels, or lengths with a unit (`circle:2.5um`). The shape stands in the middle of the object's array, of
    `shape`; a smaller image is laid there. Raises InputError where it is neither, or would allow everything or nothing.
    """
    support = _read(stated, shape) if names_file(stated) else _drawn(stated, shape, pixel_m)
    share = float(support.float().mean())
    if not 0 < share <= 0.5:
        raise InputError(
            f"the support {stated} allows {share:.0%} of the object's array of {_size(shape)} pixels; expected more than "
            "nothing and at most half, or one pattern tells no phases: give a smaller support, in object pixels of "
            f"{min(pixel_m) * 1e9:.3g} nm"
        )
    return support


def _drawn(stated: str, shape: Sequence[int], pixel_m: Sequence[float]) -> Bool[Tensor, "*axes"]:
    axes = [torch.arange(n, dtype=torch.float64) - n // 2 for n in shape]
    rulers = torch.meshgrid(*axes, indexing="ij")
    if found := _CIRCLE.fullmatch(stated):
        radii = [_pixels(found[1], found[2], size) for size in pixel_m]
        return sum(((ruler / r) ** 2 for ruler, r in zip(rulers, radii, strict=True)), torch.zeros(())) <= 1 + 1e-9
    if (found := _RECTANGLE.fullmatch(stated)) and len(shape) == 2:
        sides = _pixels(found[1], found[2], pixel_m[0]), _pixels(found[3], found[4], pixel_m[1])
        # An even side has no pixel in its middle: it lies as arrays do, the middle at n // 2.
        near = [(ruler >= -(side // 2)) & (ruler < side - side // 2) for ruler, side in zip(rulers, sides, strict=True)]
        return near[0] & near[1]
    raise InputError(
        f"the support {stated!r} is no shape; expected circle:RADIUS, sphere:RADIUS or rectangle:ROWSxCOLUMNS in object pixels or with nm, "
        "um, mm, such as circle:60 or rectangle:2umx3um, or a file: support.npy, support.tif, file.h5:/path"
    )


def _pixels(number: str, unit: str | None, pixel_m: float) -> float:
    length = float(number)
    if not (math.isfinite(length) and length > 0):
        raise InputError(f"a support of size {number} is none; expected a number of object pixels above 0")
    return length if unit in (None, "px") else length * LENGTHS_M[unit] / pixel_m


def _read(stated: str, shape: Sequence[int]) -> Bool[Tensor, "*axes"]:
    """An image in the middle of an array of this shape, as arrays are laid: n // 2 onto n // 2."""
    image = torch.from_numpy(read_image(stated) != 0)
    while image.ndim > len(shape) and image.shape[0] == 1:
        image = image[0]
    if image.ndim != len(shape) or any(n > size for n, size in zip(image.shape, shape, strict=True)):
        raise InputError(
            f"the support {stated} has shape {_size(image.shape)}; expected that of the pattern, {_size(shape)}, or "
            "smaller: then it is laid into the middle. Crop and bin it as the pattern was"
        )
    support = torch.zeros(tuple(shape), dtype=torch.bool)
    places = tuple(
        slice(size // 2 - n // 2, size // 2 - n // 2 + n) for n, size in zip(image.shape, shape, strict=True)
    )
    support[places] = image
    return support


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
