"""Opening HDF5 files and finding things in them, with errors that say what to do."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import h5py

from exitwave.data.errors import ExitwaveError, FormatError

CHUNK_CACHE_BYTES = 64 * 2**20
"""Files with many frames to a chunk would otherwise unpack each chunk again for every frame."""
LARGEST_ARRAY = 2**27
"""More numbers than any mask, background or list of positions has."""


@contextmanager
def open_hdf5(path: Path) -> Generator[h5py.File]:
    """Open an HDF5 file to read.

    Raises FormatError for a missing, foreign or damaged file, also when the damage shows only while reading.
    """
    with clear_errors(path), opened(path) as file:
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


def broken_link(file: h5py.Group, name: str) -> str:
    """Where a path would lead that breaks off at a link into another file, in words; empty where it does not."""
    parts = [part for part in name.split("/") if part]
    for depth in range(1, len(parts) + 1):
        place = "/".join(parts[:depth])
        try:
            link = file.get(place, getlink=True)
        except (KeyError, OSError, RuntimeError, ValueError):
            return ""
        if isinstance(link, h5py.ExternalLink) and find(file, place) is None:
            if not (Path(file.file.filename).parent / link.filename).exists():
                return f"{link.filename}, which is not there"
            return f"{link.filename} at {link.path}, but that is not there or the file is damaged"
    return ""


def missing_sources(stored: h5py.Dataset) -> list[str]:
    """Files that a virtual dataset is put together from and that are not there; HDF5 would give zeros in their place."""
    if not stored.is_virtual:
        return []
    folder = Path(stored.file.filename).parent
    names = dict.fromkeys(str(source.file_name) for source in stored.virtual_sources())
    return [name for name in names if name != "." and not (folder / name).exists()]


def lost_links(path: Path) -> str:
    """What a file refers to in other files that are not there, as the end of a sentence; empty where nothing is lost."""
    lost: list[str] = []
    if not is_hdf5(path):
        return ""
    with open_hdf5(path) as file:

        def look(name: str, link: object) -> None:
            if isinstance(link, h5py.ExternalLink) and (found := broken_link(file, name)):
                lost.append(f"{name} (it should be in {found})")

        file.visititems_links(look)
    return f"; it refers to what is not there: {', '.join(lost[:3])}{' ...' * (len(lost) > 3)}" if lost else ""


def opened(path: Path) -> h5py.File:
    """An open file, to be closed by the caller. Raises FormatError when there is none; h5py reports damage its own way."""
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
    # Registers bitshuffle, LZ4, Zstandard ... with HDF5; here, because `exitwave --help` must not wait for it.
    import hdf5plugin as hdf5plugin

    return h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE_BYTES, rdcc_nslots=100_003)


@contextmanager
def clear_errors(path: Path) -> Generator[None]:
    """What h5py raises within becomes a FormatError."""
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
