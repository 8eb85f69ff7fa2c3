"""Reading HDF5: files with clear errors, values with their units, patterns that stay in the file."""

import math
import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.errors import ExitwaveError, FormatError
from exitwave.io.units import energy_ev, length_m

Layout = Literal["frame y x", "y x frame", "row column y x"]
"""Axes of patterns as stored; "row column y x" is a raster scan that keeps its two scan axes."""
CHUNK_CACHE_BYTES = 64 * 2**20
"""Files with many frames to a chunk would otherwise unpack each chunk again for every frame."""


@contextmanager
def open_hdf5(path: Path) -> Generator[h5py.File]:
    """Open an HDF5 file to read.

    Raises FormatError for a missing, foreign or damaged file, also when the damage shows only while reading.
    """
    with _clear_errors(path), _opened(path) as file:
        yield file


def is_hdf5(path: Path) -> bool:
    """True for a file with an HDF5 signature, whole or not."""
    return path.is_file() and os.access(path, os.R_OK) and bool(h5py.is_hdf5(path))


def holds(path: Path, *names: str) -> bool:
    """True for an HDF5 file in which each of these paths leads somewhere. Raises FormatError when it is damaged."""
    if not is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return all(find(file, name) is not None for name in names)


def find(group: h5py.Group, *names: str) -> h5py.Dataset | h5py.Group | None:
    """The first of several paths that leads to a dataset or group; links into nothing are passed over."""
    for name in names:
        try:
            item = group[name]
        except (KeyError, OSError, ValueError):
            continue
        if isinstance(item, h5py.Dataset | h5py.Group):
            return item
    return None


def dataset(group: h5py.Group, *names: str) -> h5py.Dataset | None:
    """The first of several paths that leads to a dataset."""
    for name in names:
        item = find(group, name)
        if isinstance(item, h5py.Dataset):
            return item
    return None


def array(group: h5py.Group, *names: str) -> np.ndarray | None:
    """The whole first dataset found, as a numpy array; not for patterns."""
    item = dataset(group, *names)
    if item is None:
        return None
    _load_filters()
    return np.asarray(item[()])


def number(group: h5py.Group, *names: str) -> float | None:
    """The first dataset found that holds one finite number; arrays of equal numbers count as one."""
    for name in names:
        item = dataset(group, name)
        if item is None or item.size is None or not 0 < item.size <= 2**20 or item.dtype.kind not in "iuf":
            continue
        values = np.unique(np.asarray(item[()], dtype=np.float64))
        if len(values) == 1 and math.isfinite(values[0]):
            return float(values[0])
    return None


def text(group: h5py.Group, *names: str) -> str | None:
    """The first dataset found that holds text."""
    for name in names:
        item = dataset(group, name)
        if item is not None and item.dtype.kind in "OS" and item.size:
            return _as_text(np.asarray(item[()]).ravel()[0])
    return None


def unit(item: h5py.Dataset | h5py.Group | None, default: str) -> str:
    """What the file says in `@units` of a dataset, or the unit that its format prescribes."""
    if item is None:
        return default
    return attribute_text(item, "units") or attribute_text(item, "unit") or default


def attribute_text(item: h5py.Dataset | h5py.Group, name: str) -> str | None:
    """A text attribute, whether the writer stored text or bytes."""
    value = item.attrs.get(name)
    if value is None:
        return None
    return _as_text(np.asarray(value).ravel()[0]) if np.size(value) else None


def metres(group: h5py.Group, *names: str, default: str = "m") -> float | None:
    """A length in metres by the `@units` of the first dataset found, else by the unit the format prescribes."""
    return _in_unit(group, names, default, length_m)


def electronvolts(group: h5py.Group, *names: str, default: str) -> float | None:
    """An energy in eV by the `@units` of the first dataset found, else by the unit the format prescribes."""
    return _in_unit(group, names, default, energy_ev)


def _in_unit(
    group: h5py.Group, names: tuple[str, ...], default: str, convert: Callable[[float, str], float]
) -> float | None:
    for name in names:
        value = number(group, name)
        if value is not None:
            try:
                return convert(value, unit(dataset(group, name), default))
            except FormatError as error:
                raise FormatError(f"{name} in {group.file.filename}: {error}") from error
    return None


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
        raster = self.layout == "row column y x"
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
        with _clear_errors(self.path), self._open.held() as file:
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
            else:
                row, column = divmod(first, self._run_length)
                piece = stored[row, column : column + stop - first]
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
                self._file, self._owner = _opened(self._path), os.getpid()
            yield self._file

    def __reduce__(self) -> tuple[type["_OpenFile"], tuple[Path]]:
        return _OpenFile, (self._path,)


def _opened(path: Path) -> h5py.File:
    if not path.exists():
        raise FormatError(f"{path} does not exist; check the path")
    if path.is_dir():
        raise FormatError(f"{path} is a folder; expected an HDF5 file")
    if not os.access(path, os.R_OK):
        raise FormatError(f"no permission to read {path}; ask its owner or copy it")
    if path.stat().st_size == 0:
        raise FormatError(f"{path} is empty; copy it again from where it was made")
    if not h5py.is_hdf5(path):
        raise FormatError(f"{path} is not an HDF5 file, or its beginning is damaged; give an HDF5 file")
    _load_filters()
    return h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE_BYTES, rdcc_nslots=100_003)


def _load_filters() -> None:
    # Registers bitshuffle, LZ4, Zstandard ... with HDF5; here, because `exitwave --help` must not wait for it.
    import hdf5plugin as hdf5plugin


@contextmanager
def _clear_errors(path: Path) -> Generator[None]:
    try:
        yield
    except ExitwaveError:
        raise
    except Exception as error:
        reason = str(error).strip("'\"")
        if "truncated" in reason:
            raise FormatError(
                f"{path} is truncated ({_sizes(reason)}); copy it again from where it was made"
            ) from error
        if "required filter" in reason or ("filter returned failure" in reason and "plugin" in reason):
            raise FormatError(f"{path} is compressed with a filter that hdf5plugin does not have: {reason}") from error
        if isinstance(error, OSError) or _from_hdf5(error):
            raise FormatError(
                f"{path} is damaged: HDF5 says {reason!r}; copy it again from where it was made"
            ) from error
        raise


def _from_hdf5(error: Exception) -> bool:
    """Whether it was raised within h5py, which has errors of every kind for damaged files."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and "h5py" in Path(trace.tb_frame.f_code.co_filename).parts


def _sizes(reason: str) -> str:
    """HDF5 says "... eof = 96, sblock->base_addr = 0, stored_eof = 2048": bytes there and bytes expected."""
    numbers = [word.strip("),") for word in reason.replace("=", " ").split() if word.strip("),").isdigit()]
    return f"{numbers[0]} of {numbers[-1]} bytes" if len(numbers) >= 2 else reason


def _checked(file: h5py.File, name: str, path: Path, layout: Layout) -> tuple[tuple[int, int], int, int]:
    """((rows, columns) of frames, height, width) of one dataset of patterns."""
    stored = dataset(file, name)
    if stored is None:
        raise FormatError(
            f"{path} has no dataset {name}{_elsewhere(file, name, path)}; expected diffraction patterns there"
        )
    if stored.dtype.kind not in "biuf":
        raise FormatError(f"{name} in {path} is {stored.dtype}; expected photon counts, which are real numbers")
    axes = layout.split()
    if stored.ndim != len(axes):
        raise FormatError(f"{name} in {path} has shape {stored.shape}; expected axes ({', '.join(axes)})")
    if 0 in stored.shape:
        raise FormatError(f"{name} in {path} has shape {stored.shape}: it holds no frames")
    if layout == "frame y x":
        return (stored.shape[0], 1), stored.shape[1], stored.shape[2]
    if layout == "y x frame":
        return (stored.shape[2], 1), stored.shape[0], stored.shape[1]
    return (stored.shape[0], stored.shape[1]), stored.shape[2], stored.shape[3]


def _elsewhere(file: h5py.File, name: str, path: Path) -> str:
    """What became of a dataset that the file only points to."""
    link = file.get(name, getlink=True)
    if not isinstance(link, h5py.ExternalLink):
        return ""
    if not (path.parent / link.filename).exists():
        return f" (it should be in {link.filename}, which is not there)"
    return f" (it should be in {link.filename} at {link.path}, but that is not there or the file is damaged)"


def _as_text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
