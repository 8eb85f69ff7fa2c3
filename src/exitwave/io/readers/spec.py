"""Scans in SPEC files: where motors stood, and the columns of what moved and was counted.

https://certif.com/spec_manual/user_1_4_1.html: "#O" lines name motors, two spaces apart, "#P" lines say where they stood, "#S"
begins a scan, "#L" names its columns.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from exitwave.data.errors import FormatError

SHORT = {"th": "theta", "del": "delta", "gam": "gamma"}
"""Names of motors in commands, and what they are called elsewhere in the file."""


@dataclass(frozen=True)
class SpecScan:
    """One scan of a SPEC file."""

    number: int
    command: str
    motors: dict[str, float]
    """Where they stood before the scan, by lower-case name."""
    columns: dict[str, Float[np.ndarray, " point"]]
    """By lower-case name."""

    @property
    def scanned(self) -> str:
        """Name of the motor that the command moved: the second word, as in ascan th 0 1 200 0.25."""
        words = self.command.split()
        name = words[1].lower() if len(words) > 1 else ""
        return name if name in self.columns else SHORT.get(name, name)


def is_spec(path: Path) -> bool:
    """Whether a file begins as SPEC files do."""
    try:
        with path.open("rb") as file:
            return file.read(3) in (b"#F ", b"#S ")
    # Not there, a folder, or a word from a damaged file that is no name of a file at all.
    except (OSError, ValueError):
        return False


def spec_scan(path: Path, number: int | None) -> SpecScan:
    """The scan of this number, or the only one. Raises FormatError naming those there are, and for rows that are cut off."""
    text = path.read_text(encoding="utf-8", errors="replace")
    head, *parts = re.split(r"^#S ", text, flags=re.MULTILINE)
    scans = {int(found[0]): part for part in parts if (found := re.match(r"\d+", part))}
    if number is None and len(scans) == 1:
        number = next(iter(scans))
    if number is None or number not in scans:
        there = ", ".join(map(str, scans)) or "none"
        asked = "which of its scans is meant" if number is None else f"a scan {number}"
        raise FormatError(f"{path} does not say {asked}; there are {there}. Write the number behind a colon: {path}:54")
    return _scan(number, scans[number], _motor_names(head), path)


def _motor_names(head: str) -> list[str]:
    # The last header counts, where a file was continued.
    names: dict[int, list[str]] = {}
    for line in head.splitlines():
        if found := re.match(r"#O(\d+) ?(.*)", line):
            names[int(found[1])] = _words(found[2])
    return [name for row in sorted(names) for name in names[row]]


def _words(line: str) -> list[str]:
    """Names that may hold single spaces, two or more apart."""
    return [word.lower() for word in re.split(r"\s{2,}", line.strip()) if word]


def _scan(number: int, text: str, names: list[str], path: Path) -> SpecScan:
    lines = text.splitlines()
    places: list[str] = []
    labels: list[str] = []
    rows: list[list[str]] = []
    for line in lines[1:]:
        if re.match(r"#P\d+ ", line):
            places += line.split()[1:]
        elif line.startswith("#L "):
            labels = _words(line[3:])
        elif line.strip() and line[0] not in "#@" and labels:
            rows.append(line.split())
    try:
        table = np.array(rows, dtype=np.float64).reshape(len(rows), len(labels))
        motors = dict(zip(names, map(float, places), strict=False))
    except ValueError as error:
        raise FormatError(
            f"scan {number} of {path} does not hold {len(labels)} numbers in each row: {error}; it was cut off, or the file "
            "damaged"
        ) from error
    return SpecScan(number, lines[0].split(maxsplit=1)[-1], motors, dict(zip(labels, table.T, strict=True)))
