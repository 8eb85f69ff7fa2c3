"""Iterate and reconstruct: the driver around every solver, with checkpoints, early stop and interruption."""

import platform
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch
from jaxtyping import Complex
from torch import Tensor

from exitwave.data.errors import DoubtfulImageWarning, ExitwaveError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.result import Result
from exitwave.data.scan import Scan
from exitwave.physics.constraints import orthogonal_modes
from exitwave.physics.noise import Noise
from exitwave.problems.ptychography import Problem
from exitwave.running.checkpoints import CheckpointFile, Checkpoints, fingerprint
from exitwave.running.divergence import DivergenceGuard, advice
from exitwave.running.initial_estimate import first_estimate, require_suited, with_slices
from exitwave.running.pose import pose
from exitwave.running.stopping import Stop
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.ptychography.quasi_newton import QuasiNewton
from exitwave.solvers.requirements import require_supported
from exitwave.solvers.spec import to_spec

Watch = Callable[[Step[Any], Problem], None]


def default_solver() -> Solver[PtychoEstimate]:
    """The solver that reaches a good image soonest, as docs/benchmarks.md measures: used where none is named."""
    return QuasiNewton()


def iterate(
    scan: Scan,
    solver: Solver[PtychoEstimate],
    *,
    start: PtychoEstimate | None = None,
    modes: int = 1,
    slices: int = 1,
    slice_spacing_m: float | Sequence[float] | None = None,
    exposure_m: tuple[float, float] | None = None,
    exposure_points: int = 5,
    seed: int = 0,
    device: str = "auto",
    memory: str | int | None = None,
) -> Iterator[Step[PtychoEstimate]]:
    """The stream of estimates a solver makes from a scan, one after every epoch."""
    require_suited(solver, scan)
    problem = pose(
        scan,
        seed=seed,
        device=device,
        memory=memory,
        exposure_m=exposure_m,
        exposure_points=exposure_points,
        margin_px=solver.margin_px,
        objects=solver.object_arrays * slices,
    )
    begin = with_slices(first_estimate(problem, start, modes=modes), slices, slice_spacing_m)
    _doubted(solver, problem, begin, guessed=start is None)
    yield from solver.solve(problem, Step(epoch=0, estimate=begin))


def reconstruct(
    scan: Scan,
    solver: Solver[Any] | None = None,
    *,
    start: PtychoEstimate | None = None,
    probe: Complex[Tensor, "mode y x"] | None = None,
    modes: int = 1,
    slices: int = 1,
    slice_spacing_m: float | Sequence[float] | None = None,
    exposure_m: tuple[float, float] | None = None,
    exposure_points: int = 5,
    seed: int = 0,
    device: str = "auto",
    noise: Noise | None = None,
    free_fraction: float = 0.0,
    memory: str | int | None = None,
    stop: Stop | None = None,
    checkpoints: Checkpoints | None = None,
    watch: Watch | None = None,
) -> Result:
    """Turn a scan into an image, by `default_solver()` where none is named.

    `start` is an earlier estimate of the same frames; without it the object starts empty and the probe from `probe` or
    from the data. A thick sample has several `slices`, `slice_spacing_m` of free space apart (one for all gaps or one
    each). `exposure_m` and `exposure_points` describe a fly scan, see `pose`. `free_fraction` of the pixels is held out
    for the free residual. `memory`, such as "8GB", bounds what the run may hold; what does not fit stays on disk.
    `watch` sees every step. Ctrl-C ends the run with the last estimate; the provenance then says `interrupted`. A solver
    that diverges is stopped, and its best estimate so far kept; the provenance then says `diverged` and what to change.
    Where the image may not be trusted, as that of a network trained on other photons, it warns (DoubtfulImageWarning) and keeps
    the `warnings` in the provenance.
    Incoherent modes of the result are orthogonal. Raises InputError where the scan or the start makes no sense or the
    solver cannot honour what is asked, ExitwaveError when the solver diverges before its first finite estimate.
    """
    began = time.perf_counter()
    solver = solver or default_solver()
    require_suited(solver, scan)
    problem = pose(
        scan,
        noise=noise,
        seed=seed,
        device=device,
        free_fraction=free_fraction,
        memory=memory,
        exposure_m=exposure_m,
        exposure_points=exposure_points,
        margin_px=solver.margin_px,
        objects=solver.object_arrays * slices,
    )
    begin = with_slices(first_estimate(problem, start, probe=probe, modes=modes), slices, slice_spacing_m)
    doubts = _doubted(solver, problem, begin, guessed=start is None and probe is None)
    spacing_m = None if slice_spacing_m is None else begin.slice_spacing_m
    identity = _identity(problem, seed, exposure_m, exposure_points, spacing_m)
    record = CheckpointFile(checkpoints=checkpoints, spec=to_spec(solver), identity=identity)
    run = _driven(solver, problem, *record.resumed(Step(epoch=0, estimate=begin)), stop or Stop(), record, watch)
    return _result(problem, record, run, doubts, free_fraction, began)


def _doubted(solver: Solver[Any], problem: Problem, begin: PtychoEstimate, *, guessed: bool) -> tuple[str, ...]:
    """Refuse what the solver cannot do; warn of what it can do but not be trusted with."""
    require_supported(solver, problem, begin)
    found = list(solver.warnings(problem, begin))
    first = next(solver.leaf_solvers())
    if guessed and first.takes_probe_as_given:
        found.append(
            f"the probe was guessed from the data and {first.name} does not improve it; give that of an earlier result "
            "(--probe), or let another solver find it first"
        )
    # Parts of a chain may have the same doubt.
    doubts = tuple(dict.fromkeys(found))
    for doubt in doubts:
        warnings.warn(doubt, DoubtfulImageWarning, stacklevel=3)
    return doubts


def _identity(
    problem: Problem,
    seed: int,
    exposure_m: tuple[float, float] | None,
    exposure_points: int,
    spacing_m: Tensor | None,
) -> dict[str, Any]:
    """What a run that goes on from this one's checkpoint must have in common with it, beside the solver."""
    identity: dict[str, Any] = {"scan_fingerprint": fingerprint(problem), "seed": seed}
    if exposure_m is not None:
        identity |= {"exposure_m": list(exposure_m), "exposure_points": exposure_points}
    if spacing_m is not None:
        identity["slice_spacing_m"] = spacing_m.tolist()
    return identity


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
    problem: Problem,
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
    except KeyboardInterrupt:
        return step, f"interrupted after epoch {step.epoch}"
    return step, "finished"


def _fallen_back(guard: DivergenceGuard, problem: Problem, ending: str) -> tuple[Step[Any], str]:
    """The best estimate of a run that diverged, and how it ended, with advice."""
    best = guard.fallback(problem)
    if best is None:
        raise ExitwaveError(
            f"the solver {ending}; {advice(guard.at_work)}, or look for absurd values in the frames with exitwave info"
        )
    return best, f"{ending}; the estimate after epoch {best.epoch} was kept; {advice(guard.at_work)}"


def _result(
    problem: Problem, record: CheckpointFile, run: _Run, doubts: tuple[str, ...], free_fraction: float, began: float
) -> Result:
    """What was found, how well it fits, and how it was made."""
    step = replace(run.step, estimate=_with_orthogonal_modes(run.step.estimate))
    return Result(
        estimate=step.estimate.to("cpu"),
        spread=None if step.spread is None else step.spread.to("cpu"),
        geometry=problem.scan.geometry,
        spec=record.spec,
        history=tuple(run.history),
        residual=problem.residual(step.estimate),
        free_residual=problem.residual(step.estimate, held_out=True) if free_fraction else None,
        frame_residual=problem.frame_residual(step.estimate),
        provenance={
            "scan": dict(problem.scan.provenance),
            **record.identity,
            **({"warnings": list(doubts)} if doubts else {}),
            "ending": run.ending,
            "epochs": step.epoch,
            "modes": len(step.estimate.probe),
            "slices": len(step.estimate.object),
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


def _with_orthogonal_modes(x: PtychoEstimate) -> PtychoEstimate:
    # Where the first mode varies it is not one of a mixture.
    return x if len(x.probe) == 1 or x.variations is not None else replace(x, probe=orthogonal_modes(x.probe))


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
