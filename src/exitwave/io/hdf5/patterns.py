"""Diffraction patterns that stay in an HDF5 file."""

import os
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.errors import FormatError
from exitwave.io.hdf5.file import LARGEST_ARRAY, broken_link, clear_errors, dataset, missing_sources, open_hdf5, opened

Layout = Literal["frame y x", "y x frame", "y x", "row column y x", "frame exposure y x"]
"""Axes of patterns as stored; "y x" is one frame to a dataset, "row column y x" is a raster scan that keeps its two scan
axes, "frame exposure y x" repeats the exposure at each position."""


@dataclass(frozen=True, eq=False)
class Hdf5Patterns:
    """Diffraction patterns that stay in an HDF5 file; only the frames asked for are read.

    Several datasets follow one another, as in a DECTRIS master file. The file is opened at the first read, once for
    each process. Raises FormatError for datasets that are missing, damaged, complex or of another number of axes.
    """

    path: Path
    names: tuple[str, ...]
    """Paths of the datasets in the file."""
    layout: Layout = "frame y x"
    shape: tuple[int, int, int] = field(init=False)
    _counts: tuple[int, ...] = field(init=False, repr=False)
    _run_length: int = field(init=False, repr=False)
    _open: "_OpenFile" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        with open_hdf5(self.path) as file:
            shapes = [_checked(file, name, self.path, self.layout) for name in self.names]
        if not shapes:
            raise FormatError(f"{self.path} names no dataset with diffraction patterns")
        frame_shapes = {(height, width) for _, height, width in shapes}
        if len(frame_shapes) > 1:
            raise FormatError(f"the datasets of {self.path} hold frames of different shapes: {sorted(frame_shapes)}")
        counts = tuple(frames[0] * frames[1] for frames, *_ in shapes)
        object.__setattr__(self, "_counts", counts)
        # A slice can go no further than the end of a scan row, where the file keeps rows.
        raster = len(self.layout.split()) == 4
        object.__setattr__(self, "_run_length", shapes[0][0][1] if raster else max(counts))
        object.__setattr__(self, "shape", (sum(counts), *shapes[0][1:]))
        object.__setattr__(self, "_open", _OpenFile(self.path))

    @property
    def in_memory(self) -> bool:
        return False

    def read(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
        wanted, places = np.unique(index.numpy(), return_inverse=True)
        frames = np.empty((len(wanted), *self.shape[1:]), dtype=np.float32)
        if len(wanted) and not 0 <= wanted[0] <= wanted[-1] < self.shape[0]:
            raise IndexError(f"frames {wanted[0]} to {wanted[-1]} of {self.shape[0]}")
        with clear_errors(self.path), self._open.held() as file:
            starts = np.cumsum((0, *self._counts))
            for name, start, stop in zip(self.names, starts[:-1], starts[1:], strict=True):
                first, last = np.searchsorted(wanted, (start, stop))
                if first < last:
                    stored = dataset(file, name)
                    if stored is None:
                        raise FormatError(f"{name} has vanished from {self.path} since it was opened; read it again")
                    self._fill(frames[first:last], stored, wanted[first:last] - start)
        # The common case, an ordered batch, needs no second copy.
        ordered = len(places) == len(wanted) and bool((np.diff(places) > 0).all())
        return torch.from_numpy(frames if ordered else frames[places])

    def _fill(self, frames: np.ndarray, stored: h5py.Dataset, wanted: np.ndarray) -> None:
        # Runs of slices, not one list of frames: HDF5 takes quadratic time to merge a long list.
        breaks = np.flatnonzero((np.diff(wanted) != 1) | (wanted[1:] % self._run_length == 0)) + 1
        done = 0
        for run in np.split(wanted, breaks):
            first, stop = int(run[0]), int(run[-1]) + 1
            if self.layout == "frame y x":
                piece = stored[first:stop]
            elif self.layout == "y x frame":
                piece = np.moveaxis(stored[:, :, first:stop], -1, 0)
            elif self.layout == "y x":
                piece = stored[()][None]
            else:
                row, column = divmod(first, self._run_length)
                piece = stored[row, column : column + stop - first]
            # What is too large for float32 becomes infinite, which is refused where a problem is posed.
            with np.errstate(over="ignore"):
                frames[done : done + len(run)] = piece
            done += len(run)


class _OpenFile:
    """One open file, opened when first needed and again after a fork or in another process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._file: h5py.File | None = None
        self._owner = 0

    @contextmanager
    def held(self) -> Generator[h5py.File]:
        with self._lock:
            if self._file is None or self._owner != os.getpid():
                self._file, self._owner = opened(self._path), os.getpid()
            yield self._file

    def __reduce__(self) -> tuple[type["_OpenFile"], tuple[Path]]:
        return _OpenFile, (self._path,)


def _checked(file: h5py.File, name: str, path: Path, layout: Layout) -> tuple[tuple[int, int], int, int]:
    """((rows, columns) of frames, height, width) of one dataset of patterns."""
    stored = dataset(file, name)
    if stored is None:
        raise FormatError(
            f"{path} has no dataset {name}{_elsewhere(file, name, path)}; expected diffraction patterns there"
        )
    if lost := missing_sources(stored):
        raise FormatError(
            f"{name} in {path} is put together from other files, of which {len(lost)} are not there: {', '.join(lost[:3])}"
            f"{' ...' * (len(lost) > 3)}; copy them to where the file expects them"
        )
    if stored.dtype.kind not in "biuf":
        raise FormatError(f"{name} in {path} is {stored.dtype}; expected photon counts, which are real numbers")
    if stored.size is None:
        raise FormatError(f"{name} in {path} is empty: it holds no frames")
    axes = layout.split()
    if stored.ndim != len(axes):
        raise FormatError(
            f"{name} in {path} has shape {stored.shape}; expected axes ({', '.join(axes)}){_of_four_axes(stored.shape, axes)}"
        )
    if 0 in stored.shape:
        raise FormatError(f"{name} in {path} has shape {stored.shape}: it holds no frames")
    sizes = dict(zip(axes, stored.shape, strict=True))
    if sizes["y"] * sizes["x"] > LARGEST_ARRAY:
        raise FormatError(f"{name} in {path} has shape {stored.shape}; no detector has frames so large")
    first, second, *_ = [length for axis, length in sizes.items() if axis not in ("y", "x")] + [1, 1]
    return (first, second), sizes["y"], sizes["x"]


def _of_four_axes(shape: tuple[int, ...], axes: Sequence[str]) -> str:
    if len(shape) != 4 or len(axes) != 3:
        return ""
    return (
        f". For {shape[0]} positions with {shape[1]} exposures each: --sum-exposures adds these up; for a raster of {shape[0]} "
        f"rows and {shape[1]} columns: a recipe with the layout row column y x"
    )


def _elsewhere(file: h5py.File, name: str, path: Path) -> str:
    """What became of a dataset that the file only points to."""
    found = broken_link(file, name)
    return f" (it should be in {found})" if found else ""
