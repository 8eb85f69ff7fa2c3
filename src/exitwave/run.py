"""Pose, iterate, reconstruct: the driver around every solver, with checkpoints, early stop and interruption."""

import hashlib
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
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
from exitwave.io import checkpoints as states
from exitwave.physics.guess import first_guess
from exitwave.physics.noise import Noise
from exitwave.physics.problem import Problem, canvas
from exitwave.physics.ptychography import Ptychography
from exitwave.solver import Solver, Step, to_spec

SOLVER_FAMILIES = (iterative,)
"""Imported so that their solvers are registered."""


@dataclass(frozen=True, kw_only=True)
class Stop:
    """When to end before the solver does."""

    residual: float | None = None
    """As soon as the residual of an epoch is at or below this."""
    patience: int | None = None
    """After so many epochs without improvement of the residual by `least_gain`."""
    least_gain: float = 1e-3
    """Relative improvement that counts."""

    def reached(self, history: list[float]) -> bool:
        """Whether a run with this history of residuals should end."""
        if not history:
            return False
        if self.residual is not None and history[-1] <= self.residual:
            return True
        if self.patience is None or len(history) <= self.patience:
            return False
        before = min(history[: -self.patience])
        return min(history[-self.patience :]) > before * (1 - self.least_gain)


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Where and how often a run saves its state. A run that is killed loses at most `every` epochs."""

    path: Path
    every: int = 10
    """Epochs between two checkpoints."""
    resume: bool = False
    """Go on from the file if it exists; exact, as if the run had never stopped."""


def choose_device(name: str = "auto") -> torch.device:
    """The device called `name`; "auto" is the GPU where there is one. Raises InputError where it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {name!r} is not available here; use auto, cpu, or cuda on a machine with a GPU") from error
    return device


def pose(
    scan: Scan,
    *,
    model: Ptychography | None = None,
    noise: Noise | None = None,
    seed: int = 0,
    device: str = "auto",
    free_fraction: float = 0.0,
) -> Problem:
    """Check a scan and make it a problem for solvers. Raises InputError where it makes no sense or does not fit memory."""
    chosen = choose_device(device)
    positions_px, object_shape = canvas(scan, 4)
    del positions_px
    free = available_memory_bytes()
    object_bytes = 8 * math.prod(object_shape)
    if 6 * object_bytes > free:
        raise InputError(
            f"an object of {object_shape[0]} x {object_shape[1]} pixels needs about {6 * object_bytes / 2**30:.1f} GiB but "
            f"{free / 2**30:.1f} GiB are free; check the unit of the positions, or bin the frames (preparation step bin: 2)"
        )
    return Problem.of(
        scan,
        model=model,
        noise=noise,
        seed=seed,
        device=chosen,
        free_fraction=free_fraction,
        most_cached_bytes=(free - 6 * object_bytes) // 2,
    )


def available_memory_bytes() -> int:
    """Memory that can still be taken without swapping."""
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def iterate(
    scan: Scan,
    solver: Solver[PtychoEstimate],
    *,
    start: PtychoEstimate | None = None,
    modes: int = 1,
    seed: int = 0,
    device: str = "auto",
) -> Iterator[Step[PtychoEstimate]]:
    """The stream of estimates a solver makes from a scan, one after every epoch."""
    problem = pose(scan, seed=seed, device=device)
    yield from solver.solve(problem, Step(epoch=0, estimate=_start(problem, start, None, modes)))


def reconstruct(
    scan: Scan,
    solver: Solver[Any],
    *,
    start: PtychoEstimate | None = None,
    probe: Complex[Tensor, "mode y x"] | None = None,
    modes: int = 1,
    seed: int = 0,
    device: str = "auto",
    noise: Noise | None = None,
    free_fraction: float = 0.0,
    stop: Stop | None = None,
    checkpoints: Checkpoints | None = None,
    watch: Callable[[Step[Any], Problem], None] | None = None,
) -> Result:
    """Turn a scan into an image.

    `start` is an earlier estimate of the same frames; without it the object starts empty and the probe from `probe` or
    from the data. `free_fraction` of the pixels is held out for the free residual. `watch` sees every step. Ctrl-C ends
    the run with the last estimate; the provenance then says `interrupted`. Raises InputError where the scan or the start
    makes no sense, ExitwaveError when the solver diverges before its first finite estimate.
    """
    began = time.perf_counter()
    problem = pose(scan, noise=noise, seed=seed, device=device, free_fraction=free_fraction)
    identity = fingerprint(problem)
    spec = to_spec(solver)
    history: list[float] = []
    step: Step[Any] = Step(epoch=0, estimate=_start(problem, start, probe, modes))
    if checkpoints and checkpoints.resume and checkpoints.path.exists():
        step, history = _resume(checkpoints.path, spec, identity)
    ending = "finished"
    try:
        for new in solver.solve(problem, step):
            if not math.isfinite(new.residual):
                ending = f"diverged in epoch {new.epoch}"
                break
            step = new
            history.append(new.residual)
            if watch:
                watch(new, problem)
            if checkpoints and new.epoch % checkpoints.every == 0:
                _save(checkpoints.path, step, history, spec, identity)
            if stop and stop.reached(history):
                ending = f"stopped early after epoch {new.epoch}"
                break
    except KeyboardInterrupt:
        ending = f"interrupted after epoch {step.epoch}"
    if ending.startswith("diverged") and not history:
        raise ExitwaveError(f"the solver {ending}: the residual is not finite; lower its gains or raise its regularisation")
    frame_residual = problem.frame_residual(step.estimate)
    return Result(
        estimate=step.estimate.to("cpu"),
        spread=None if step.spread is None else step.spread.to("cpu"),
        geometry=scan.geometry,
        spec=spec,
        history=tuple(history),
        residual=problem.residual(step.estimate),
        free_residual=problem.residual(step.estimate, held_out=True) if free_fraction else None,
        frame_residual=frame_residual,
        provenance={
            "scan": dict(scan.provenance),
            "scan_fingerprint": identity,
            "ending": ending,
            "epochs": step.epoch,
            "seed": seed,
            "modes": len(step.estimate.probe),
            "free_fraction": free_fraction,
            "device": _device_name(problem.device),
            "threads": torch.get_num_threads(),
            "seconds": round(time.perf_counter() - began, 3),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {name: version(name) for name in ("exitwave", "torch", "numpy")} | {"python": platform.python_version()},
        },
    )


def _start(
    problem: Problem, start: PtychoEstimate | None, probe: Complex[Tensor, "mode y x"] | None, modes: int
) -> PtychoEstimate:
    if start is None:
        return first_guess(problem, modes=modes, probe=probe)
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
    top = start.positions_px.amax(dim=0).ceil() + torch.tensor(problem.scan.frame_shape)
    if bool((start.positions_px.amin(dim=0) < -0.5).any()) or bool((top > torch.tensor(start.object.shape[-2:])).any()):
        raise InputError("the start's positions lie outside its object array; it is damaged or was edited")
    return start.to(problem.device)


def fingerprint(problem: Problem) -> str:
    """A short name for exactly this measurement: geometry, positions, mask and photons of every frame."""
    digest = hashlib.sha256(repr(problem.scan.geometry).encode())
    for array in (problem.scan.positions_m, problem.scan.mask, problem.survey.photons_per_frame, problem.trusted.cpu()):
        digest.update(array.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _save(
    path: Path, step: Step[PtychoEstimate], history: list[float], spec: Mapping[str, Any], identity: str
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
            provenance={"scan_fingerprint": identity},
        ),
    )


def _resume(path: Path, spec: Mapping[str, Any], identity: str) -> tuple[Step[PtychoEstimate], list[float]]:
    saved = states.read_checkpoint(path)
    if saved.provenance.get("scan_fingerprint") != identity:
        raise InputError(f"{path} was saved for another scan or another preparation or seed of it; remove it or start anew")
    if {**saved.spec, "epochs": None} != {**spec, "epochs": None}:
        raise InputError(f"{path} was saved by {dict(saved.spec)} but this run is {dict(spec)}; use the same options to resume")
    return Step(epoch=saved.epoch, estimate=saved.estimate, memory=saved.memory), list(saved.history)


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
    watch: Callable[[Step[Any], Problem], None] | None = None,
) -> tuple[Result, Result]:
    """Reconstruct two disjoint halves of the frames independently, on one canvas, from data alone.

    Both start from an empty object and a probe guessed from their own frames; only the canvas is shared with `result`.
    """
    made: list[Result] = []
    for index in halves(scan, seed):
        part = prepare.select(scan, index)
        problem = pose(part, seed=seed, device=device)
        guess = first_guess(problem, modes=len(result.estimate.probe))
        blank = torch.ones_like(result.estimate.object)
        start = replace(guess, object=blank, positions_px=result.estimate.positions_px[index])
        made.append(reconstruct(part, solver, start=start, seed=seed, device=device, watch=watch))
    return made[0], made[1]
