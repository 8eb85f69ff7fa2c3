"""exitwave evaluate OUT.h5 [OTHERS...] [--truth SCAN] [--split-half] [--json]"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

from cyclopts import Parameter

from exitwave.cli import warn
from exitwave.cli.arguments import FILES, ResultPath
from exitwave.cli.progress import watching
from exitwave.data.errors import InputError
from exitwave.data.estimate import BraggEstimate
from exitwave.data.progress import phase
from exitwave.data.result import Result
from exitwave.evaluation.crystals import compare_crystals
from exitwave.evaluation.evaluate import evaluate as judge
from exitwave.evaluation.evaluation import Evaluation, merge_evaluations
from exitwave.evaluation.ptychography import compare_halves
from exitwave.io.files import read_probe, read_result, read_truth
from exitwave.problems.examination import of_frames_left
from exitwave.reports.page import report as write_report
from exitwave.reports.tables import stored_warnings
from exitwave.running.job import job_of, read_prepared
from exitwave.running.split_half import reconstruct_halves
from exitwave.solvers.spec import from_spec

Truth = Annotated[
    Path | None, Parameter(help="Simulated scan whose known object, probe and positions to compare with.")
]
Others = Annotated[
    Path,
    Parameter(
        name="OTHERS",
        help="Further results of the same rocking curve from other starts: how far all crystals agree.",
        group=FILES,
    ),
]
SplitHalf = Annotated[
    bool,
    Parameter(
        help="Reconstruct two halves of the frames anew and correlate them: resolution without truth.", negative=""
    ),
]


def evaluate(
    result: ResultPath,
    /,
    *others: Others,
    truth: Truth = None,
    split_half: SplitHalf = False,
    everything: Annotated[
        bool,
        Parameter(
            name="--all", help="Print every figure with its id, also those that papers define otherwise.", negative=""
        ),
    ] = False,
    as_json: Annotated[
        bool,
        Parameter(name="--json", help="Print one JSON object: every figure by its id, as a plain number.", negative=""),
    ] = False,
    report: Annotated[Path | None, Parameter(help="Also write an HTML report with these figures.")] = None,
) -> None:
    """How good a result is: the verdict, how well the image fits the frames, its resolution, and errors where the truth is known."""
    loaded = read_result(result)
    found = judged(loaded, truth, split_half=split_half)
    if others:
        with phase("comparing the crystals"):
            found = merge_evaluations(found, _agreement(loaded, others))
    if report is not None:
        with phase("drawing the report"):
            write_report(loaded, report, evaluation=found)
    if as_json:
        json.dump(found.to_json(), sys.stdout, indent=2)
        print()
        return
    # Not needed for the figures alone.
    from exitwave.cli.evaluation_text import evaluation_text

    print(evaluation_text(loaded, found, everything=everything))
    for warning in stored_warnings(loaded):
        warn(warning)


def _agreement(result: Result, others: Sequence[Path]) -> Evaluation:
    """How far crystals of several results are the same. Raises InputError for what is none."""
    results = [result, *map(read_result, others)]
    if odd := next((x.estimate.kind for x in results if not isinstance(x.estimate, BraggEstimate)), None):
        raise InputError(
            f"several results are compared with each other for crystals only, and one is of {odd}; evaluate one result, or put "
            "several side by side with exitwave compare"
        )
    return compare_crystals(results)


def judged(result: Result, truth: Path | None, *, split_half: bool) -> Evaluation:
    """Everything that can be said of a result: against the truth if given, between halves of the frames if asked."""
    scan = cast("Mapping[str, Any]", result.provenance.get("scan", {}))
    known = of_frames_left(read_truth(truth), scan) if truth else None
    with phase("comparing with the truth" if known else "judging the image"):
        found = judge(result, truth=known)
    if not split_half:
        return found
    job = job_of(result)
    solver = from_spec(result.spec)
    with watching(solver, "half of the frames") as watch:
        first, second = reconstruct_halves(
            read_prepared(job),
            solver,
            result,
            probe=read_probe(job.running.probe) if job.running.probe else None,
            setup=job.setup,
            watch=watch,
        )
    return merge_evaluations(found, compare_halves(first.estimate, second.estimate, pixel=result.object_pixel_m))
