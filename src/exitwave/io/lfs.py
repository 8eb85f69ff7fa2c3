"""Files that Git LFS has not fetched: a few lines of text stand where the data should be."""

import os
from pathlib import Path

from exitwave.data.errors import FormatError

_BEGINNING = b"version https://git-lfs.github.com/spec/"


def require_fetched(path: Path) -> None:
    """Raise FormatError where a file is a pointer of Git LFS to data that are still on the server."""
    if not path.is_file() or not os.access(path, os.R_OK):
        return
    with path.open("rb") as file:
        text = file.read(1024)
    if text.startswith(_BEGINNING):
        sizes = [line.split()[1] for line in text.decode("utf-8", "replace").splitlines() if line.startswith("size ")]
        held = f" ({sizes[0]} bytes)" if sizes else ""
        raise FormatError(
            f"{path} is a pointer of Git LFS: the data{held} are still on the server; fetch them with git lfs pull in the "
            "folder of the repository, or download the file itself"
        )
