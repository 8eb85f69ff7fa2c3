"""Iterate and reconstruct: the driver around every solver, with checkpoints, early stop and interruption."""

import platform
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial, singledispatch
from importlib.metadata import version
from pathlib import Path
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
from exitwave.data.rocking_curve import RockingCurve
from exitwave.evaluation.verdict.judge import judged
from exitwave.io.given import (
    GivenEstimate,
    GivenMeasurement,
    GivenProbe,
    given_estimate,
    given_measurement,
    given_probe,
)
from exitwave.problems.base import Problem, relative
from exitwave.problems.cdi import SupportProblem
from exitwave.problems.examination import of_frames_left
from exitwave.problems.frame_fits import frame_fits, recorded_positions_px
from exitwave.problems.setup import Setup
from exitwave.running.checkpoints import CheckpointFile, Checkpoints
from exitwave.running.divergence import DivergenceGuard, advice
from exitwave.running.examined import examined
from exitwave.running.pose import pose
from exitwave.running.progress import LOG, progress_of
from exitwave.running.right_call import showing_the_right_call
from exitwave.running.stopping import Stop
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.cdi.multistart import CDI
from exitwave.solvers.ptychography.quasi_newton import QuasiNewton
from exitwave.solvers.requirements import require_solved, require_supported
from exitwave.solvers.spec import AnySolver, given_solver, to_spec

Watch = Callable[[Step[Any], Problem[Any]], None]


def default_solver(measurement: Measurement | Problem[Any] | None = None) -> Solver[Any]:
    """The solver that is used where none is named: of a scan the one that reaches a good image soonest, as docs/benchmarks.md
    measures; of one pattern or rocking curve the whole recipe."""
    return _default_solver(measurement)


@singledispatch
def _default_solver(measurement: Any) -> Solver[Any]:
    return QuasiNewton()


@_default_solver.register
def _(measurement: Pattern | RockingCurve | SupportProblem) -> Solver[Any]:
    return CDI()


@dataclass(frozen=True, eq=False)
class _Begun:
    """A problem with the estimate to begin with, and why its image may not be trusted."""

    problem: Problem[Any]
    estimate: Estimate
    warnings: tuple[str, ...]


@showing_the_right_call
def iterate(
    measurement: GivenMeasurement | Problem[Any],
    solver: AnySolver | None = None,
    *,
    start: GivenEstimate | None = None,
    probe: GivenProbe | None = None,
    setup: Setup | None = None,
    stop: Stop | None = None,
    checkpoints: Checkpoints | None = None,
    watch: Watch | None = None,
) -> Iterator[Step[Any]]:
    """The stream of estimates a solver makes of a measurement, one after every epoch; arguments as those of `reconstruct`.

    `step.plot()` shows one. What cannot be run is refused when it is called, not when the first step is asked for.
    """
    measurement = measurement if isinstance(measurement, Problem) else given_measurement(measurement)
    chosen, how = default_solver(measurement) if solver is None else given_solver(solver), setup or Setup()
    begun = _begun(measurement, chosen, given_estimate(start), given_probe(probe), how)
    return _steps(chosen, begun, stop or Stop(), _record(chosen, begun, checkpoints, how), watch)


def _steps(
    solver: Solver[Any], begun: _Begun, stop: Stop, record: CheckpointFile, watch: Watch | None
) -> Iterator[Step[Any]]:
    step, history = record.resumed(Step(epoch=0, estimate=begun.estimate))
    for new in solver.solve(begun.problem, step):
        history.append(new.residual)
        if watch:
            watch(new, begun.problem)
        record.after_epoch(new, history)
        yield new
        if stop.reached(history):
            return


def _record(solver: Solver[Any], begun: _Begun, checkpoints: Checkpoints | None, setup: Setup) -> CheckpointFile:
    """The file in which a run keeps its state, and what belongs to it."""
    identity = begun.problem.identity(begun.estimate, setup)
    return CheckpointFile(checkpoints=checkpoints, spec=to_spec(solver), identity=identity)


@overload
def reconstruct(
    measurement: GivenMeasurement | Problem[Any],
    solver: AnySolver | None = None,
    *,
    start: GivenEstimate | None = None,
    probe: GivenProbe | None = None,
    setup: Setup | None = None,
    stop: Stop | None = None,
    checkpoints: Checkpoints | None = None,
    watch: Watch | None = None,
    progress: bool = True,
) -> Result: ...


@overload
def reconstruct(
    measurement: list[Measurement] | tuple[Measurement, ...] | list[Path] | list[str],
    solver: AnySolver | None = None,
    *,
    probe: GivenProbe | None = None,
    setup: Setup | None = None,
    stop: Stop | None = None,
    checkpoints: Checkpoints | None = None,
    watch: Watch | None = None,
    progress: bool = True,
) -> tuple[Result, ...]: ...


@showing_the_right_call
def reconstruct(
    measurement: GivenMeasurement | Problem[Any] | Sequence[GivenMeasurement],
    solver: AnySolver | None = None,
    *,
    start: GivenEstimate | None = None,
    probe: GivenProbe | None = None,
    setup: Setup | None = None,
    stop: Stop | None = None,
    checkpoints: Checkpoints | None = None,
    watch: Watch | None = None,
    progress: bool = True,
) -> Result | tuple[Result, ...]:
    """Turn a measurement, such as a scan, into an image, by `default_solver()` where none is named.

    A measurement is examined first: what has one safe cure, such as stuck pixels and empty frames, is cured, told
    (ExaminedWarning) and kept in the provenance; `setup.as_is` takes the data as they are. The file of a measurement, of a start
    or of a probe stands for what it holds, the name or class of a solver for its defaults. `start` is an earlier estimate
    of the same frames; without it the object starts empty and the probe from `probe` or
    from the data. `setup` says how the problem is set up: modes and slices, fly scan, held-out pixels, seed, device, memory,
    noise; where the problem is posed already, only its modes and slices count. `watch` sees every step; without it terminals and
    notebooks show a bar, unless `progress` is False, and each tenth of the epochs is logged (`logging.getLogger("exitwave")`).
    Ctrl-C ends the run with the last estimate, if an epoch was done; the provenance then says `interrupted`. A solver that
    diverges is stopped, and its best estimate
    so far kept; the provenance then says `diverged` and what to change. Where the image may not be trusted, as that of a
    network trained on other photons, it warns (DoubtfulImageWarning) and keeps the `warnings` in the provenance. The
    `verdict` of the result says how far the data support the image. Incoherent modes of the result are orthogonal. A list of
    scans is reconstructed together, with one probe for all: a result each. Raises InputError where the measurement or the
    start makes no sense or the solver cannot honour what is asked, ExitwaveError when the solver diverges before its first
    finite estimate.
    """
    if isinstance(measurement, Sequence) and not isinstance(measurement, str):
        # It reconstructs what it has joined.
        from exitwave.running.shared_probe import reconstruct_together

        if start is not None:
            raise InputError("scans that share their probe start from a probe, not from an estimate of one of them")
        return reconstruct_together(
            [given_measurement(each) for each in measurement],
            None if solver is None else given_solver(solver),
            probe=given_probe(probe),
            setup=setup,
            stop=stop,
            checkpoints=checkpoints,
            watch=watch,
            progress=progress,
        )
    started = time.perf_counter()
    measurement = measurement if isinstance(measurement, Problem) else given_measurement(measurement)
    chosen, how = default_solver(measurement) if solver is None else given_solver(solver), setup or Setup()
    begun = _begun(measurement, chosen, given_estimate(start), given_probe(probe), how)
    problem, record = begun.problem, _record(chosen, begun, checkpoints, how)
    resumed = record.resumed(Step(epoch=0, estimate=begun.estimate))
    with progress_of({chosen.name: chosen.total_epochs}, wanted=progress and watch is None) as show:
        run = _driven(chosen, problem, *resumed, stop or Stop(), record, watch or partial(show, chosen.name))
        result = _judged_result(problem, chosen, record, run, begun.warnings, how.free_fraction, started)
    LOG.info("%s: %s, %s", chosen.name, run.ending, ", ".join(result.told()))
    return result


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
    with phase(problem.first_work):
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
        # Through the decorator that looks at the keywords.
        warnings.warn(doubt, DoubtfulImageWarning, stacklevel=4)
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


def _judged_result(
    problem: Problem[Any],
    solver: Solver[Any],
    record: CheckpointFile,
    run: _Run,
    doubts: tuple[str, ...],
    free_fraction: float,
    began: float,
) -> Result:
    """What was found, with the verdict on it; where Ctrl-C ends the measuring of it, the checkpoint keeps the run."""
    try:
        with phase("measuring how well the image fits"):
            shown = replace(run, step=_handed_out(problem, solver, run.step))
            result = _result(problem, record, shown, doubts, free_fraction, began)
    except KeyboardInterrupt:
        record.save(run.step, run.history)
        raise
    with phase("judging the image"):
        return judged(problem, result, run.step.state)


def _handed_out(problem: Problem[Any], solver: Solver[Any], step: Step[Any]) -> Step[Any]:
    """The last step with its estimate as results have it."""
    estimate, spread = problem.finished(step.estimate), step.spread
    if not solver.holds_scale:
        estimate, spread = problem.with_common_scale(estimate, spread)
    return replace(step, estimate=estimate, spread=spread)


def _result(
    problem: Problem[Any],
    record: CheckpointFile,
    run: _Run,
    doubts: tuple[str, ...],
    free_fraction: float,
    began: float,
) -> Result:
    """What was found, how well it fits, and how it was made."""
    step = run.step
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
        frame_fits=frame_fits(problem, step.estimate, frame_residual),
        recorded_positions_px=recorded_positions_px(problem, step.estimate),
        provenance={
            **scan_provenance(problem.measurement.provenance),
            **record.identity,
            **({"warnings": list(doubts)} if doubts else {}),
            "ending": run.ending,
            "epochs": step.epoch,
            **problem.provenance(step.estimate),
            "counts_per_frame": problem.power / len(problem),
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
