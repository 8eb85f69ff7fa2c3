"""The record of a study: a JSON file in benchmarks/results with the command, machine and date of every figure."""

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"


def circumstances(words: Sequence[str]) -> dict[str, str]:
    """What a reader needs to repeat the figures; `words` are those of the command line."""
    words = list(words)
    if "--out" in words:
        del words[words.index("--out") : words.index("--out") + 2]
    return {"command": f"python benchmarks {' '.join(map(_spoken, words))}", "machine": machine(), "date": today()}


def machine() -> str:
    """Processor, number of processors and version of torch."""
    import torch  # not before the runner has said how its threads wait

    return f"{_processor()}, {os.cpu_count()} processors, torch {torch.__version__}"


def today() -> str:
    """The date, as 2026-11-21."""
    return datetime.now(UTC).date().isoformat()


def read(path: Path) -> dict[str, Any]:
    """What was measured before; empty where nothing was."""
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def write(found: dict[str, Any], path: Path) -> None:
    """Write a record; a reader never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    partial.replace(path)
    print(f"-- written to {path}", flush=True)


def merged(old: dict[str, Any], new: dict[str, Any], key: tuple[str, ...]) -> dict[str, Any]:
    """New rows added to those measured before on the same machine; rows of equal `key` are replaced."""
    if old["machine"] != new["machine"]:
        raise SystemExit(f"the other rows were measured on {old['machine']}; measure all of them here, without --add")
    taken = {tuple(row[name] for name in key) for row in new["rows"]}
    kept = [row for row in old["rows"] if tuple(row[name] for name in key) not in taken]
    return {**new, "rows": kept + new["rows"], "command": f"{old['command']}; {new['command']}"}


def _spoken(word: str) -> str:
    """A word of the command line as one would type it anywhere: no paths of this machine."""
    word = "PYTHON" if word.startswith(("/", "~")) else word
    return f"'{word}'" if " " in word else word


def _processor() -> str:
    """Name of the processor, where the system tells."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
