"""The tree of tags in a DigitalMicrograph file: names with numbers, texts, and arrays that are only pointed to."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

Tags = dict[str, Any]
DIRECTORY, DATA = 20, 21
STRUCT, STRING, ARRAY = 15, 18, 20
NUMBERS = {2: "h", 3: "i", 4: "H", 5: "I", 6: "f", 7: "d", 8: "b", 9: "b", 10: "b", 11: "q", 12: "Q"}
"""Simple types by their code, as `struct` names them."""
DEEPEST, LONGEST_TEXT = 64, 4096


@dataclass(frozen=True)
class StoredArray:
    """Where an array of numbers stands in the file, and the text that a short one of 16-bit numbers spells."""

    offset: int
    size_bytes: int
    text: str = ""


@dataclass(frozen=True)
class _Reader:
    """A file with the two orders of bytes in it: tags are big-endian, what they hold is as the header says."""

    file: IO[bytes]
    order: str
    wide: bool
    """Version 4: counts and lengths of 8 bytes in place of 4."""
    length: int

    def numbers(self, codes: str) -> tuple[Any, ...]:
        return struct.unpack(codes, self.file.read(struct.calcsize(codes)))

    def count(self) -> int:
        return self.numbers(">q" if self.wide else ">i")[0]


def read_tags(path: Path) -> tuple[Tags, str]:
    """All tags, and the order of bytes ("<" or ">") of what they hold. Tags without a name are numbered.

    Raises ValueError or struct.error for damaged files.
    """
    with path.open("rb") as file:
        version = struct.unpack(">i", file.read(4))[0]
        if version not in (3, 4):
            raise ValueError(f"its version is {version}; expected 3 or 4")
        wide = version == 4
        little = struct.unpack(">qi" if wide else ">ii", file.read(12 if wide else 8))[1]
        reader = _Reader(file, "<" if little else ">", wide, path.stat().st_size)
        return _directory(reader, 0), reader.order


def _directory(reader: _Reader, depth: int) -> Tags:
    if depth > DEEPEST:
        raise ValueError("its tags are nested without end")
    reader.file.seek(2, 1)
    tags: Tags = {}
    for number in range(reader.count()):
        kind, name_bytes = reader.numbers(">bH")
        name = reader.file.read(name_bytes).decode("latin1") or str(number)
        if reader.wide:
            reader.file.seek(8, 1)
        if kind == DIRECTORY:
            tags[name] = _directory(reader, depth + 1)
        elif kind == DATA:
            tags[name] = _data(reader)
        else:
            raise ValueError(f"a tag in it is of kind {kind}")
    return tags


def _data(reader: _Reader) -> Any:
    mark, fields = reader.file.read(4), reader.count()
    if mark != b"%%%%" or not 0 < fields < 4096:
        raise ValueError(f"the tag before byte {reader.file.tell()} is not understood")
    described = [reader.count() for _ in range(fields)]
    kind = described[0]
    if kind in NUMBERS:
        return reader.numbers(reader.order + NUMBERS[kind])[0]
    if kind == STRUCT:
        return list(reader.numbers(reader.order + "".join(NUMBERS[code] for code in described[4::2])))
    if kind == STRING:
        return _decoded(reader.file.read(described[1]), reader.order)
    if kind != ARRAY:
        raise ValueError(f"a tag in it holds a type {kind}")
    element = described[1]
    codes = "".join(NUMBERS[code] for code in described[5:-1:2]) if element == STRUCT else NUMBERS[element]
    size = struct.calcsize(reader.order + codes) * described[-1]
    found = StoredArray(reader.file.tell(), size)
    if size < 0 or found.offset + size > reader.length:
        raise ValueError(f"an array in it reaches over its end, byte {reader.length}: it is truncated")
    if element == 4 and described[-1] < LONGEST_TEXT:
        # Texts are arrays of 2-byte characters.
        return StoredArray(found.offset, size, _decoded(reader.file.read(size), reader.order))
    reader.file.seek(size, 1)
    return found


def _decoded(raw: bytes, order: str) -> str:
    return raw.decode("utf-16-le" if order == "<" else "utf-16-be", "replace")
