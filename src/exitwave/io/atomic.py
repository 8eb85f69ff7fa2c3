"""Atomic writing: files appear whole or not at all, written beside the target and then renamed."""

import errno
import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from exitwave.data.errors import ExitwaveError, InputError, OverwriteWarning


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Give a temporary name beside `path`: it becomes `path` on success and vanishes on failure, `path` staying as it was.

    Raises InputError where the folder is missing or cannot be written, ExitwaveError when the disk is full.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file to write")
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is a device or a pipe, which cannot be replaced by a file; give the name of a file")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; create it or choose another output path")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.open("wb").close()
        yield partial
        # Without this a power cut after the rename could leave an empty file under the final name.
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        number = error.errno
        if number in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise InputError(f"no permission to write {path}; choose another output path") from error
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ExitwaveError(f"the disk is full: {path} was not written; free space or write elsewhere") from error
        raise ExitwaveError(f"could not write {path}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def say_overwritten(path: Path, overwrite: bool | None = None, *, stacklevel: int = 3) -> None:
    """Warn (OverwriteWarning) of a file that is about to be replaced, unless `overwrite` says that it may; where `overwrite` is
    False raise InputError."""
    if overwrite or not path.exists():
        return
    if overwrite is False:
        raise InputError(f"{path} is there already; choose another name, or allow it to be replaced: overwrite=True")
    warnings.warn(f"{path} is there already and is replaced", OverwriteWarning, stacklevel=stacklevel)


def require_writable(path: Path) -> None:
    """Refuse before the work what `replacing` would refuse after it. Raises the same errors."""
    with suppress(_Tried), replacing(path):
        raise _Tried


class _Tried(Exception):
    """Ends a trial, so that nothing is put in place of the target."""
