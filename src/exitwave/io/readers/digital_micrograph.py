"""Gatan's DigitalMicrograph files (.dm4, .dm3): the image with the most axes, left in the file, with its calibrations.

Layout of header and tags after the descriptions that users published (C. B. Boothroyd, G. Jefferis); the maker publishes none.
A cube is stored either as (kx, ky, x, y), fastest first, which the tag "Data Order Swapped" tells, or as (x, y, kx, ky).
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from exitwave.data.errors import FormatError
from exitwave.data.geometry import electron_wavelength_m
from exitwave.data.patterns import ArrayPatterns
from exitwave.io.assemble import Contents, Format, ReadOptions
from exitwave.io.cubes import CubePatterns, begins_with, clear_errors, on_axes, with_detector_scale
from exitwave.io.readers.digital_micrograph_tags import StoredArray, Tags, read_tags
from exitwave.io.units import LENGTHS_M

PIXEL_TYPES = {
    1: "i2", 2: "f4", 6: "u1", 7: "i4", 9: "i1", 10: "u2", 11: "u4", 12: "f8", 14: "u1", 39: "i8", 40: "u8",
}  # fmt: skip
"""Numbers by the code of an image's DataType, without complex and colour ones."""
Calibration = tuple[float, str]
"""Scale and unit of one axis."""


def read(path: Path, stated: ReadOptions) -> Contents:
    """Frames with raster, steps, voltage and detector scale. Raises FormatError where no image has frames in it."""
    with clear_errors(path, "DigitalMicrograph file"):
        tags, order = read_tags(path)
        image = _image(tags, path)
        array = _mapped(image, path, order)
        calibrations = _calibrations(image, array.ndim)
        voltage = _number(_inside(image, "ImageTags", "Microscope Info", "Voltage")) or 0.0
    contents = Contents(
        patterns=ArrayPatterns(array if array.ndim == 3 else array[None]) if array.ndim < 4 else None,
        wavelength_m=electron_wavelength_m(voltage) if voltage > 0 else None,
        particle="electron",
    )
    if array.ndim == 4:
        if _scan_fastest(image, calibrations):
            array = array.transpose(2, 3, 0, 1)
            calibrations = [*calibrations[2:], *calibrations[:2]]
        steps = [LENGTHS_M.get(unit, 0.0) * abs(scale) for scale, unit in calibrations[:2]]
        contents = replace(
            contents,
            patterns=CubePatterns(array),
            scan_shape=(array.shape[0], array.shape[1]),
            scan_step_m=(steps[0], steps[1]) if min(steps) > 0 else None,
        )
    scale_y, scale_x = calibrations[-2:]
    contents = with_detector_scale(contents, (abs(scale_y[0]), abs(scale_x[0])), scale_y[1], stated, path)
    return on_axes(contents, stated, path)


def _image(tags: Tags, path: Path) -> Tags:
    """The image with the most axes and among those the most pixels: the first of a file is often a small preview."""
    listed = tags.get("ImageList", {})
    images = [image for image in listed.values() if isinstance(_inside(image, "ImageData", "Data"), StoredArray)]
    if not images:
        raise FormatError(f"{path} holds no image; expected diffraction patterns")
    return max(images, key=lambda image: (len(_shape(image)), np.prod(_shape(image))))


def _shape(image: Tags) -> tuple[int, ...]:
    """Lengths of the axes as stored, slowest first; axes of length one before the frames are left out."""
    lengths = [int(length) for length in _inside(image, "ImageData", "Dimensions").values()][::-1]
    while len(lengths) > 2 and lengths[0] == 1:
        lengths = lengths[1:]
    return tuple(lengths)


def _mapped(image: Tags, path: Path, order: str) -> np.ndarray:
    shape, stored = _shape(image), _inside(image, "ImageData", "Data")
    code = int(_number(_inside(image, "ImageData", "DataType")) or 0)
    if code not in PIXEL_TYPES or len(shape) not in (2, 3, 4) or 0 in shape:
        raise FormatError(
            f"{path} holds an image of {len(shape)} axes and data type {code}; expected real counts (row, column, y, x), "
            "(frame, y, x) or (y, x)"
        )
    dtype = np.dtype(order + PIXEL_TYPES[code])
    if dtype.itemsize * np.prod(shape, dtype=np.int64) > stored.size_bytes:
        raise FormatError(f"{path} says {shape} of {dtype} but holds {stored.size_bytes} bytes of it; it is damaged")
    return np.memmap(path, dtype, "r", stored.offset, shape)


def _calibrations(image: Tags, axes: int) -> list[Calibration]:
    """Scale and unit of each axis, slowest first as the axes are."""
    dimensions = _inside(image, "ImageData", "Calibrations", "Dimension")
    found = [
        (_number(axis.get("Scale")) or 0.0, _text(axis.get("Units")))
        for axis in (dimensions.values() if isinstance(dimensions, dict) else ())
        if isinstance(axis, dict)
    ][:axes]
    return [*found, *[(0.0, "")] * (axes - len(found))][::-1]


def _scan_fastest(image: Tags, calibrations: list[Calibration]) -> bool:
    """Whether the axes of the scan are the fastest: by their units, else by the tag that says that they are not."""
    lengths = [unit in LENGTHS_M for _, unit in calibrations]
    if lengths[0] != lengths[2]:
        return lengths[2]
    return not _number(_inside(image, "ImageTags", "Meta Data", "Data Order Swapped"))


def _inside(tags: Any, *names: str) -> Any:
    for name in names:
        tags = tags.get(name) if isinstance(tags, dict) else None
    return tags


def _text(value: Any) -> str:
    return value.text if isinstance(value, StoredArray) else str(value or "")


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _recognises(path: Path) -> bool:
    """Version 3 or 4, and a byte order of 0 or 1 where that version has it."""
    if not begins_with(path, b"\0\0\0\3", b"\0\0\0\4"):
        return False
    with path.open("rb") as file:
        head = file.read(18)
    place = 8 if head[3] == 3 else 12
    return head[place : place + 4] in (b"\0\0\0\0", b"\0\0\0\1") and head[place + 4 : place + 5] in (b"\0", b"\1")


FORMAT = Format(name="dm", title="Gatan DigitalMicrograph file", recognises=_recognises, read=read)
