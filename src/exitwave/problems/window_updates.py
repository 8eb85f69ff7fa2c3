"""Steps of the object inside the windows of a batch, each pixel once: what methods do with the sums of a `Sweep`."""

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from exitwave.physics.kernels import dispatch as kernels
from exitwave.problems.sweep import Observer, Sweep


def step_object(sweep: Sweep, frames: Int[Tensor, " frame"], *, gain: float, share: float, floor: float) -> None:
    """object += gain descent / (share illumination + floor) in the windows of these frames; empties the sums there."""
    corners, sums = sweep.corners[frames], sweep.sums
    for canvas, total, lit in zip(sweep.x.object, sums.object_descent, sums.illumination, strict=True):
        kernels.step_windows_(canvas, total, lit, corners, sweep.shape, gain=gain, share=share, floor=floor)


def nudge_object(
    sweep: Sweep,
    frames: Int[Tensor, " frame"],
    wished: Complex[Tensor, "slice Y X"],
    weight: Float[Tensor, "slice Y X"],
    *,
    floor: float,
) -> None:
    """object += descent / (illumination + floor) in the windows, after `wished` got the full step times its illumination.

    wished / weight is then the mean of what all batches asked for. Empties the sums there.
    """
    corners, sums = sweep.corners[frames], sweep.sums
    arrays = zip(sweep.x.object, sums.object_descent, sums.illumination, wished, weight, strict=True)
    for canvas, total, lit, mean, heavy in arrays:
        kernels.nudge_windows_(canvas, total, lit, mean, heavy, corners, sweep.shape, floor=floor)


def object_direction(
    sweep: Sweep,
    frames: Int[Tensor, " frame"],
    probe_step: Complex[Tensor, "mode y x"],
    *,
    share: float,
    floor: float,
) -> tuple[float, float, float]:
    """Make the object's sums D = descent / (share illumination + floor) in the windows; curvature and slope along D.

    The linearised misfit falls by 2 a slope - a^2 curvature for the step a D. Use D up with `step_along`. The last number
    is the real part of the sum over frames of <D P, probe_step q>: how far steps of object and probe do the same.
    """
    corners, curvature, slope, shared = sweep.corners[frames], 0.0, 0.0, 0.0
    weight = (sweep.x.probe.conj() * probe_step).sum(dim=0)
    for number, (canvas, total, lit) in enumerate(
        zip(sweep.x.object, sweep.sums.object_descent, sweep.sums.illumination, strict=True)
    ):
        found = kernels.direction_(total, lit, canvas, weight, corners, share=share, floor=floor)
        curvature, slope = curvature + found[0], slope + found[1]
        shared = found[2] if number == 0 else shared
    return curvature, slope, shared


def step_along(sweep: Sweep, frames: Int[Tensor, " frame"], length: float) -> None:
    """object += length D in the windows of these frames; empties the sums there."""
    step_object(sweep, frames, gain=length, share=0.0, floor=1.0)


def pie_update(
    sweep: Sweep,
    frames: Int[Tensor, " frame"],
    *,
    alpha: float,
    beta: float,
    gains: tuple[float, float],
    with_probe: bool,
    observer: Observer | None = None,
) -> float:
    """One batch: modulus constraint, then object and probe by table 1 of Maiden, Johnson & Li, Optica 4, 736 (2017).

    `gains` are the step lengths of object and probe. Denominators hold the illumination summed over the batch: for a batch of
    one this is the table, and larger batches stay stable where windows overlap. Returns the misfit met.
    """
    sums = sweep.over(frames, with_probe=with_probe, observer=observer)
    if with_probe:
        bright = torch.lerp(sums.probe_weight, sums.probe_weight.max(), beta).clamp_(min=1e-30)
        sweep.x.probe.add_(sums.probe_descent * (gains[1] / bright))
    floor = max(alpha, 1e-6) * sums.max_illumination
    # Slices share the change they all are asked for.
    step_object(sweep, frames, gain=gains[0] / len(sweep.x.object), share=1 - alpha, floor=floor)
    return sums.misfit
