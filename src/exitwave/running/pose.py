"""Make a measurement a problem for solvers: on a device, within the memory there is, with the motion of a fly scan."""

import math
from dataclasses import replace
from functools import singledispatch
from typing import Any, TypeVar

import torch

from exitwave.data.checks import check_layout
from exitwave.data.errors import InputError
from exitwave.data.joined_scans import JoinedScans
from exitwave.data.measurement import Measurement
from exitwave.data.pattern import Pattern
from exitwave.data.rocking_curve import RockingCurve
from exitwave.data.scan import Scan
from exitwave.io.memory import available_memory_bytes, parse_size, size
from exitwave.physics.ptychography import Ptychography
from exitwave.problems.base import Problem
from exitwave.problems.bragg import BraggProblem, rocking_problem
from exitwave.problems.cdi import SupportProblem, pattern_problem
from exitwave.problems.memory_estimate import OBJECTS, memory_estimate
from exitwave.problems.objective import noise_of
from exitwave.problems.ptychography import MemoryBudget, PtychographyProblem, object_canvas
from exitwave.problems.setup import Setup
from exitwave.problems.shared_probe import SharedProbeProblem
from exitwave.solvers.base import Solver

K = TypeVar("K", bound=PtychographyProblem)


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


@singledispatch
def pose(measurement: Measurement, setup: Setup | None = None, *, solver: Solver[Any] | None = None) -> Problem[Any]:
    """Check a measurement and make it a problem for solvers: a Scan, a Pattern, a RockingCurve, or what another package has registered.

    `setup` says how; the `solver` that will be at work says how much room it needs around the outermost frames and in
    memory. Frames that do not fit into the memory that `setup` allows stay on disk and are read anew in every epoch. Raises
    InputError where the measurement makes no sense or does not fit memory.
    """
    raise InputError(
        f"there is no problem for a measurement of type {type(measurement).__name__}; expected a Scan, Pattern or RockingCurve, or "
        "register its kind with exitwave.pose.register"
    )


@pose.register
def _(scan: Scan, setup: Setup | None = None, *, solver: Solver[Any] | None = None) -> PtychographyProblem:
    setup = setup or Setup()
    if setup.same_object:
        raise InputError("same_object is for several scans, but one is given; leave it out, or give all views")
    check_layout(scan)
    return _posed(PtychographyProblem, scan, setup, solver)


@pose.register
def _(scans: JoinedScans, setup: Setup | None = None, *, solver: Solver[Any] | None = None) -> SharedProbeProblem:
    return _posed(SharedProbeProblem, scans, setup or Setup(), solver)


def _posed(kind: type[K], scan: Scan, setup: Setup, solver: Solver[Any] | None) -> K:
    """A scan whose layout was checked as a problem of this kind."""
    device, model = choose_device(setup.device), None
    if setup.exposure_m is not None:
        still = Ptychography.of(scan.geometry, scan.frame_shape, device=device)
        _check_travel(setup.exposure_m, still.pixel_m, scan.frame_shape)
        model = in_flight(still, len(scan), setup.exposure_m, setup.exposure_points)
    canvas = object_canvas(scan, 4 if solver is None else solver.margin_px)
    objects = (OBJECTS if solver is None else solver.object_arrays) * setup.slices
    needed = memory_estimate(scan, canvas.shape, objects)
    allowed = allowed_bytes(setup.memory, device)
    if needed.working > allowed:
        raise InputError(
            f"an object of {canvas.shape[0]} x {canvas.shape[1]} pixels from frames of {scan.frame_shape[0]} x "
            f"{scan.frame_shape[1]} needs about {size(needed.working)} of memory but {size(allowed)} are "
            f"{'free' if setup.memory is None else 'free or allowed; allow more'}; check the unit of the positions, or make "
            "frames smaller (preparation step crop or bin)"
        )
    problem = kind.on_canvas(
        scan,
        canvas,
        model=model,
        seed=setup.seed,
        device=device,
        free_fraction=setup.free_fraction,
        memory=MemoryBudget(cached=(allowed - needed.working) // 2, spare=needed.spare(allowed)),
        # Whoever says which frames to keep has looked at them.
        robust=setup.robust and setup.keep_frames is None,
    )
    noise = None if setup.noise is None else noise_of(setup.noise, problem)
    return problem if noise is None else replace(problem, noise=noise)


@pose.register
def _(pattern: Pattern, setup: Setup | None = None, *, solver: Solver[Any] | None = None) -> SupportProblem:
    setup = setup or Setup()
    return pattern_problem(
        pattern,
        seed=setup.seed,
        device=choose_device(setup.device),
        free_fraction=setup.free_fraction,
        support=setup.support,
        blur_px=setup.coherence_px,
    )


@pose.register
def _(curve: RockingCurve, setup: Setup | None = None, *, solver: Solver[Any] | None = None) -> BraggProblem:
    setup = setup or Setup()
    return rocking_problem(
        curve,
        seed=setup.seed,
        device=choose_device(setup.device),
        free_fraction=setup.free_fraction,
        support=setup.support,
        blur_px=setup.coherence_px,
    )


def _check_travel(exposure_m: tuple[float, float], pixel_m: tuple[float, float], window: tuple[int, int]) -> None:
    travel_px = [abs(length / pixel) for length, pixel in zip(exposure_m, pixel_m, strict=True)]
    if any(travel > size for travel, size in zip(travel_px, window, strict=True)):
        raise InputError(
            f"exposure_m is {exposure_m}, a travel of {max(travel_px):.3g} object pixels; expected less than the window of "
            f"{window[0]} x {window[1]}: it is in metres"
        )


def allowed_bytes(memory: str | int | None, device: torch.device) -> int:
    """Bytes that a run may take: what is free, where the amplitudes will lie too, and no more than was allowed."""
    free = available_memory_bytes()
    if device.type == "cuda":
        free = min(free, torch.cuda.mem_get_info(device)[0])
    return free if memory is None else min(free, parse_size(memory))


def in_flight(model: Ptychography, frames: int, exposure_m: tuple[float, float], exposure_points: int) -> Ptychography:
    """The model of a fly scan whose probe travels `exposure_m` (y, x) during every exposure; see `Setup`."""
    travel_px = [length / pixel for length, pixel in zip(exposure_m, model.pixel_m, strict=True)]
    if not all(math.isfinite(t) for t in travel_px):
        raise InputError(f"exposure_m is {exposure_m}; expected the travel (y, x) during an exposure in metres")
    places = (torch.arange(exposure_points, dtype=torch.float64) + 0.5) / exposure_points - 0.5
    path = places[:, None] * torch.tensor(travel_px, dtype=torch.float64)
    return replace(model, exposure_px=path.expand(frames, -1, -1))
