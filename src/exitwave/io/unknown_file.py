"""What to say of a file that no format knows: what it is, as far as that can be told, and the way to read it."""

import os
from collections.abc import Sequence
from pathlib import Path

from exitwave.data.errors import FormatError, UnknownFileError
from exitwave.io import npz_arrays
from exitwave.io.hdf5.file import is_hdf5, lost_links
from exitwave.io.recipes.draft import tree_lines

_PACKED = {
    b"BZh": ("bzip2", "bunzip2"),
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"\xfd7zXZ": ("xz", "unxz"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
}
_PICTURES = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF", b"%PDF": "PDF"}


def unknown_file(path: Path, known: Sequence[str]) -> FormatError:
    """The error for a file of no known format, to be raised; `known` are the titles of all formats."""
    if is_hdf5(path):
        lines = tree_lines(path)
        held = "It holds" if lines else "It holds no dataset"
        return UnknownFileError(
            f"{path} is an HDF5 file of no known layout; write a draft of a recipe with exitwave recipe {path} > my.yaml, then "
            f"read it with --recipe my.yaml{lost_links(path)}. {held}{':' if lines else ''}",
            lines,
        )
    return FormatError(f"{path} is of no known format{_told(path)}; known are {', '.join(known)}")


def _told(path: Path) -> str:
    """What else can be said of the file, as the middle of a sentence."""
    if path.is_dir():
        return ": a folder without frames; give one of TIFF files, or a file"
    if not os.access(path, os.R_OK):
        return ": no permission to read it; ask its owner or copy it"
    with path.open("rb") as file:
        first = file.read(2048)
    if not first:
        return ": it is empty; copy it again from where it was made"
    for beginning, (name, command) in _PACKED.items():
        if first.startswith(beginning):
            return f": it is packed with {name}; unpack it first ({command} {path.name})"
    for beginning, name in _PICTURES.items():
        if first.startswith(beginning):
            return f": it is a {name} picture, which holds no counts of a detector"
    if names := npz_arrays.members(path):
        shapes = [f"{name} {npz_arrays.header(path, name)[0]}" for name in sorted(names)]
        return f": an .npz archive of {', '.join(shapes[:12])}"
    if b"\0" not in first and _is_text(first):
        return ": it is text; a table of positions goes with --positions beside the file with the frames"
    return ""


def _is_text(first: bytes) -> bool:
    try:
        first[:1000].decode("utf-8")
    except UnicodeDecodeError as error:
        # A letter that the end cuts in two.
        return error.start > 990
    return True
