"""Tables of studies of crystals; filled in by docs/scripts/tables.py."""

import json

from study_tables import STUDIES, short, table

HEAD = (
    "phase span, rad",
    "crystals",
    "starts that find them",
    "SSIM, least",
    "correlation, least",
    "residual, largest",
)


def solved() -> str:
    """How many random starts find made crystals, by phase span."""
    path = STUDIES / "crystals_solved.json"
    if not path.exists():
        return "Not measured yet: `python benchmarks crystals_solved` measures.\n"
    record = json.loads(path.read_text())
    lines = []
    for span in dict.fromkeys(row["phase_span_rad"] for row in record["rows"]):
        rows = [row for row in record["rows"] if row["phase_span_rad"] == span]
        starts = f"{sum(row['starts_right'] for row in rows)} of {sum(row['starts'] for row in rows)}"
        least = (min(row[name] for row in rows) for name in ("least_ssim", "least_correlation"))
        lines.append(
            (short(span), len(rows), starts, *map(short, least), short(max(r["largest_residual"] for r in rows)))
        )
    return f"{table(HEAD, lines)}\n`{record['command']}` ({record['machine']}; {record['date']})\n"
