"""One NumPy array (.npy): a raster (row, column, y, x), a stack of frames (frame, y, x) or one frame (y, x)."""

from pathlib import Path

import numpy as np

from exitwave.data.errors import FormatError
from exitwave.data.patterns import ArrayPatterns
from exitwave.io.assemble import Contents, Format, ReadOptions
from exitwave.io.cubes import CubePatterns, begins_with, clear_errors, on_axes


def read(path: Path, stated: ReadOptions) -> Contents:
    """The frames, left in the file until they are asked for. Raises FormatError for other shapes and types."""
    with clear_errors(path, ".npy array"):
        array = np.lib.format.open_memmap(path, mode="r")
    return on_axes(of_array(array, path), stated, path)


def of_array(array: np.ndarray, path: Path) -> Contents:
    """Contents of an array whose last two axes are those of the detector. Raises FormatError where that cannot be."""
    if array.dtype.kind not in "biuf" or array.ndim not in (2, 3, 4) or not array.size:
        raise FormatError(
            f"{path} holds an array {array.shape} of {array.dtype}; expected counts (row, column, y, x), (frame, y, x) or (y, x)"
        )
    if array.ndim == 4:
        return Contents(patterns=CubePatterns(array), scan_shape=(array.shape[0], array.shape[1]))
    return Contents(patterns=ArrayPatterns(array if array.ndim == 3 else array[None]))


FORMAT = Format(
    name="npy", title="NumPy .npy array", recognises=lambda path: begins_with(path, b"\x93NUMPY"), read=read
)
