"""Patterns of a few frames as they were measured and as an estimate has them, to be looked at side by side."""

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from exitwave.data.estimate import BraggEstimate, Estimate, PtychoEstimate, SupportEstimate, middle_plane
from exitwave.data.frame_fits import FrameFits
from exitwave.problems.base import Problem
from exitwave.problems.bragg import BraggProblem
from exitwave.problems.cdi import SupportProblem
from exitwave.problems.ptychography import PtychographyProblem

MOST_PIXELS = 256
"""A side of the patterns that are kept: with three frames at most 1.5 MB, however large the detector."""


@singledispatch
def frame_fits(problem: Problem[Any], x: Estimate, frame_residual: Float[Tensor, " frame"]) -> FrameFits | None:
    """Measured and calculated patterns of the frames that fit best, in the middle and worst; None for kinds that have none.

    Further kinds of problem register theirs: `frame_fits.register`.
    """
    return None


@frame_fits.register
def _(problem: PtychographyProblem, x: PtychoEstimate, frame_residual: Float[Tensor, " frame"]) -> FrameFits | None:
    return fits_of_frames(problem, x, best_median_worst(frame_residual))


@frame_fits.register
def _(problem: SupportProblem, x: SupportEstimate, frame_residual: Float[Tensor, " frame"]) -> FrameFits | None:
    obj = x.object.to(problem.device) * (x.beam_photons / problem.beam_photons).sqrt().to(problem.device, torch.float32)
    known = (problem.trusted > 0) | problem.held_out
    measured, calculated, trusted = (
        middle_plane(torch.fft.fftshift(values))
        for values in (problem.amplitudes, problem.seen(obj, problem.blur_of(x)), known)
    )
    return _fits((0,), measured.square()[None], calculated.square()[None], trusted)


@frame_fits.register
def _(problem: BraggProblem, x: BraggEstimate, frame_residual: Float[Tensor, " frame"]) -> FrameFits | None:
    obj = x.object.to(problem.device) * (x.beam_photons / problem.beam_photons).sqrt().to(problem.device, torch.float32)
    known = torch.fft.fftshift((problem.trusted > 0) | problem.held_out)
    volumes = (torch.fft.fftshift(values) for values in (problem.amplitudes, problem.seen(obj)))
    measured, calculated = (_middle_planes(values.square()) for values in volumes)
    fits = [
        _fits((axis,), measured[axis][None], calculated[axis][None], trusted, sides=obj.shape)
        for axis, trusted in enumerate(_middle_planes(known))
    ]
    shape = [max(each.measured.shape[axis] for each in fits) for axis in (1, 2)]
    padded = (torch.cat([_padded(getattr(each, name), shape) for each in fits]) for name in ("measured", "calculated"))
    measured, calculated = padded
    return FrameFits(frames=(0, 1, 2), measured=measured, calculated=calculated, binned=fits[0].binned, planes=True)


def _middle_planes(values: Shaped[Tensor, "frame y x"]) -> list[Tensor]:
    return [values.select(axis, values.shape[axis] // 2).cpu() for axis in range(3)]


def _padded(planes: Float[Tensor, "shown y x"], shape: Sequence[int]) -> Float[Tensor, "shown Y X"]:
    room = [size - had for size, had in zip(shape, planes.shape[1:], strict=True)]
    return torch.nn.functional.pad(planes, (0, room[1], 0, room[0]), value=torch.nan)


@singledispatch
def recorded_positions_px(problem: Problem[Any], x: Estimate) -> Float[Tensor, "frame 2"] | None:
    """Where the measurement says that frames are, in the object array; None where none was moved, or nothing says."""
    return None


@recorded_positions_px.register
def _(problem: PtychographyProblem, x: PtychoEstimate) -> Float[Tensor, "frame 2"] | None:
    recorded = problem.positions_px.cpu()
    return None if torch.equal(recorded, x.positions_px.cpu()) else recorded


def fits_of_frames(problem: PtychographyProblem, x: PtychoEstimate, frames: Sequence[int]) -> FrameFits:
    """Measured and calculated patterns of these frames of a scan."""
    scan, chosen = problem.scan, torch.tensor(frames)
    with torch.no_grad():
        calculated = problem.model.intensity(x, chosen).cpu()
    order = problem.model.to_detector_order(torch.arange(scan.mask.numel()).reshape(scan.frame_shape)).flatten()
    stored = torch.empty_like(calculated).flatten(1)
    stored[:, order] = calculated.flatten(1)
    measured = torch.stack([scan.frames(slice(frame, frame + 1))[0] for frame in frames]).cpu()
    return _fits(tuple(frames), measured, stored.reshape(calculated.shape), scan.mask)


def best_median_worst(frame_residual: Float[Tensor, " frame"]) -> tuple[int, ...]:
    """Numbers of the frames with the lowest, the middle and the highest residual; each frame once."""
    order = frame_residual.argsort(stable=True).tolist()
    places = dict.fromkeys((0, len(order) // 2, len(order) - 1)) if len(order) > 2 else range(len(order))
    return tuple(order[place] for place in places)


def _fits(
    frames: tuple[int, ...],
    measured: Float[Tensor, "shown y x"],
    calculated: Float[Tensor, "shown y x"],
    trusted: Bool[Tensor, "y x"],
    sides: Sequence[int] = (),
) -> FrameFits:
    """`sides` are those by which all planes of one pattern are binned alike."""
    binned = -(-max(sides or trusted.shape) // MOST_PIXELS)
    measured = torch.where(trusted, measured.float(), torch.nan)
    means = _block_means(measured, binned), _block_means(calculated.float(), binned)
    return FrameFits(frames=frames, measured=means[0], calculated=means[1], binned=binned)


def _block_means(patterns: Float[Tensor, "shown y x"], size: int) -> Float[Tensor, "shown rows columns"]:
    """Means over blocks of `size` x `size` pixels, of those that are known; what is left over at the far edges is cut off."""
    if size == 1:
        return patterns
    rows, columns = (max(n // size, 1) for n in patterns.shape[1:])
    blocks = patterns[:, : rows * size, : columns * size]
    return blocks.unflatten(2, (columns, -1)).unflatten(1, (rows, -1)).nanmean(dim=(2, 4))
