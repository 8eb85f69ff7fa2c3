"""Tables of studies of crystals; filled in by docs/scripts/tables.py."""

import json
from collections.abc import Sequence
from typing import Any

from study_tables import STUDIES, short, table

Rows = list[dict[str, Any]]


def _kept(name: str, part: str | None = None) -> dict[str, Any] | None:
    """What a study found, or one part of it; None where nothing was measured."""
    path = STUDIES / f"{name}.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    return (found.get(part) if part else found) or None


def _measured(name: str, part: str | None, head: Sequence[str], keys: Sequence[str]) -> str:
    """Columns of a study's rows, with command, machine and date."""
    record = _kept(name, part)
    if record is None:
        return f"Not measured yet: `python benchmarks {name}` measures.\n"
    lines = [[_cell(key, row) for key in keys] for row in record["rows"]]
    return f"{table(head, lines)}\n`{record['command']}` ({record['machine']}; {record['date']})\n"


def _cell(key: str, row: dict[str, Any]) -> str:
    if key == "range":
        low, high = row["histograms"]["chi2_quantiles"][0], row["histograms"]["chi2_quantiles"][-1]
        return f"{short(low)}-{short(high)}"
    if key == "as_good_as_600":
        return f"{100 * row[key]:.0f} %"
    if key == "of":
        return f"{row['found']} of {row['crystals']}"
    return short(row.get(key))


def solved() -> str:
    """How many random starts find made crystals, by phase span."""
    record = _kept("crystals_solved")
    if record is None:
        return "Not measured yet: `python benchmarks crystals_solved` measures.\n"
    lines = []
    for span in dict.fromkeys(row["phase_span_rad"] for row in record["rows"]):
        rows = [row for row in record["rows"] if row["phase_span_rad"] == span]
        starts = f"{sum(row['starts_right'] for row in rows)} of {sum(row['starts'] for row in rows)}"
        least = (min(row[name] for row in rows) for name in ("least_ssim", "least_correlation"))
        lines.append(
            (short(span), len(rows), starts, *map(short, least), short(max(r["largest_residual"] for r in rows)))
        )
    head = (
        "phase span, rad",
        "crystals",
        "starts that find them",
        "SSIM, least",
        "correlation, least",
        "residual, largest",
    )
    return f"{table(head, lines)}\n`{record['command']}` ({record['machine']}; {record['date']})\n"


def strained() -> str:
    """How many highly strained crystals are found."""
    head = ("phase span / pi", "way", "found", "called sound", "sound but wrong", "median correlation")
    keys = ("span_over_pi", "way", "of", "sound", "sound_but_wrong", "median_correlation")
    return _measured("strained_crystals", None, head, keys)


def speed() -> str:
    """An epoch in units of its transforms."""
    record = _kept("bragg_speed")
    keys = list(record["rows"][0]) if record else []
    return _measured("bragg_speed", None, [key.replace("_", " ") for key in keys], keys)


def network_compared() -> str:
    """The network beside iterations on made crystals."""
    head = (
        "method",
        "chi2",
        "5-95 %",
        "low q",
        "high q",
        "SSIM",
        "in the box",
        "phase error, rad",
        "chi2 no larger than after 600 iterations",
        "time, s",
    )
    keys = (
        "method",
        "chi2",
        "range",
        "chi2_low",
        "chi2_high",
        "ssim",
        "ssim_box",
        "phase_rad",
        "as_good_as_600",
        "seconds",
    )
    return _measured("autophasenn", "compared", head, keys)


def network_elsewhere(part: str) -> str:
    """The network on crystals of other kinds."""
    first = ("oversampling",) if part == "sampling" else ()
    head = (*first, "method", "crystals", "chi2", "SSIM", "in the box", "phase error, rad")
    return _measured("autophasenn", part, head, (*first, "method", "crystals", "chi2", "ssim", "ssim_box", "phase_rad"))


def measured_runs() -> str:
    """Runs on the measured crystal."""
    head = (
        "way",
        "seed",
        "residual",
        "free residual",
        "free log-likelihood",
        "starts agree",
        "support, voxels",
        "verdict",
        "seconds",
    )
    keys = (
        "way",
        "seed",
        "residual",
        "free_residual",
        "free_llk",
        "starts_correlation",
        "support_voxels",
        "verdict",
        "seconds",
    )
    return _measured("measured_crystal", "runs", head, keys)


def measured_agreement() -> str:
    """What two whole runs on the measured crystal agree about."""
    record = _kept("measured_crystal", "agreement")
    if record is None:
        return "Not measured yet: `python benchmarks measured_crystal` measures.\n"
    (row,) = record["rows"]

    def sides(name: str) -> str:
        values = row[name] if isinstance(row[name], list) else [row[name]]
        spreads = row[name.replace("_m", "_spread_m")]
        spreads = spreads if isinstance(spreads, list) else [spreads]
        return " x ".join(f"{1e9 * v:.0f} ± {1e9 * d:.0f}" for v, d in zip(values, spreads, strict=True))

    lines = [
        ("correlation of amplitudes", short(row["amplitude-correlation-starts"])),
        ("difference of strain", short(row["strain-error-starts"])),
        *((name, short(row[name])) for name in row if name.startswith(("FSC", "PRTF"))),
        ("size, z x y x x, nm", sides("size extents_m")),
        ("size along Q, nm", sides("size along_q_m")),
        ("lattice parameter, angstrom", f"{1e10 * row['lattice_parameter_m']:.4g}"),
    ]
    return f"{table(('figure', 'value'), lines)}\n`{record['command']}` ({record['machine']}; {record['date']})\n"
