"""Run a study: measure, print, and keep the figures in benchmarks/results with command, machine and date.

    python benchmarks                       lists the studies
    python benchmarks STUDY --help          what a study measures, and its options
    python benchmarks floor
    python benchmarks figures demo petra

`python docs/scripts/tables.py` puts the figures into the pages. Nothing else should run on the machine while time is
measured.
"""

import ast
import os
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from harness import record
from harness.command_line import asked
from harness.tables import Part, Row

FOLDER = Path(__file__).parent / "studies"


def main() -> None:
    """Run one study and keep what it found."""
    known = {path.stem: path for path in sorted(FOLDER.glob("*.py")) if path.stem != "__init__"}
    name, words = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if name not in known:
        print(__doc__)
        for study, path in known.items():
            print(f"    {study:16} {(ast.get_docstring(ast.parse(path.read_text('utf-8'))) or '').splitlines()[0]}")
        raise SystemExit(0 if name in ("", "--help", "-h") else f"\nthere is no study {name!r}; those listed are known")
    # Before torch is loaded: threads that wait must not take what the measured ones need.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    study = import_module(f"studies.{name}")
    options, own = asked(study, words)
    print(f"-- {(study.__doc__ or '').splitlines()[0]}", flush=True)
    path: Path = own.out or record.RESULTS / f"{getattr(study, 'FILE', name)}.json"
    found = study.run(**options)
    if isinstance(found, list):
        keep_table(study, found, path, [name, *words], add=own.add)
    elif found is not None:
        keep_parts(found, path, name)


def keep_table(study: ModuleType, rows: list[Row], path: Path, words: list[str], *, add: bool) -> None:
    """Write the rows of a study, with `add` beside those measured before."""
    if not rows:
        raise SystemExit("nothing was measured")
    found: dict[str, Any] = {"about": " ".join((study.__doc__ or "").split()), "rows": rows}
    found |= record.circumstances(words)
    if add and path.exists():
        found = record.merged(record.read(path), found, study.KEY)
    record.write(found, path)


def keep_parts(parts: Iterable[Part], path: Path, name: str) -> None:
    """Write each part of a study as soon as it is measured, and leave the others as they are."""
    for part in parts:
        about = {"about": part.about, "rows": part.rows}
        record.write(record.read(path) | {part.name: about | record.circumstances([name, part.name])}, path)


if __name__ == "__main__":
    main()
