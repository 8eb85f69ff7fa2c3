"""Rows of figures: printed as they come, printed as a table, and the parts of which a study may be made."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One part of a study: its name, what it measures, its rows."""

    name: str
    about: str
    rows: list[Row]


def measured(parts: Mapping[str, Callable[[], list[Row]]], chosen: Sequence[str]) -> Iterator[Part]:
    """The chosen parts, all by default, one after another, each printed as a table."""
    for name in chosen:
        if name not in parts:
            raise SystemExit(f"there is no part {name!r}; the parts are {', '.join(parts)}")
    for name in chosen or parts:
        about = parts[name].__doc__ or ""
        print(f"\n{name}: {about}", flush=True)
        rows = parts[name]()
        print_table(rows)
        yield Part(name, about, rows)


def shown(row: Row) -> Row:
    """The same row, printed on one line; what is itself a table, such as a whole course, is left out."""
    print(
        "   " + "  ".join(f"{key} {_text(value)}" for key, value in row.items() if not isinstance(value, dict)),
        flush=True,
    )
    return row


def print_table(rows: Sequence[Row]) -> None:
    """Rows of the same keys under their heading, in columns."""
    if not rows:
        print("no data")
        return
    lines = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print(" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)), flush=True)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
