"""Names in the order of the numbers in them: frame_2 before frame_10."""

import re
from collections.abc import Collection
from pathlib import Path


def in_number_order(name: str) -> list[tuple[int, str]]:
    """A key for sorting: numbers in a name count as numbers, in a list of (number, "") and (-1, text)."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name.lower())]


def files_in_order(path: Path, endings: Collection[str]) -> tuple[Path, ...]:
    """The files of a folder with one of these endings, without hidden ones, in the order of their numbers; or the one file."""
    if not path.is_dir():
        return (path,)
    found = [file for file in path.iterdir() if file.suffix.lower() in endings and not file.name.startswith(".")]
    return tuple(sorted(found, key=lambda file: in_number_order(file.name)))
