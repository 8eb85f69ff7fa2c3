"""Arrays in MATLAB files, of version 5 and 7.3 (HDF5): the one with the most axes.

MATLAB counts the first axis fastest. Both orders that people use are understood: detector first (y, x, row, column), as
fold_slice has it, and scan first (row, column, y, x), as Python writes it.
"""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import scipy.io

from exitwave.data.errors import FormatError
from exitwave.io.assemble import Contents, Format, ReadOptions
from exitwave.io.cubes import begins_with, clear_errors, on_axes, transposed, x_before_y
from exitwave.io.hdf5.reading import Hdf5Patterns, find, is_hdf5, open_hdf5
from exitwave.io.memory import require_memory
from exitwave.io.readers.numpy_cube import of_array

SAMPLED = 8
"""Planes looked at along each of two axes to tell scan from detector."""


def read(path: Path, stated: ReadOptions) -> Contents:
    """The frames of the array with the most axes. Raises FormatError where there is none, or it is no stack of frames."""
    name, contents = _of_hdf5(path) if is_hdf5(path) else _of_version_5(path)
    return on_axes(replace(contents, notes={"variable": name}), stated, path)


def _of_version_5(path: Path) -> tuple[str, Contents]:
    with clear_errors(path, "MATLAB file"):
        listed = {name: shape for name, shape, kind in scipy.io.whosmat(path) if kind not in ("cell", "struct", "char")}
        name = _largest(listed, path)
        array = np.asarray(scipy.io.loadmat(path, variable_names=[name])[name])
        if array.ndim == 4 and not _scan_first(array.T):
            array = array.transpose(2, 3, 0, 1)
        elif array.ndim == 3 and not _frames_first(array.shape):
            array = array.transpose(2, 0, 1)
    return name, of_array(array, path)


def _of_hdf5(path: Path) -> tuple[str, Contents]:
    """Axes stand in HDF5 in the opposite order."""
    with open_hdf5(path) as file:
        arrays = {str(name): item for name in file if isinstance(item := find(file, str(name)), h5py.Dataset)}
        name = _largest({key: item.shape[::-1] for key, item in arrays.items() if item.dtype.kind in "biuf"}, path)
        stored, shape = arrays[name], arrays[name].shape
        if len(shape) == 4 and not _scan_first(stored):
            stack = Hdf5Patterns(path, (name,), "row column y x")
            return name, Contents(patterns=x_before_y(stack, shape[0], shape[1]), scan_shape=(shape[1], shape[0]))
        if len(shape) == 3:
            stack = Hdf5Patterns(path, (name,), "y x frame" if _frames_first(shape[::-1]) else "frame y x")
            return name, Contents(patterns=transposed(stack))
        require_memory(2 * stored.nbytes, f"{name} in {path} has to be read whole, as its fastest axes are no frame")
        return name, of_array(np.asarray(stored[()]).T, path)


def _largest(shapes: dict[str, tuple[int, ...]], path: Path) -> str:
    """The array with the most axes and among those the most numbers."""
    named = {name: tuple(shape) for name, shape in shapes.items() if len(shape) in (2, 3, 4) and min(shape) > 0}
    if not named or np.prod(max(named.values(), key=np.prod)) < 64:
        raise FormatError(
            f"{path} holds no array of numbers with frames ({', '.join(shapes) or 'nothing'}); expected one"
        )
    return max(named, key=lambda name: (len(named[name]), np.prod(named[name])))


def _frames_first(shape: tuple[int, ...]) -> bool:
    """Whether a stack in MATLAB's order is (frame, y, x): only where the last two axes alone are alike."""
    return shape[1] == shape[2] != shape[0]


def _scan_first(stored: np.ndarray | h5py.Dataset) -> bool:
    """Whether an array, its axes in the order of C, has the scan as its last two axes: then MATLAB has it first.

    A detector is lit in parts, much the same at each position; the image that one of its pixels makes is even, and far
    brighter in some pixels than in others.
    """
    first, second = (np.unique(np.linspace(0, length - 1, SAMPLED).astype(int)) for length in stored.shape[:2])
    planes = np.stack([np.asarray(stored[row, column], dtype=np.float64) for row in first for column in second])
    mean, totals = planes.mean(axis=0), planes.mean(axis=(1, 2))
    return bool(np.std(totals) > np.std(mean))


FORMAT = Format(
    name="mat",
    title="MATLAB file",
    recognises=lambda path: begins_with(path, b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file"),
    read=read,
)
