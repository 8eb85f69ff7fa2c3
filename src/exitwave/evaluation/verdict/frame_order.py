"""Whether frames and positions are off by one: which of its two neighbours' places in time a frame would rather have."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.ptychography import PtychographyProblem

MOST_FRAMES = 24
"""Frames that are tried at the place of the next one, and as many at that of the one before."""
LEAST_FRAMES = 4
TELLING_PX = 0.5
"""Steps of the scan tell only where they differ by more than this from the usual one, which merely moves the image."""


@dataclass(frozen=True, kw_only=True)
class FrameOrder:
    """Misfit of frames at the place of the one before or after them, over that at their own: of right ones both are large."""

    before: float
    after: float


@torch.no_grad()
def frame_order(problem: PtychographyProblem, x: PtychoEstimate) -> FrameOrder | None:
    """Try frames where the scan's steps differ most; None where it goes on evenly, so that they tell nothing."""
    found: list[float] = []
    for lag in (-1, 1):
        places = x.positions_px.detach().cpu().double()
        steps = places.roll(-lag, dims=0) - places
        usual = steps.median(dim=0).values
        off = (steps - usual).norm(dim=1)
        # The last frame has none after it, the first none before.
        off[-1 if lag > 0 else 0] = 0
        chosen = off.topk(min(MOST_FRAMES, len(off))).indices
        chosen = chosen[off[chosen] > TELLING_PX].sort().values
        if len(chosen) < LEAST_FRAMES:
            return None
        there = _within(places[chosen] + steps[chosen] - usual, x)
        found.append(_misfit(problem, _standing(x, chosen, there), chosen) / max(_misfit(problem, x, chosen), 1e-30))
    return FrameOrder(before=found[0], after=found[1])


def _within(places: Float[Tensor, "frame 2"], x: PtychoEstimate) -> Float[Tensor, "frame 2"]:
    """Moved so that each window lies in the object."""
    room = torch.tensor(x.object.shape[-2:]) - torch.tensor(x.probe.shape[-2:])
    return torch.minimum(places.clamp(min=0), room.to(places.dtype))


def _standing(x: PtychoEstimate, frames: Int[Tensor, " frame"], places: Float[Tensor, "frame 2"]) -> PtychoEstimate:
    moved = x.positions_px.clone()
    moved[frames] = places.to(moved.device, moved.dtype)
    return replace(x, positions_px=moved)


def _misfit(problem: PtychographyProblem, x: PtychoEstimate, frames: Int[Tensor, " frame"]) -> float:
    deviation = problem.model.intensity(x, frames).sqrt() - problem.amplitudes(frames)
    return float((deviation.square() * problem.trusted).sum(dtype=torch.float64))
