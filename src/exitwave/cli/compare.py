"""exitwave compare SCAN SOLVER... -o report.html"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import PositiveInt

from exitwave.cli.arguments import FILES, RUNNING, Prepare, Reading, ScanPath
from exitwave.cli.evaluate import SplitHalf, Truth
from exitwave.cli.progress import watching_many
from exitwave.data.errors import InputError
from exitwave.evaluation.comparison import Comparison, value
from exitwave.io.atomic import replacing, require_writable
from exitwave.io.files import read_estimate, read_prepared, read_probe, read_truth
from exitwave.problems.setup import Setup
from exitwave.reports.page import report
from exitwave.running.compare import FREE_FRACTION, candidates, compare as run_all, with_epochs
from exitwave.solvers.base import Solver

Contestants = Annotated[
    str,
    Parameter(
        name="SOLVER",
        help="Solvers by name, folders of trained networks, YAML files that describe one (jobs or specs), or finished "
        "results (.h5).",
        group=FILES,
    ),
]


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
    setup: Annotated[Setup | None, Parameter(name="*", group=RUNNING)] = None,
    reading: Reading = None,
    prepare: Prepare = (),
) -> int:
    """Run several solvers on one scan from the same start and put them side by side in one HTML page.

    exitwave compare scan.cxi rpie mpie result.h5 job.yaml --truth scan.cxi -o report.html
    """
    _check_outputs(scan, solvers, output, json_file)
    chosen = {name: with_epochs(each, epochs) for name, each in candidates(solvers)}
    loaded = read_prepared(scan, reading, prepare)
    totals = {name: each.total_epochs if isinstance(each, Solver) else None for name, each in chosen.items()}
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
    report(found, output)
    if json_file is not None:
        with replacing(json_file) as partial:
            partial.write_text(json.dumps(found.to_json(), indent=2) + "\n", encoding="utf-8")
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


def _tell(found: Comparison, output: Path, json_file: Path | None) -> int:
    """Print the table; the exit code says whether anything was found (0), nothing (2), or Ctrl-C ended it (130)."""
    shown = [
        name
        for name in ("residual", "free-residual", "M-NRMSE", "M-NRMSE-probe", "FRC-half-bit-split")
        if name in found.metrics
    ]
    width = max((len(entry.name) for entry in found.entries), default=6)
    print(f"{'solver':{width}}" + "".join(f"  {name:>14}" for name in [*shown, "epochs", "seconds"]))
    for entry in found.entries:
        numbers = [*(value(entry, name) for name in shown), entry.epochs, entry.seconds]
        print(f"{entry.name:{width}}" + "".join(f"  {'-' if n != n else f'{n:.4g}':>14}" for n in numbers))
    print(f"report -> {output}" + (f"\nfigures -> {json_file}" if json_file else ""))
    for entry in found.entries:
        if entry.remark:
            print(f"exitwave: {entry.name}: {entry.remark}", file=sys.stderr)
    if found.interrupted:
        return 130
    return 0 if any(entry.result is not None for entry in found.entries) else 2
