"""Files appear whole or not at all: write beside the target, then rename."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exitwave.data.errors import ExitwaveError, InputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success it becomes `path`, on any failure it vanishes and `path` stays as it was.

    Raises InputError where the folder is missing or cannot be written, ExitwaveError when the disk is full.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file to write")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; create it or choose another output path")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        # h5py reports a forbidden or full folder unclearly, so the file is opened once by hand.
        partial.open("wb").close()
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise InputError(f"no permission to write {path}; choose another output path") from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            raise ExitwaveError(f"the disk is full: {path} was not written; free some space or write elsewhere") from error
        raise ExitwaveError(f"could not write {path}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
