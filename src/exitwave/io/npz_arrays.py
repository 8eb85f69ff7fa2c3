"""Arrays in NumPy archives (.npz): read one at a time, left on disk where they are stored uncompressed, never unpickled."""

import math
import struct
import zipfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from exitwave.data.errors import FormatError
from exitwave.data.patterns import ArrayPatterns
from exitwave.io.atomic import replacing


def members(path: Path) -> frozenset[str]:
    """Names of the arrays in an archive; none for files that are no archive or damaged."""
    return frozenset(name.removesuffix(".npy") for name in contents(path) if name.endswith(".npy"))


def contents(path: Path) -> frozenset[str]:
    """Names of all files in an archive; none for files that are no archive or damaged."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return frozenset()
    try:
        with zipfile.ZipFile(path) as archive:
            return frozenset(archive.namelist())
    # zipfile raises errors of many kinds for damaged archives.
    except Exception:
        return frozenset()


def header(path: Path, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array, without reading it. Raises FormatError for Python objects and damaged archives."""
    with _clear_errors(path, name), zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{name}.npy")
        with archive.open(info) as file:
            shape, _, dtype = _header(file, info.file_size)
            return shape, dtype


def load(path: Path, *names: str) -> np.ndarray | None:
    """The first of several arrays that is there. Raises FormatError for Python objects and damaged archives."""
    name = next((name for name in names if name in members(path)), None)
    if name is None:
        return None
    header(path, name)
    with _clear_errors(path, name), np.load(path, allow_pickle=False) as archive:
        return archive[name]


def numbers(path: Path, *names: str) -> np.ndarray | None:
    """The first of several arrays that is there, as float64. Raises FormatError when it is empty, text or complex."""
    array = load(path, *names)
    if array is None:
        return None
    if array.dtype.kind not in "biuf" or not array.size:
        found = "empty" if not array.size else f"of type {array.dtype}"
        raise FormatError(f"{' or '.join(names)} in {path} is {found}; expected real numbers")
    return array.astype(np.float64)


def number(path: Path, *names: str) -> float | None:
    """The first of several arrays, if it is one number."""
    array = load(path, *names)
    return float(array.ravel()[0]) if array is not None and array.size == 1 and array.dtype.kind in "iuf" else None


def frames(path: Path, name: str, *, frame_last: bool = False) -> ArrayPatterns:
    """A stack of frames: a memory map where the archive is not compressed, else read into memory as stored."""
    with _clear_errors(path, name), zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{name}.npy")
        with archive.open(info) as file:
            shape, fortran, dtype = _header(file, info.file_size)
            header_bytes = file.tell()
            stack = None
            if info.compress_type != zipfile.ZIP_STORED:
                stack = np.lib.format.read_array(archive.open(info), allow_pickle=False)
        if stack is None:
            offset = _data_start(path, info) + header_bytes
            stack = np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")
    if stack.ndim == 4 and stack.shape[-1] == 1:
        stack = stack[..., 0]
    if stack.ndim != 3 or 0 in stack.shape:
        raise FormatError(f"{name} in {path} has shape {stack.shape}; expected patterns (frame, y, x)")
    return ArrayPatterns(stack.transpose(2, 0, 1) if frame_last else stack)


@dataclass(frozen=True)
class Streamed:
    """An array that is written piece by piece along its first axis, so that it never stands in memory whole."""

    shape: tuple[int, ...]
    dtype: np.dtype
    pieces: Iterable[np.ndarray]


def write(path: Path, arrays: Mapping[str, np.ndarray | Streamed]) -> None:
    """Write arrays as an archive that appears whole or not at all. Uncompressed, so that frames can be left on disk."""
    with replacing(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                if isinstance(array, Streamed):
                    described = {
                        "descr": np.lib.format.dtype_to_descr(array.dtype),
                        "fortran_order": False,
                        "shape": array.shape,
                    }
                    np.lib.format.write_array_header_1_0(member, described)
                    for piece in array.pieces:
                        member.write(np.ascontiguousarray(piece, dtype=array.dtype).tobytes())
                else:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def _header(file: IO[bytes], member_bytes: int) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("Object arrays")
    held = member_bytes - file.tell()
    # Before memory is taken for a shape that a damaged header makes up.
    if dtype.itemsize * math.prod(shape) != held:
        raise ValueError(f"it says {shape} of {dtype} but holds {held} bytes")
    return shape, fortran, dtype


def _data_start(path: Path, info: zipfile.ZipInfo) -> int:
    """Where the bytes of a stored member begin: behind its local header, whose last two fields are lengths."""
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        name_bytes, extra_bytes = struct.unpack("<HH", file.read(4))
    return info.header_offset + 30 + name_bytes + extra_bytes


@contextmanager
def _clear_errors(path: Path, name: str) -> Generator[None]:
    try:
        yield
    # zipfile, zlib and numpy raise errors of many kinds for damaged archives.
    except Exception as error:
        if "Object arrays" in str(error):
            raise FormatError(
                f"{name} in {path} holds Python objects, which may run code when loaded; save it again as a plain array"
            ) from error
        raise FormatError(
            f"{name} in {path} cannot be read ({error}); copy the file again from where it was made"
        ) from error
