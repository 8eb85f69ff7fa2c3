"""exitwave reconstruct SCAN ... SOLVER [options]: the options are those of the solver, plus how to read and how to run."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from exitwave.cli.arguments import FILES, READING, RUNNING, SOLVER, Prepare, ScanPath
from exitwave.cli.lengths import pair
from exitwave.cli.progress import watching
from exitwave.cli.solver_options import known, leading, listed, named, run_command, with_options
from exitwave.cli.verdict import verdict_text
from exitwave.data.errors import ExitwaveError, FormatError, InputError
from exitwave.data.measurement import Measurement
from exitwave.data.result import Result
from exitwave.io.assemble import ReadOptions
from exitwave.io.atomic import require_writable
from exitwave.io.files import read
from exitwave.io.weights import is_weights
from exitwave.problems.setup import Setup
from exitwave.running.job import Job, Running, run_together
from exitwave.running.reconstruct import default_solver
from exitwave.solvers.base import Solver
from exitwave.solvers.refinement_options import RefinementOptions
from exitwave.solvers.registry import solvers
from exitwave.solvers.spec import from_spec, require_network, to_spec

FAILED_CODE = 3
"""Exit code where the result was written, but the verdict on its image is failed: a script stops before it uses it."""


def reconstruct(*tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)]) -> int | None:
    """Turn a scan into an image: exitwave reconstruct SCAN [SOLVER] [options] -o OUT.h5

    Several scans share their probe: exitwave reconstruct SCAN SCAN ... [SOLVER] [options] -o FOLDER/

    Exit code 3 says that the verdict on an image is failed; the result is written all the same.
    """
    chosen, rest = named(tokens), list(tokens)
    if chosen is None:
        if not tokens or {"-h", "--help"} & set(tokens):
            _explain()
            chosen, rest = default_solver().name, ["--help"]
        else:
            chosen = _default(tokens)
        rest.append(chosen)
    if chosen == "refined":
        raise InputError(
            "name the solver to refine, with options such as --refine-positions or --variations: reconstruct SCAN rpie "
            "--refine-positions"
        )
    if chosen in solvers() and solvers()[chosen].combines:
        raise InputError(f"{chosen} is described in a YAML job; see exitwave run --help")
    rest.remove(chosen)

    cls = with_options(chosen, tokens)
    renamed = {**RefinementOptions.renamed, **cls.renamed}
    return run_command(f"exitwave reconstruct SCAN {chosen}", _command(cls), rest, renamed)


def _default(tokens: tuple[str, ...]) -> str:
    """The solver where none is named; InputError where a word stands in the place of one."""
    words = leading(tokens)
    for word in words[1:]:
        path = Path(word)
        if path.suffix and not path.exists():
            raise FormatError(f"{word} does not exist; check the path")
        if not path.is_file() or is_weights(path):
            require_network(word)
    name = default_solver(_seen(words[0]) if words else None).name
    print(f"no solver was named: {name}, the default")
    return name


def _seen(path: str) -> Measurement | None:
    """What a file holds, to choose the solver by; None where it does not tell by itself, which is said when it is read."""
    try:
        return read(path)
    except ExitwaveError:
        return None


def _explain() -> None:
    usage = "Usage: exitwave reconstruct SCAN [SOLVER] [OPTIONS] -o OUT.h5"
    several = "Scans that share their probe: exitwave reconstruct SCAN SCAN ... [SOLVER] [OPTIONS] -o FOLDER/"
    listed(f"{usage}\n{several}\n\nSolvers:", known())
    Console().print(
        "  [bold]FOLDER[/]     A trained network, as exitwave train saved it.\n\n"
        "Options of one: exitwave reconstruct SOLVER --help. Chains and ensembles: a YAML job, see exitwave run --help.\n"
        "Exit code: 0; 3 where the verdict on the image is failed (the result is written all the same); 2 for errors and runs that "
        "diverged; 130 after Ctrl-C.\n\n"
        f"Without SOLVER it is {default_solver().name}, with these options; those outside the first box are common to all:\n",
        highlight=False,
    )


def _command(cls: type[Solver[Any]]) -> Callable[..., int]:
    # fmt: off
    def command(scan, /, *further, output=None, report=None, solver=None, setup=None, refinement=None, running=None, reading=None, prepare=()):  # noqa: E501  # pyright: ignore
        # fmt: on
        job = Job(
            scan=(scan, *further) if further else scan,
            solver=from_spec(to_spec(solver or cls())),
            output=output or Path("results" if further else "result.h5"),
            reading=reading or ReadOptions(),
            prepare=tuple(prepare),
            setup=setup or Setup(),
            refinement=refinement or RefinementOptions(),
            running=running or Running(),
        )
        return run_and_tell(job, report)

    command.__doc__ = f"{(cls.__doc__ or '').strip()}"
    command.__annotations__ = {
        "scan": ScanPath,
        "further": Annotated[Path, Parameter(help="Further scans, which share their probe with the first.", group=FILES)],
        "output": Annotated[
            Path | None,
            Parameter(
                alias="-o", help="File to write (result.h5), or the folder for the results of several scans.", group=FILES
            ),
        ],
        "report": Annotated[Path | None, Parameter(help="Also write this HTML report.", group=FILES)],
        "solver": Annotated[cls | None, Parameter(name="*", group=SOLVER)],
        "setup": Annotated[Setup | None, Parameter(name="*", group=RUNNING)],
        "refinement": Annotated[RefinementOptions | None, Parameter(name="*", group=RUNNING)],
        "running": Annotated[Running | None, Parameter(name="*", group=RUNNING)],
        "reading": Annotated[ReadOptions | None, Parameter(name="*", group=READING)],
        "prepare": Prepare,
    }
    return command


def run_and_tell(job: Job, report: Path | None = None) -> int:
    """Run a job with a progress bar, write its files, print where they are; the exit code is the gravest of its results."""
    solver = job.whole_solver
    if report is not None and job.together:
        raise InputError(
            "several scans give a result each, but --report names one page; make each with exitwave report afterwards"
        )
    if report is not None:
        require_writable(report)
    with watching(solver, solver.name) as watch:
        made = run_together(job, watch)
    if report is not None:
        from exitwave.reports.page import report as write_report

        write_report(made[0], report)
    codes = [tell(result, job, output, report) for result, output in zip(made, job.outputs, strict=True)]
    return max(codes)


def tell(result: Result, job: Job, output: Path, report: Path | None) -> int:
    """Print the outcome; the exit code says whether the run was interrupted (130) or diverged (2), or its image failed (3)."""
    ending = str(result.provenance["ending"])
    how = ending.partition("; ")[0]
    free = "" if result.free_residual is None else f", free residual {result.free_residual:.4g}"
    pixel, epochs = result.object_pixel_m, result.provenance["epochs"]
    if found := result.provenance["scan"].get("auto_orient"):
        print(f"orientation: {found}")
    print(
        f"{how}: {epochs} epoch{'' if epochs == 1 else 's'} in {result.provenance['seconds']:.1f} s, residual {result.residual:.4g}{free}\n"
        f"object {' x '.join(map(str, result.estimate.object.shape[-len(pixel) :]))} pixels of "
        f"{pair(pixel, result.geometry.particle)} -> {output}" + (f"\nreport -> {report}" if report else "")
    )
    # Not needed to show help.
    from exitwave.reports.tables import changed_for_the_run

    for line in changed_for_the_run(result):
        print(line)
    if result.verdict is not None:
        print(verdict_text(result.verdict))
    if ending.startswith("interrupted"):
        print(f"the last estimate is in {output}; go on with --resume (checkpoint {job.checkpoint})")
        return 130
    if ending.startswith("diverged"):
        print(f"exitwave: {ending.partition('; ')[2]}", file=sys.stderr)
        return 2
    return FAILED_CODE if result.verdict is not None and result.verdict.grade == "failed" else 0
