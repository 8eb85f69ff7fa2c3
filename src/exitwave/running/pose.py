"""Make a scan a problem for solvers: on a device, within the memory there is, with the motion of a fly scan."""

import math
from dataclasses import replace

import torch

from exitwave.data.checks import check_layout
from exitwave.data.errors import InputError
from exitwave.data.scan import Scan
from exitwave.io.memory import available_memory_bytes, parse_size, size
from exitwave.physics.noise import Noise
from exitwave.physics.ptychography import Ptychography
from exitwave.problems.cdi import isolated_problem
from exitwave.problems.memory_estimate import OBJECTS, memory_estimate
from exitwave.problems.ptychography import Problem, object_canvas


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
    objects: int = OBJECTS,
) -> Problem:
    """Check a scan and make it a problem for solvers; one frame alone is taken for the pattern of an isolated object.

    `memory`, such as "8GB", is what a run may take beside the program itself; all that is free when left out. Frames that
    do not fit stay on disk and are read anew in every epoch. `exposure_m` is the (y, x) travel of the probe during each
    exposure of a fly scan, centred on the position and computed at `exposure_points` places. `margin_px` is the room
    around the outermost frames, `objects` the arrays of the object's size that the solver will hold. Raises InputError
    where it makes no sense or does not fit memory.
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
        _check_travel(exposure_m, model.pixel_m, scan.frame_shape)
    if len(scan) == 1:
        if exposure_m is not None:
            raise InputError("one pattern of an isolated object is seen in an even beam at rest: leave out exposure_m")
        return isolated_problem(scan, noise=noise, seed=seed, device=chosen, free_fraction=free_fraction)
    check_layout(scan)
    _, object_shape = object_canvas(scan, margin_px)
    needed = memory_estimate(scan, object_shape, objects)
    allowed = allowed_bytes(memory, chosen)
    if needed.working > allowed:
        raise InputError(
            f"an object of {object_shape[0]} x {object_shape[1]} pixels from frames of {scan.frame_shape[0]} x "
            f"{scan.frame_shape[1]} needs about {size(needed.working)} of memory but {size(allowed)} are "
            f"{'free' if memory is None else 'free or allowed; allow more'}; check the unit of the positions, or make "
            "frames smaller (preparation step crop or bin)"
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
    """The model of a fly scan whose probe travels `exposure_m` (y, x) during every exposure; see `pose`."""
    travel_px = [length / pixel for length, pixel in zip(exposure_m, model.pixel_m, strict=True)]
    if not all(math.isfinite(t) for t in travel_px) or not 2 <= exposure_points <= 100:
        raise InputError(
            f"exposure_m is {exposure_m} with {exposure_points} points; expected metres and 2 to 100 points, 5 is usual"
        )
    places = (torch.arange(exposure_points, dtype=torch.float64) + 0.5) / exposure_points - 0.5
    path = places[:, None] * torch.tensor(travel_px, dtype=torch.float64)
    return replace(model, exposure_px=path.expand(frames, -1, -1))
