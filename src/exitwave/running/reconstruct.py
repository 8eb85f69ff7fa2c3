"""Iterate and reconstruct: the driver around every solver, with checkpoints, early stop and interruption."""

import platform
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import singledispatch
from importlib.metadata import version
from typing import Any, overload

import torch
from jaxtyping import Complex
from torch import Tensor

from exitwave.data.errors import DoubtfulImageWarning, ExitwaveError, InputError
from exitwave.data.estimate import Estimate
from exitwave.data.finding import EXAMINED
from exitwave.data.measurement import Measurement
from exitwave.data.pattern import Pattern
from exitwave.data.progress import phase
from exitwave.data.result import Result
from exitwave.evaluation.verdict.judge import judged
from exitwave.problems.base import Problem, relative
from exitwave.problems.cdi import SupportProblem
from exitwave.problems.examination import of_frames_left
from exitwave.problems.setup import Setup
from exitwave.running.checkpoints import CheckpointFile, Checkpoints
from exitwave.running.divergence import DivergenceGuard, advice
from exitwave.running.examined import examined
from exitwave.running.pose import pose
from exitwave.running.stopping import Stop
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.cdi.multistart import CDI
from exitwave.solvers.ptychography.quasi_newton import QuasiNewton
from exitwave.solvers.requirements import require_solved, require_supported
from exitwave.solvers.spec import to_spec

Watch = Callable[[Step[Any], Problem[Any]], None]


def default_solver(measurement: Measurement | Problem[Any] | None = None) -> Solver[Any]:
    """The solver that is used where none is named: of a scan the one that reaches a good image soonest, as docs/benchmarks.md
    measures; of one pattern the whole recipe."""
    return _default_solver(measurement)


@singledispatch
def _default_solver(measurement: Any) -> Solver[Any]:
    return QuasiNewton()


@_default_solver.register
def _(measurement: Pattern | SupportProblem) -> Solver[Any]:
    return CDI()


def iterate(
    measurement: Measurement | Problem[Any],
    solver: Solver[Any],
    *,
    start: Estimate | None = None,
    probe: Complex[Tensor, "mode y x"] | None = None,
    setup: Setup | None = None,
) -> Iterator[Step[Any]]:
    """The stream of estimates a solver makes of a measurement, one after every epoch; see `reconstruct`."""
    begun = _begun(measurement, solver, start, probe, setup or Setup())
    yield from solver.solve(begun.problem, Step(epoch=0, estimate=begun.estimate))


@overload
def reconstruct(
    measurement: Measurement | Problem[Any],
    solver: Solver[Any] | None = None,
    *,
    start: Estimate | None = None,
    probe: Complex[Tensor, "mode y x"] | None = None,
    setup: Setup | None = None,
    stop: Stop | None = None,
    checkpoints: Checkpoints | None = None,
    watch: Watch | None = None,
) -> Result: ...


@overload
def reconstruct(
    measurement: Sequence[Measurement],
    solver: Solver[Any] | None = None,
    *,
    probe: Complex[Tensor, "mode y x"] | None = None,
    setup: Setup | None = None,
    stop: Stop | None = None,
    checkpoints: Checkpoints | None = None,
    watch: Watch | None = None,
) -> tuple[Result, ...]: ...


def reconstruct(
    measurement: Measurement | Problem[Any] | Sequence[Measurement],
    solver: Solver[Any] | None = None,
    *,
    start: Estimate | None = None,
    probe: Complex[Tensor, "mode y x"] | None = None,
    setup: Setup | None = None,
    stop: Stop | None = None,
    checkpoints: Checkpoints | None = None,
    watch: Watch | None = None,
) -> Result | tuple[Result, ...]:
    """Turn a measurement, such as a scan, into an image, by `default_solver()` where none is named.

    A measurement is examined first: what has one safe cure, such as stuck pixels and empty frames, is cured, told
    (ExaminedWarning) and kept in the provenance; `setup.as_is` takes the data as they are. `start` is an earlier estimate
    of the same frames; without it the object starts empty and the probe from `probe` or
    from the data. `setup` says how the problem is set up: modes and slices, fly scan, held-out pixels, seed, device, memory,
    noise; where the problem is posed already, only its modes and slices count. `watch` sees every step. Ctrl-C ends the run
    with the last estimate, if an epoch was done; the provenance then says `interrupted`. A solver that diverges is stopped,
    and its best estimate so far kept; the provenance then says `diverged` and what to change. Where the image may not be
    trusted, as that of a network trained on other photons, it warns (DoubtfulImageWarning) and keeps the `warnings` in the provenance. The
    `verdict` of the result says how far the data support the image. Incoherent modes of the result are orthogonal. A list of
    scans is reconstructed together, with one probe for all: a result each. Raises InputError where the measurement or the
    start makes no sense or the solver cannot honour what is asked, ExitwaveError when the solver diverges before its first
    finite estimate.
    """
    if isinstance(measurement, Sequence):
        # It reconstructs what it has joined.
        from exitwave.running.shared_probe import reconstruct_together

        if start is not None:
            raise InputError("scans that share their probe start from a probe, not from an estimate of one of them")
        return reconstruct_together(
            measurement, solver, probe=probe, setup=setup, stop=stop, checkpoints=checkpoints, watch=watch
        )
    started = time.perf_counter()
    solver, setup = solver or default_solver(measurement), setup or Setup()
    begun = _begun(measurement, solver, start, probe, setup)
    problem = begun.problem
    record = CheckpointFile(
        checkpoints=checkpoints, spec=to_spec(solver), identity=problem.identity(begun.estimate, setup)
    )
    resumed = record.resumed(Step(epoch=0, estimate=begun.estimate))
    run = _driven(solver, problem, *resumed, stop or Stop(), record, watch)
    try:
        with phase("measuring how well the image fits"):
            result = _result(problem, record, run, begun.warnings, setup.free_fraction, started)
    except KeyboardInterrupt:
        record.save(run.step, run.history)
        raise
    with phase("judging the image"):
        return judged(problem, result, run.step.state)


@dataclass(frozen=True, eq=False)
class _Begun:
    """A problem with the estimate to begin with, and why its image may not be trusted."""

    problem: Problem[Any]
    estimate: Estimate
    warnings: tuple[str, ...]


def _begun(
    measurement: Measurement | Problem[Any],
    solver: Solver[Any],
    start: Estimate | None,
    probe: Complex[Tensor, "mode y x"] | None,
    setup: Setup,
) -> _Begun:
    """Pose, find the first estimate; refuse what the solver cannot do, warn of what it can do but not be trusted with."""
    require_solved(solver, measurement)
    if isinstance(measurement, Problem):
        problem = measurement
    else:
        healthy = examined(measurement, setup)
        start = of_frames_left(start, healthy.provenance)
        with phase("setting up the problem"):
            problem = pose(healthy, setup, solver=solver)
    with phase("finding the support" if isinstance(problem, SupportProblem) else "finding the probe"):
        estimate = problem.initial(start, setup, probe=probe)
    require_supported(solver, problem, estimate)
    found = list(solver.warnings(problem, estimate))
    first = next(solver.leaf_solvers())
    if start is None and probe is None and first.takes_probe_as_given:
        found.append(
            f"the probe was guessed from the data and {first.name} does not improve it; give that of an earlier result "
            "(--probe), or let another solver find it first"
        )
    # Parts of a chain may have the same doubt.
    doubts = tuple(dict.fromkeys(found))
    for doubt in doubts:
        warnings.warn(doubt, DoubtfulImageWarning, stacklevel=3)
    return _Begun(problem, estimate, doubts)


@dataclass(frozen=True, eq=False)
class _Run:
    """A run that ended."""

    step: Step[Any]
    """The step to keep."""
    history: list[float]
    ending: str
    solver_seconds: float


def _driven(
    solver: Solver[Any],
    problem: Problem[Any],
    step: Step[Any],
    history: list[float],
    stop: Stop,
    record: CheckpointFile,
    watch: Watch | None,
) -> _Run:
    """Let the solver run; save, watch and guard its steps."""
    guard = DivergenceGuard(solver, step, history)

    def each(state: Step[Any]) -> None:
        history.append(state.residual)
        if watch:
            watch(state, problem)
        record.after_epoch(state, history)

    started = time.perf_counter()
    step, ending = _drive(solver.solve(problem, step), step, history, stop, each, guard)
    taken = time.perf_counter() - started
    if ending.startswith("diverged"):
        step, ending = _fallen_back(guard, problem, ending)
    if ending.startswith("interrupted"):
        record.save(step, history)
    return _Run(step, history, ending, taken)


def _drive(
    steps: Iterator[Step[Any]],
    step: Step[Any],
    history: list[float],
    stop: Stop,
    each: Callable[[Step[Any]], None],
    guard: DivergenceGuard,
) -> tuple[Step[Any], str]:
    """Take steps until the solver ends, diverges, is stopped or interrupted; the last step and how it ended."""
    try:
        for new in steps:
            if fault := guard.fault(new):
                return step, f"diverged in epoch {new.epoch}: {fault}"
            step = new
            each(step)
            if stop.reached(history):
                return step, f"stopped early after epoch {step.epoch}"
    except KeyboardInterrupt as error:
        if not history:
            # What there is to begin with is no image.
            error.add_note("working on the first epoch")
            raise
        return step, f"interrupted after epoch {step.epoch}"
    return step, "finished"


def _fallen_back(guard: DivergenceGuard, problem: Problem[Any], ending: str) -> tuple[Step[Any], str]:
    """The best estimate of a run that diverged, and how it ended, with advice."""
    best = guard.fallback(problem)
    if best is None:
        raise ExitwaveError(
            f"the solver {ending}; {advice(guard.at_work)}, or look for absurd values in the frames with exitwave info"
        )
    return best, f"{ending}; the estimate after epoch {best.epoch} was kept; {advice(guard.at_work)}"


def _result(
    problem: Problem[Any],
    record: CheckpointFile,
    run: _Run,
    doubts: tuple[str, ...],
    free_fraction: float,
    began: float,
) -> Result:
    """What was found, how well it fits, and how it was made."""
    step = replace(run.step, estimate=problem.finished(run.step.estimate))
    residual, frame_residual = relative(*problem.misfits(step.estimate))
    return Result(
        estimate=step.estimate.to("cpu"),
        spread=None if step.spread is None else step.spread.to("cpu"),
        geometry=problem.geometry,
        object_pixel_m=problem.object_pixel_m,
        spec=record.spec,
        history=tuple(run.history),
        residual=residual,
        free_residual=problem.residual(step.estimate, held_out=True) if problem.has_held_out else None,
        frame_residual=frame_residual,
        provenance={
            **scan_provenance(problem.measurement.provenance),
            **record.identity,
            **({"warnings": list(doubts)} if doubts else {}),
            "ending": run.ending,
            "epochs": step.epoch,
            **problem.provenance(step.estimate),
            "free_fraction": free_fraction,
            "device": _device_name(problem.device),
            "threads": torch.get_num_threads(),
            "seconds": round(time.perf_counter() - began, 3),
            "solver_seconds": round(run.solver_seconds, 3),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {name: version(name) for name in ("exitwave", "torch", "numpy")}
            | {"python": platform.python_version()},
        },
    )


def scan_provenance(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Where the measurement came from, and, by itself, what its examination found."""
    scan = {key: value for key, value in kept.items() if key != EXAMINED}
    return {"scan": scan} | ({EXAMINED: kept[EXAMINED]} if EXAMINED in kept else {})


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
