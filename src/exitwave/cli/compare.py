"""exitwave compare SCAN SOLVER... -o report.html"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import PositiveInt

from exitwave.cli.arguments import FILES, RUNNING, Prepare, Reading, ScanPath
from exitwave.cli.contestants import ForAll, Patience, StopResidual, contestants
from exitwave.cli.evaluate import SplitHalf, Truth
from exitwave.cli.progress import watching_many
from exitwave.data.errors import InputError
from exitwave.data.progress import phase
from exitwave.evaluation.comparison import Comparison, ComparisonEntry, value
from exitwave.evaluation.meaning import meaning_of
from exitwave.evaluation.ranking import ranking
from exitwave.io.atomic import replacing, require_writable
from exitwave.io.files import read_estimate, read_prepared, read_probe, read_truth
from exitwave.problems.setup import Setup
from exitwave.reports.best import best_sentence
from exitwave.reports.formatting import duration, number, quantity
from exitwave.reports.page import report
from exitwave.running.compare import FREE_FRACTION, Contestant, compare as run_all
from exitwave.running.orientation import oriented
from exitwave.running.stopping import Stop
from exitwave.solvers.refinement_options import RefinementOptions

Contestants = Annotated[
    str,
    Parameter(
        name="SOLVER",
        help="Solvers by name, or in quotes with options of their own as they follow reconstruct SCAN ('rpie --modes 2 "
        "--refine-positions'); folders of trained networks, YAML files that describe one (jobs or specs), or finished "
        "results (.h5).",
        group=FILES,
    ),
]
TOLD = {
    "residual": "residual",
    "free-residual": "free residual",
    "M-NRMSE": "object error",
    "M-NRMSE-probe": "probe error",
    "strain-error": "strain error",
    "FSC-half-bit": "resolution",
    "FRC-half-bit-split": "resolution",
}
"""Metrics of the table on the terminal, and their columns."""


def compare(
    scan: ScanPath,
    /,
    *solvers: Contestants,
    output: Annotated[Path, Parameter(alias="-o", help="HTML page to write.", group=FILES)],
    json_file: Annotated[
        Path | None, Parameter(name="--json", help="Also write all figures here.", group=FILES)
    ] = None,
    truth: Truth = None,
    split_half: SplitHalf = False,
    epochs: Annotated[
        PositiveInt | None,
        Parameter(
            help="Epochs for every solver, instead of its own number; stages of a chain keep theirs.", group=RUNNING
        ),
    ] = None,
    start: Annotated[Path | None, Parameter(help="Result or product file that all start from.", group=RUNNING)] = None,
    probe: Annotated[Path | None, Parameter(help="File whose probe all start from.", group=RUNNING)] = None,
    auto_orient: Annotated[
        bool,
        Parameter(
            help="Find first how the stage lies against the detector, and put it right for all.",
            negative="",
            group=RUNNING,
        ),
    ] = False,
    stop_residual: StopResidual = None,
    patience: Patience = None,
    setup: Annotated[Setup | None, Parameter(name="*", group=RUNNING)] = None,
    refinement: Annotated[RefinementOptions | None, Parameter(name="*", group=RUNNING)] = None,
    reading: Reading = None,
    prepare: Prepare = (),
) -> int:
    """Run several solvers on one scan from the same start and put them side by side in one HTML page.

    exitwave compare scan.cxi rpie mpie result.h5 job.yaml --truth scan.cxi -o report.html

    exitwave compare scan.cxi rpie 'rpie --refine-positions' 'newton --modes 2' --split-half -o report.html

    Options outside the quotes are for all that do not say otherwise.
    """
    _check_outputs(scan, solvers, output, json_file)
    stop = Stop(residual=stop_residual, patience=patience)
    chosen = contestants(solvers, ForAll(epochs=epochs, refinement=refinement or RefinementOptions(), stop=stop))
    loaded = read_prepared(scan, reading, prepare)
    if auto_orient:
        loaded = oriented(loaded, seed=(setup or Setup()).seed)
    totals = {n: each.solver.total_epochs if isinstance(each, Contestant) else None for n, each in chosen.items()}
    with watching_many(totals) as watch:
        found = run_all(
            loaded,
            chosen,
            truth=read_truth(truth) if truth else None,
            start=read_estimate(start) if start else None,
            probe=read_probe(probe) if probe else None,
            setup=replace(setup or Setup(), free_fraction=(setup or Setup()).free_fraction or FREE_FRACTION),
            split_half=split_half,
            watch=watch,
        )
    if found.interrupted and not found.entries:
        interruption = KeyboardInterrupt()
        interruption.add_note("working on the first solver")
        interruption.add_note("no epoch was done, so that nothing is written")
        raise interruption
    with phase("drawing the page"):
        report(found, output)
    if json_file is not None:
        with replacing(json_file) as partial:
            partial.write_text(json.dumps({"best": _best(found), **found.to_json()}, indent=2) + "\n", encoding="utf-8")
    return _tell(found, output, json_file)


def _check_outputs(scan: Path, solvers: tuple[str, ...], output: Path, json_file: Path | None) -> None:
    """Refuse now what would be refused, or would destroy something, after hours of work."""
    if output.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{output} should end in .html: the comparison is a web page")
    inputs = [scan, *(Path(word) for word in solvers)]
    for path in (output, json_file):
        if path is None:
            continue
        if path.exists() and any(each.exists() and path.samefile(each) for each in inputs):
            raise InputError(f"{path} is one of the files to compare; choose another output path")
        require_writable(path)
    if json_file is not None and json_file.absolute() == output.absolute():
        raise InputError(f"the page and its figures cannot both be {output}")


def _best(found: Comparison) -> dict[str, str] | None:
    """Which is best and what decided it: the id of a metric, `verdict` or `seconds`."""
    ranked = ranking(found)
    return None if ranked is None else {"name": ranked.best.name, "decided_by": ranked.decided_by}


def _tell(found: Comparison, output: Path, json_file: Path | None) -> int:
    """Print the table; the exit code says whether anything was found (0), nothing (2), or Ctrl-C ended it (130)."""
    shown = [name for name in TOLD if name in found.metrics]
    rows = [("solver", *(TOLD[name] for name in shown), "epochs", "time", "verdict")]
    rows += [_row(entry, shown) for entry in found.entries]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        right = "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        print(f"{name:{widths[0]}}{right}")
    print(best_sentence(found))
    print(f"report -> {output}" + (f"\nfigures -> {json_file}" if json_file else ""))
    for entry in found.entries:
        if entry.remark:
            print(f"exitwave: {entry.name}: {entry.remark}", file=sys.stderr)
    if found.interrupted:
        return 130
    return 0 if any(entry.result is not None for entry in found.entries) else 2


def _row(entry: ComparisonEntry, metrics: Sequence[str]) -> tuple[str, ...]:
    """The figures of an entry, in the units in which people read them."""
    pixel_m = () if entry.result is None else entry.result.object_pixel_m
    figures = [quantity(value(entry, name), meaning_of(name).unit, pixel_m) for name in metrics]
    verdict = None if entry.result is None else entry.result.verdict
    time = "–" if entry.seconds != entry.seconds else duration(entry.seconds)
    return entry.name, *figures, number(entry.epochs), time, "–" if verdict is None else verdict.grade
