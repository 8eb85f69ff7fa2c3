"""Tables of the studies of the iterative methods, for docs/benchmarks.md; filled in by docs/scripts/tables.py."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "benchmarks" / "results"
Rows = list[dict[str, Any]]


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; bars in cells are escaped."""
    lines = [list(head)]
    lines.append(["---"] * len(lines[0]))
    lines += [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def study(name: str, render: Callable[[Rows], str]) -> str:
    """What one study of the iterative methods measured, with command, machine and date."""
    path = STUDIES / f"iterative_{name}.json"
    if not path.exists():
        return f"Not measured yet: `python benchmarks {name}` measures.\n"
    record = json.loads(path.read_text())
    image = f"images/iterative_{name}.png"
    picture = f"\n```{{image}} {image}\n:alt: {name}\n```\n" if (ROOT / "docs" / image).exists() else ""
    told = f"`{record['command']}` ({record['machine']}; {record['date']})"
    return f"\n{record['about']}\n{picture}\n{render(record['rows'])}\n{told}\n"


def short(value: Any) -> str:
    """A number in three digits; nothing as a dash."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def against(value: float | None, target: float | None) -> str:
    """A measured value, marked where it misses its target."""
    if value is None:
        return "failed"
    return f"{value:.3g}" + (" (missed)" if target is not None and value > target else "")


def floor_table(rows: Rows) -> str:
    head = (
        "solver",
        "pixels",
        "modes",
        "positions",
        "threads",
        "epoch, ms",
        "FFTs, ms",
        "ratio",
        "target",
        "shift error",
    )
    order = sorted(rows, key=lambda r: (r["threads"], r["solver"], r["positions"] != "whole", r["modes"], r["size"]))
    return table(
        head,
        (
            (
                *(r[key] for key in ("solver", "size", "modes", "positions", "threads")),
                short(r["epoch_ms"]),
                short(r["floor_ms"]),
                against(r["ratio"], r["target"]),
                short(r["target"]),
                short(r.get("shift_error")),
            )
            for r in order
        ),
    )


def peers_table(rows: Rows) -> str:
    """A table for each problem, the drawings side by side, the fastest program first; then what the ratios are."""
    text = ""
    for problem in dict.fromkeys(row["problem"] for row in rows):
        own = [row for row in rows if row["problem"] == problem]
        bands = list(own[0]["bands"])
        # Where positions are known there is nothing to tell.
        refined = [key for key in ("position_error_px",) if any((row.get(key) or 0) > 1e-3 for row in own)]
        named = ["position error, px"] * len(refined)
        head = ("program", "to 0.1: epochs", "s", "to 0.05: epochs", "s", "s in all", "NRMSE", *named, *bands)
        programs = sorted(
            {row["program"] for row in own},
            key=lambda name: (_time_to(own, name, 0.05) + _time_to(own, name, 0.1), name),
        )
        body = []
        for program in programs:
            runs = [row for row in own if row["program"] == program]
            keys = (
                "epochs_to_0.1",
                "seconds_to_0.1",
                "epochs_to_0.05",
                "seconds_to_0.05",
                "seconds",
                "nrmse",
                *refined,
            )
            cells = [" / ".join(short(run[key]) for run in runs) for key in keys]
            body.append((program, *cells, *(" / ".join(short(run["bands"][band]) for run in runs) for band in bands)))
        text += f"\n**{problem}**, drawings {', '.join(str(s) for s in sorted({r['seed'] for r in own}))}\n\n{table(head, body)}"
        text += "".join(_lead(own, level) for level in (0.1, 0.05))
        text += "".join(_against_the_best(own, seed) for seed in sorted({row["seed"] for row in own}))
    return text


def _against_the_best(rows: Rows, seed: int) -> str:
    """When ours were as good as the best other program was in the end, in one drawing, beside its own time."""
    of_seed = [row for row in rows if row["seed"] == seed]
    others = [row for row in of_seed if not row["program"].startswith("exitwave")]
    ours = [row for row in of_seed if row["program"].startswith("exitwave")]
    if not others or not ours:
        return ""
    best = min(others, key=lambda row: row["nrmse"])
    taken = _first(best, best["nrmse"])
    told = []
    for row in ours:
        seconds = _first(row, best["nrmse"])
        told.append(
            f"{row['program']} never" if seconds is None else f"{row['program']} 1/{taken / seconds:.3g} of its time"
        )
    return (
        f"\nTo {best['nrmse']:.3g}, where {best['program']} ends (drawing {seed}, {taken:.3g} s): {', '.join(told)}.\n"
    )


def _first(row: dict[str, Any], level: float) -> float | None:
    """Seconds to the first look with no larger error than this, to the five digits that are kept."""
    looks = zip(row["course"]["seconds"], row["course"]["nrmse"], strict=True)
    return next((seconds for seconds, nrmse in looks if nrmse <= round(level, 5)), None)


def _time_to(rows: Rows, program: str, level: float) -> float:
    """Mean seconds to an error over the drawings; very long where one of them was not reached."""
    times = [row[f"seconds_to_{level}"] or 1e6 for row in rows if row["program"] == program]
    return sum(times) / len(times)


def _lead(rows: Rows, level: float) -> str:
    programs = {row["program"] for row in rows}
    ours = min((p for p in programs if p.startswith("exitwave")), key=lambda p: _time_to(rows, p, level), default="")
    theirs = min(
        (p for p in programs - {ours} if not p.startswith("exitwave")),
        key=lambda p: _time_to(rows, p, level),
        default="",
    )
    if not ours or not theirs or max(_time_to(rows, p, level) for p in (ours, theirs)) >= 1e5:
        return ""
    ratio = _time_to(rows, theirs, level) / _time_to(rows, ours, level)
    return f"\nTo {level}: {ours} takes 1/{ratio:.3g} of the time of {theirs} (means over the drawings).\n"


def course_table(rows: Rows) -> str:
    """Passes to each error, the problems and drawings side by side."""
    drawings = list(dict.fromkeys((row["problem"], row["seed"]) for row in rows))
    levels = [key for key in rows[0] if key.startswith("to_")]
    body = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = {(row["problem"], row["seed"]): row for row in rows if row["method"] == method}
        found = [own[drawing] for drawing in drawings if drawing in own]
        cells = [" / ".join(f"{r[key]:.1f}" if r[key] else "-" for r in found) for key in (*levels, "passes")]
        body.append((method, *cells, " / ".join(f"{r['nrmse']:.3f}" for r in found)))
    named = " / ".join(f"{problem} {seed}" for problem, seed in drawings)
    head = ("method", *(level.replace("_", " ") for level in levels), "passes in all", "NRMSE in the end")
    return f"Drawings {named}.\n\n{table(head, body)}"


def slow_phase_table(rows: Rows) -> str:
    """Halves, errors and residuals of every regime, the methods side by side; several drawings one after another."""
    methods = list(dict.fromkeys(row["solver"] for row in rows))
    body = []
    for regime in dict.fromkeys(row["regime"] for row in rows):
        for key in ("split", "error", "residual"):
            own = [[short(r[key]) for r in rows if (r["regime"], r["solver"]) == (regime, name)] for name in methods]
            if any(cell != "-" for cells in own for cell in cells):
                body.append((regime, key, *(" / ".join(cells) for cells in own)))
    return table(("scan", "figure", *methods), body)


def modes_table(rows: Rows) -> str:
    """How far shares are off at the start and at the end, several drawings one after another, and what was found first."""
    body = []
    for kind in dict.fromkeys((row["sample"], row["modes"], row["solver"]) for row in rows):
        own = [row for row in rows if (row["sample"], row["modes"], row["solver"]) == kind]
        cells = [" / ".join(f"{row[key]:.1f}" for row in own) for key in ("start_off", "off")]
        found = " / ".join(f"{share:.1f}" for share in own[0]["found"])
        body.append((*kind, *cells, found, " / ".join(short(row["error"]) for row in own)))
    head = ("sample", "modes", "solver", "off at the start, points", "off, points", "found, % (first drawing)", "error")
    return table(head, body)


def quality_table(rows: Rows) -> str:
    steps = list(dict.fromkeys(row["step_px"] for row in rows))
    body = []
    for method in dict.fromkeys(row["method"] for row in rows):
        own = {row["step_px"]: row for row in rows if row["method"] == method}
        body.append((method, *(_beside(own[step]) for step in steps)))
    return table(("method", *(f"step {step} px" for step in steps)), body)


def _beside(row: dict[str, Any]) -> str:
    known = "" if row["reference"] is None else f" [{row['reference']:.3g}]"
    return against(row["nrmse"], row["target"]) + known


def columns(*shown: tuple[str, str]) -> Callable[[Rows], str]:
    """A plain table of some keys of the rows, each under its heading."""
    return lambda rows: table(
        (heading for _, heading in shown), ((short(row.get(key)) for key, _ in shown) for row in rows)
    )


def verdicts_table(rows: Rows) -> str:
    """How many images of each quality got which verdict; then every scan."""
    kinds = {"good (error up to 0.35)": (0.0, 0.35), "between": (0.35, 0.7), "failed (0.7 and more)": (0.7, 2.0)}
    counted = []
    for part in dict.fromkeys(row["part"] for row in rows):
        own = [row for row in rows if row["part"] == part and row["error"] is not None]
        for kind, (low, high) in kinds.items():
            grades = [row["verdict"] for row in own if low <= row["error"] < high]
            counted.append((part, kind, *(grades.count(grade) for grade in ("sound", "doubtful", "failed"))))
    head = ("case", "scan", "true error", "begun at the truth", "verdict", "residual", "seconds")
    shown = ("error", "error_from_truth", "verdict", "residual", "seconds")
    each = (
        ("-" if row["case"] == "none" else row["case"], row["scan"], *(short(row.get(k)) for k in shown))
        for row in rows
    )
    counts = table(("scans", "image", "sound", "doubtful", "failed"), counted)
    return f"{counts}\nEvery scan:\n\n{table(head, each)}"


ITERATIVE: dict[str, Callable[[Rows], str]] = {
    "floor": floor_table,
    "peers": peers_table,
    "course": course_table,
    "quality": quality_table,
    "verdicts": verdicts_table,
    "slow_phase": slow_phase_table,
    "modes": modes_table,
    "growth": columns(
        ("solver", "solver"),
        ("frames", "frames"),
        ("epoch_s", "epoch, s"),
        ("beyond_start_mib", "memory for the scan, MiB"),
        ("peak_mib", "whole process, MiB"),
        ("data_mib", "frames alone, MiB"),
    ),
    "petra": columns(
        ("solver", "solver"),
        ("epochs", "epochs"),
        ("residual", "residual"),
        ("frc_split", "FRC-half-bit-split"),
        ("nrmse_split", "M-NRMSE-split-whole"),
        ("seconds", "s"),
    ),
    "twin": columns(
        ("solver", "solver"),
        ("frames", "frames"),
        ("modes", "modes"),
        ("positions", "positions refined"),
        ("nrmse", "NRMSE"),
        ("position_error_px", "position error, px"),
        ("median_error_px", "median"),
        ("residual", "residual"),
    ),
}


def throughput() -> str:
    """Frames per second of trained networks, a table for each size of frame; threads side by side."""
    path = STUDIES / "throughput.json"
    if not path.exists():
        return "Not measured yet: `python benchmarks throughput` measures.\n"
    record = json.loads(path.read_text())
    text = ""
    for size in dict.fromkeys(row["frame_px"] for row in record["rows"]):
        own = [row for row in record["rows"] if row["frame_px"] == size]
        text += f"\n**Frames of {size} x {size} pixels**, {_threads(own)}\n\n{_throughput_of(own)}"
    return f"{text}\n`{record['command']}` ({record['machine']}; {record['date']})\n"


def _threads(rows: Rows) -> str:
    counts = [str(count) for count in dict.fromkeys(row["threads"] for row in rows)]
    return f"frames per second with {' / '.join(counts)} threads".replace("GPU threads", "threads, on the GPU")


def _throughput_of(rows: Rows) -> str:
    stages = ("network", "physics", "stitched", "residual")
    kept = ("network_kind", "runtime", "precision", "batch", "positions")
    body = []
    for kind in dict.fromkeys(tuple(row.get(key) for key in kept) for row in rows):
        same = [row for row in rows if tuple(row.get(key) for key in kept) == kind]
        name, runtime, precision, batch, positions = kind
        how = f"{runtime}, {precision}" + (", sub-pixel" if positions == "sub-pixel" else "") if runtime else "-"
        cells = [" / ".join(f"{row[stage]:.0f}" if stage in row else "-" for row in same) for stage in stages]
        shares = " / ".join(f"{100 * row['of_peak']:.0f} %" if "of_peak" in row else "-" for row in same)
        body.append((name, how, batch or "-", *cells, shares))
    head = ("network", "runtime, numbers", "frames at once", "network alone", "+ physics", "+ stitching", "+ residual")
    return table((*head, "of the peak"), body)
