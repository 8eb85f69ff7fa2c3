"""Tables of networks compared with each other and with no network, for docs/benchmarks.md; filled in by docs/scripts/tables.py."""

import json
import statistics
from typing import Any

from study_tables import STUDIES, short, table

SAMPLES = ("lines", "grf", "features")


def compared() -> str:
    """The study of benchmarks/studies/pinn.py: medians over seeds, with the failures counted."""
    path = STUDIES / "pinn.json"
    if not path.exists():
        return "Not measured yet: `make study-pinn` measures.\n"
    record = json.loads(path.read_text())
    rows: list[dict[str, Any]] = list(record["runs"].values())
    text = ""
    for sample in SAMPLES:
        own = [row for row in rows if row["sample"] == sample]
        parts = ("amplitude",) if sample == "lines" else ("amplitude", "phase")
        text += f"\n**{sample}**\n\n{_compared_of(own, parts)}"
    objects = record["objects"]
    return f"{text}\n`make study-pinn` ({objects} objects to train on; {record['machine']}; {record['date']})\n"


def _compared_of(rows: list[dict[str, Any]], parts: tuple[str, ...]) -> str:
    names = [name.format(part) for part in parts for name in ("M-MAE-{}", "M-PSNR255-{}", "M-FRC50-{}", "high-pass {}")]
    body = []
    for kind in dict.fromkeys((row["method"], row["steps"]) for row in rows):
        same = [row for row in rows if (row["method"], row["steps"]) == kind]
        middle = [short(float(statistics.median(row[name] for row in same))) for name in names]
        counts = {row.get("parameters") for row in same} - {None}
        size = f"{counts.pop() / 1e6:.2f} M" if counts else "-"
        collapsed = sum(bool(row.get("collapsed")) for row in same)
        seconds = statistics.median(row.get("training cpu_s", 0.0) for row in same)
        image = statistics.median(row["image cpu_s"] for row in same)
        body.append(
            (
                kind[0],
                kind[1] or "-",
                size,
                *middle,
                short(seconds) if seconds else "-",
                short(image),
                len(same),
                collapsed,
            )
        )
    head = ("method", "steps", "parameters", *names, "training, CPU s", "image, CPU s", "seeds", "collapsed")
    return table(head, body)


def used(name: str) -> str:
    """One study of benchmarks/studies/network_use.py."""
    path = STUDIES / "network_use.json"
    if not path.exists() or name not in json.loads(path.read_text()):
        return f"Not measured yet: `python benchmarks network_use {name}` measures.\n"
    record = json.loads(path.read_text())[name]
    rows = record["rows"]
    body = [tuple(short(value) for value in row.values()) for row in rows]
    told = f"`python benchmarks network_use {name}` ({record['machine']}; {record['date']})"
    return f"\n{' '.join(record['about'].split())}\n\n{table(tuple(rows[0]), body)}\n{told}\n"


USES = ("dose", "overlap", "probes", "single", "refined")
