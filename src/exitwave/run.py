"""Pose, iterate, reconstruct: the driver around every solver, with checkpoints, early stop and interruption."""

import hashlib
import math
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Complex
from torch import Tensor

import exitwave.iterative as iterative
from exitwave.data import prepare
from exitwave.data.errors import ExitwaveError, InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.result import Checkpoint, Result
from exitwave.data.scan import Scan
from exitwave.data.survey import check_layout
from exitwave.endings import Guard, Stop, advice
from exitwave.io import checkpoints as states
from exitwave.io.memory import available_memory_bytes, parse_size, size
from exitwave.physics.constraints import orthogonal_modes
from exitwave.physics.guess import first_guess, more_modes, scale_to_photons
from exitwave.physics.isolated import IsolatedProblem, isolated_guess, isolated_problem
from exitwave.physics.needs import needs
from exitwave.physics.noise import Noise
from exitwave.physics.problem import Problem, canvas
from exitwave.physics.ptychography import Ptychography
from exitwave.solver import Solver, Step, from_spec as from_spec, require_able, solvers as solvers, to_spec

SOLVER_FAMILIES = (iterative,)
"""Imported so that their solvers are registered: users get `from_spec` and `solvers` from here, where all are known."""


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Where and how often a run saves its state. A run that is killed loses at most `every` epochs."""

    path: Path
    every: int = 10
    """Epochs between two checkpoints."""
    resume: bool = False
    """Go on from the file if it exists; exact, as if the run had never stopped."""


def default_solver() -> Solver[PtychoEstimate]:
    """The solver that reaches a good image soonest, as docs/benchmarks.md measures: used where none is named."""
    return iterative.second_order.QuasiNewton()


def choose_device(name: str = "auto") -> torch.device:
    """The device called `name`; "auto" is the GPU where there is one. Raises InputError where it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device {name!r} is not available here; use auto, cpu, or cuda on a machine with a GPU"
        ) from error
    return device


def pose(
    scan: Scan,
    *,
    model: Ptychography | None = None,
    noise: Noise | None = None,
    seed: int = 0,
    device: str = "auto",
    free_fraction: float = 0.0,
    memory: str | int | None = None,
    exposure_m: tuple[float, float] | None = None,
    exposure_points: int = 5,
    margin_px: int = 4,
) -> Problem:
    """Check a scan and make it a problem for solvers; one frame alone is taken for the pattern of an isolated object.

    `memory`, such as "8GB", is what a run may take beside the program itself; all that is free when left out. Frames that
    do not fit stay on disk and are read anew in every epoch. `exposure_m` is the (y, x) travel of the probe during each
    exposure of a fly scan, centred on the position and computed at `exposure_points` places. `margin_px` is the room
    around the outermost frames. Raises InputError where it makes no sense or does not fit memory.
    """
    chosen = choose_device(device)
    if not 0 <= seed < 2**32:
        raise InputError(f"seed is {seed}; expected a whole number from 0 to {2**32 - 1}")
    if exposure_m is not None:
        model = in_flight(
            model or Ptychography.of(scan.geometry, scan.frame_shape, device=chosen),
            len(scan),
            exposure_m,
            exposure_points,
        )
    if len(scan) == 1:
        if exposure_m is not None:
            raise InputError("one pattern of an isolated object is seen in an even beam at rest: leave out exposure_m")
        return isolated_problem(scan, noise=noise, seed=seed, device=chosen, free_fraction=free_fraction)
    check_layout(scan)
    _, object_shape = canvas(scan, margin_px)
    needed = needs(scan, object_shape)
    allowed = allowed_bytes(memory, chosen)
    if needed.working > allowed:
        raise InputError(
            f"an object of {object_shape[0]} x {object_shape[1]} pixels from frames of {scan.frame_shape[0]} x "
            f"{scan.frame_shape[1]} needs about {size(needed.working)} of memory but {size(allowed)} are "
            f"{'free' if memory is None else 'free or allowed'}; check the unit of the positions, or make frames smaller "
            "(preparation step crop or bin)"
        )
    return Problem.of(
        scan,
        model=model,
        noise=noise,
        seed=seed,
        device=chosen,
        margin_px=margin_px,
        free_fraction=free_fraction,
        most_cached_bytes=(allowed - needed.working) // 2,
        spare_bytes=needed.spare(allowed),
    )


def allowed_bytes(memory: str | int | None, device: torch.device) -> int:
    """Bytes that a run may take: what is free, where the amplitudes will lie too, and no more than was allowed."""
    free = available_memory_bytes()
    if device.type == "cuda":
        free = min(free, torch.cuda.mem_get_info(device)[0])
    return free if memory is None else min(free, parse_size(memory))


def in_flight(model: Ptychography, frames: int, exposure_m: tuple[float, float], exposure_points: int) -> Ptychography:
    """The model of a fly scan whose probe travels `exposure_m` (y, x) during every exposure; see `pose`."""
    travel_px = [length / pixel for length, pixel in zip(exposure_m, model.pixel_m, strict=True)]
    if not all(math.isfinite(t) for t in travel_px) or not 2 <= exposure_points <= 100:
        raise InputError(
            f"exposure_m is {exposure_m} with {exposure_points} points; expected metres and 2 to 100 points, 5 is usual"
        )
    places = (torch.arange(exposure_points, dtype=torch.float64) + 0.5) / exposure_points - 0.5
    path = places[:, None] * torch.tensor(travel_px, dtype=torch.float64)
    return replace(model, exposure_px=path.expand(frames, -1, -1))


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
    _check_suits(solver, scan)
    problem = pose(
        scan,
        seed=seed,
        device=device,
        memory=memory,
        exposure_m=exposure_m,
        exposure_points=exposure_points,
        margin_px=solver.margin_px,
    )
    begin = _thick(_start(problem, start, None, modes), slices, slice_spacing_m)
    require_able(solver, problem, begin)
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
    watch: Callable[[Step[Any], Problem], None] | None = None,
) -> Result:
    """Turn a scan into an image, by `default_solver()` where none is named.

    `start` is an earlier estimate of the same frames; without it the object starts empty and the probe from `probe` or
    from the data. A thick sample has several `slices`, `slice_spacing_m` of free space apart (one for all gaps or one
    each). `exposure_m` and `exposure_points` describe a fly scan, see `pose`. `free_fraction` of the pixels is held out
    for the free residual. `memory`, such as "8GB", bounds what the run may hold; what does not fit stays on disk.
    `watch` sees every step. Ctrl-C ends the run with the last estimate; the provenance then says `interrupted`. A solver
    that diverges is stopped, and its best estimate so far kept; the provenance then says `diverged` and what to change.
    Incoherent modes of the result are orthogonal. Raises InputError where the scan or the start makes no sense or the
    solver cannot honour what is asked, ExitwaveError when the solver diverges before its first finite estimate.
    """
    began = time.perf_counter()
    solver = solver or default_solver()
    _check_suits(solver, scan)
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
    )
    agreed: dict[str, Any] = {"scan_fingerprint": fingerprint(problem), "seed": seed}
    if exposure_m is not None:
        agreed |= {"exposure_m": list(exposure_m), "exposure_points": exposure_points}
    spec = to_spec(solver)
    history: list[float] = []
    step: Step[Any] = Step(epoch=0, estimate=_thick(_start(problem, start, probe, modes), slices, slice_spacing_m))
    if slice_spacing_m is not None:
        agreed["slice_spacing_m"] = step.estimate.slice_spacing_m.tolist()
    require_able(solver, problem, step.estimate)
    if checkpoints and checkpoints.resume and checkpoints.path.exists():
        step, history = _resume(checkpoints.path, spec, agreed, step.estimate)

    def save(state: Step[Any], *, due: bool) -> None:
        if checkpoints and due and history:
            _save(checkpoints.path, state, history, spec, agreed)

    def each(state: Step[Any]) -> None:
        history.append(state.residual)
        if watch:
            watch(state, problem)
        save(state, due=checkpoints is not None and state.epoch % checkpoints.every == 0)

    guard = Guard(solver, step, history)
    started = time.perf_counter()
    step, ending = _drive(solver.solve(problem, step), step, history, stop or Stop(), each, guard)
    taken = time.perf_counter() - started
    if ending.startswith("diverged"):
        step, ending = _fallen_back(guard, problem, solver, ending)
    save(step, due=ending.startswith("interrupted"))
    step = replace(step, estimate=_with_orthogonal_modes(step.estimate))
    return Result(
        estimate=step.estimate.to("cpu"),
        spread=None if step.spread is None else step.spread.to("cpu"),
        geometry=scan.geometry,
        spec=spec,
        history=tuple(history),
        residual=problem.residual(step.estimate),
        free_residual=problem.residual(step.estimate, held_out=True) if free_fraction else None,
        frame_residual=problem.frame_residual(step.estimate),
        provenance={
            "scan": dict(scan.provenance),
            **agreed,
            "ending": ending,
            "epochs": step.epoch,
            "modes": len(step.estimate.probe),
            "slices": len(step.estimate.object),
            "free_fraction": free_fraction,
            "device": _device_name(problem.device),
            "threads": torch.get_num_threads(),
            "seconds": round(time.perf_counter() - began, 3),
            "solver_seconds": round(taken, 3),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {name: version(name) for name in ("exitwave", "torch", "numpy")}
            | {"python": platform.python_version()},
        },
    )


def _with_orthogonal_modes(x: PtychoEstimate) -> PtychoEstimate:
    # Where the first mode varies it is not one of a mixture.
    return x if len(x.probe) == 1 or x.variations is not None else replace(x, probe=orthogonal_modes(x.probe))


def _drive(
    steps: Iterator[Step[Any]],
    step: Step[Any],
    history: list[float],
    stop: Stop,
    each: Callable[[Step[Any]], None],
    guard: Guard,
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


def _fallen_back(guard: Guard, problem: Problem, solver: Solver[Any], ending: str) -> tuple[Step[Any], str]:
    """The best estimate of a run that diverged, and how it ended, with advice."""
    best = guard.fallback(problem)
    if best is None:
        raise ExitwaveError(
            f"the solver {ending}; {advice(solver)}, or look for absurd values in the frames with exitwave info"
        )
    return best, f"{ending}; the estimate after epoch {best.epoch} was kept; {advice(solver)}"


def _check_suits(solver: Solver[Any], scan: Scan) -> None:
    """Refuse methods of ptychography for one pattern and those of one pattern for a scan, each by its name."""
    for part in solver.parts():
        if part.one_pattern and len(scan) > 1:
            raise InputError(
                f"{part.name} phases one pattern of an isolated object but the scan has {len(scan)} frames; use a method "
                "of ptychography such as rpie, or take one frame with the preparation step select=0:1"
            )
        if part.one_pattern and solver.brings:
            raise InputError(
                f"{part.name} phases one pattern in an even, known beam, so that there is nothing to refine: leave out "
                f"{', '.join(sorted(solver.brings))}"
            )
        if not part.one_pattern and len(scan) == 1:
            raise InputError(
                f"1 frame is not a ptychography scan; expected several overlapping positions for {part.name}. One pattern of "
                "an isolated object can be phased with cdi, or er, hio and cdi_raar"
            )


def _start(
    problem: Problem, start: PtychoEstimate | None, probe: Complex[Tensor, "mode y x"] | None, modes: int
) -> PtychoEstimate:
    if probe is not None and not bool(torch.view_as_real(probe).isfinite().all() and probe.abs().any()):
        raise InputError(
            "the probe to start from is empty or holds values that are not finite; start from another file"
        )
    if isinstance(problem, IsolatedProblem):
        if modes > 1 or probe is not None:
            raise InputError("one pattern of an isolated object is phased for an even beam: leave out modes and probe")
        return isolated_guess(problem) if start is None else problem.started(start)
    if start is None:
        return first_guess(problem, modes=modes, probe=probe)
    _check_start(problem, start)
    chosen = start.probe if probe is None else scale_to_photons(probe.to(torch.complex64), problem)
    if chosen.shape[-2:] != start.probe.shape[-2:]:
        raise InputError(f"the probe is {tuple(chosen.shape[-2:])} pixels but frames are {problem.scan.frame_shape}")
    return replace(start, probe=chosen if len(chosen) >= modes else more_modes(chosen, modes)).to(problem.device)


def _thick(x: PtychoEstimate, slices: int, spacing_m: float | Sequence[float] | None) -> PtychoEstimate:
    """The start with as many slices as asked for: what it knows of one slice stands in the first, the others are empty."""
    if slices == 1 and spacing_m is None:
        return x
    if x.support is not None:
        raise InputError(
            "an isolated object phased from one pattern has one slice: leave out slices and slice_spacing_m"
        )
    if slices < 2 or spacing_m is None:
        raise InputError(
            f"slices is {slices} and slice_spacing_m {spacing_m}; a thick sample needs at least 2 slices and their spacing"
        )
    spacings = (
        [float(spacing_m)] * (slices - 1) if isinstance(spacing_m, int | float) else [float(s) for s in spacing_m]
    )
    if len(spacings) != slices - 1 or not all(math.isfinite(s) and s > 0 for s in spacings):
        raise InputError(
            f"slice_spacing_m is {spacings} for {slices} slices; give one positive length, or {slices - 1}, in metres"
        )
    if len(x.object) not in (1, slices):
        raise InputError(f"the start has {len(x.object)} slices but {slices} are asked for; leave one of them out")
    empty = torch.ones_like(x.object[:1]).expand(slices - len(x.object), -1, -1)
    spaced = torch.tensor(spacings, dtype=torch.float64, device=x.object.device)
    # Together: an estimate of several slices without spacings is none.
    return replace(x, object=torch.cat([x.object, empty]), slice_spacing_m=spaced)


def _check_start(problem: Problem, start: PtychoEstimate) -> None:
    if len(start.positions_px) != len(problem):
        raise InputError(
            f"the start was made from {len(start.positions_px)} frames but the scan has {len(problem)}; start from a result "
            "of the same frames, or take only its probe (--probe)"
        )
    if tuple(start.probe.shape[-2:]) != problem.scan.frame_shape:
        raise InputError(
            f"the start's probe is {tuple(start.probe.shape[-2:])} pixels but frames are {problem.scan.frame_shape}; prepare "
            "the scan (crop, bin, pad) as it was when the start was made"
        )
    for name, values in (("object", start.object), ("probe", start.probe), ("positions", start.positions_px)):
        if not bool((torch.view_as_real(values) if values.is_complex() else values).isfinite().all()):
            raise InputError(f"the start's {name} holds values that are not finite; start from another file")
    # Windows lie on the nearest whole pixel; refined positions may stand up to half a pixel beyond the last one.
    top = start.positions_px.amax(dim=0).round() + torch.tensor(problem.scan.frame_shape)
    if bool((start.positions_px.amin(dim=0) < -0.5).any()) or bool((top > torch.tensor(start.object.shape[-2:])).any()):
        raise InputError("the start's positions lie outside its object array; it is damaged or was edited")


def fingerprint(problem: Problem) -> str:
    """A short name for exactly this measurement: geometry, positions, mask and photons of every frame."""
    digest = hashlib.sha256(repr(problem.scan.geometry).encode())
    for array in (problem.scan.positions_m, problem.scan.mask, problem.survey.photons_per_frame, problem.trusted.cpu()):
        digest.update(array.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _save(
    path: Path, step: Step[PtychoEstimate], history: list[float], spec: Mapping[str, Any], origin: Mapping[str, Any]
) -> None:
    memory = {name: value.to("cpu") for name, value in step.memory.items()}
    states.write_checkpoint(
        path,
        Checkpoint(
            estimate=step.estimate.to("cpu"),
            epoch=step.epoch,
            history=tuple(history),
            memory=memory,
            spec=spec,
            provenance=origin,
        ),
    )


def _resume(
    path: Path, spec: Mapping[str, Any], origin: Mapping[str, Any], start: PtychoEstimate
) -> tuple[Step[PtychoEstimate], list[float]]:
    saved = states.read_checkpoint(path)
    if dict(saved.provenance) != dict(origin):
        raise InputError(f"{path} was saved for another scan, preparation or seed; remove it or start anew")
    if _but_for_epochs(saved.spec) != _but_for_epochs(spec):
        raise InputError(
            f"{path} was saved by {dict(saved.spec)} but this run is {dict(spec)}; use the same options to resume"
        )
    if _shapes(saved.estimate) != _shapes(start):
        raise InputError(
            f"{path} holds object, probe and positions of shape {_shapes(saved.estimate)} but this run needs "
            f"{_shapes(start)}; use the same modes and start to resume, or remove it"
        )
    return Step(epoch=saved.epoch, estimate=saved.estimate, memory=saved.memory), list(saved.history)


def _but_for_epochs(spec: Mapping[str, Any]) -> dict[str, Any]:
    inner = spec.get("solver")
    return {**spec, "epochs": None} | ({"solver": _but_for_epochs(inner)} if isinstance(inner, Mapping) else {})


def _shapes(x: PtychoEstimate) -> tuple[tuple[int, ...], ...]:
    return tuple(x.object.shape), tuple(x.probe.shape), tuple(x.positions_px.shape)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()


def halves(scan: Scan, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two disjoint random halves of the frames, each in scan order."""
    order = torch.randperm(len(scan), generator=torch.Generator().manual_seed(seed))
    middle = len(scan) // 2
    return order[:middle].sort().values, order[middle:].sort().values


def reconstruct_halves(
    scan: Scan,
    solver: Solver[Any],
    result: Result,
    *,
    seed: int = 0,
    device: str = "auto",
    memory: str | int | None = None,
    watch: Callable[[Step[Any], Problem], None] | None = None,
) -> tuple[Result, Result]:
    """Reconstruct two disjoint halves of the frames independently, on one canvas, from data alone.

    Both start from an empty object and a probe guessed from their own frames; only the canvas is shared with `result`.
    """
    if len(scan) < 4:
        raise InputError(f"{len(scan)} frames have no halves to compare; a scan of many frames is needed")
    made: list[Result] = []
    for index in halves(scan, seed):
        part = prepare.select(scan, index)
        problem = pose(part, seed=seed, device=device, memory=memory)
        guess = first_guess(problem, modes=len(result.estimate.probe))
        blank = torch.ones_like(result.estimate.object)
        start = replace(
            guess,
            object=blank,
            positions_px=result.estimate.positions_px[index],
            slice_spacing_m=result.estimate.slice_spacing_m,
        )
        travel, points = result.provenance.get("exposure_m"), result.provenance.get("exposure_points")
        half = reconstruct(
            part,
            solver,
            start=start,
            exposure_m=None if travel is None else (float(travel[0]), float(travel[1])),
            exposure_points=int(points or 5),
            seed=seed,
            device=device,
            memory=memory,
            watch=watch,
        )
        made.append(half)
    return made[0], made[1]
