"""Brightness refinement: the strength of the beam in each frame."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.refinement.modelled_frames import ModelledFrames, Refinement

LARGEST_STEP = 0.3
"""Change of the logarithm of the brightness in one step, at most: further away the derivative says little."""


@dataclass(eq=False)
class Brightness(Refinement):
    """A factor on the probe's amplitude in each frame, by Gauss-Newton on its logarithm: dM / d ln b = (M^2 - background) / M.

    Two things cannot be known and are kept out: a common factor, which is the probe's (the mean square stays 1); and a
    trend exp(k p) along the positions p, which is that of an object exp(-k r) and a probe exp(k r). Costs no propagation of
    its own.
    """

    def empty(self, problem: PtychographyProblem, x: PtychoEstimate) -> tuple[Tensor, ...]:
        return (torch.zeros(2, len(problem), dtype=torch.float64),)

    def add_(self, sums: tuple[Tensor, ...], view: ModelledFrames) -> None:
        slopes = view.photons / view.modulus * view.problem.trusted
        sums[0][0, view.frames] = (slopes * view.deviation).double().sum(dim=(1, 2)).cpu()
        sums[0][1, view.frames] = slopes.double().square().sum(dim=(1, 2)).cpu()

    def improved(self, problem: PtychographyProblem, x: PtychoEstimate, sums: tuple[Tensor, ...]) -> PtychoEstimate:
        assert x.brightness is not None
        pull, curvature = sums[0]
        step = (pull / curvature.clamp(min=1e-30)).clamp(-LARGEST_STEP, LARGEST_STEP)
        places = x.positions_px.cpu().double()
        step = _without_trend(step, places - places.mean(dim=0))
        brightness = x.brightness * step.exp().to(x.brightness)
        mean = brightness.square().mean().sqrt()
        return replace(
            x,
            brightness=brightness / mean,
            probe=x.probe * mean.to(x.probe.real.dtype),
            variations=None if x.variations is None else x.variations * mean.to(x.probe.real.dtype),
        )


def _without_trend(step: Float[Tensor, " frame"], places: Float[Tensor, "frame 2"]) -> Float[Tensor, " frame"]:
    """Less its least-squares plane over the positions.

    By sums, not matrix products: those of LAPACK depend, in the last bit, on where arrays lie in memory.
    """
    rulers = torch.cat([places, torch.ones_like(places[:, :1])], dim=1)
    normal = (rulers[:, :, None] * rulers[:, None, :]).sum(dim=0)
    # Positions along a line have no trend across it.
    normal = normal + 1e-9 * normal.diagonal().sum() * torch.eye(3, dtype=normal.dtype)
    slopes = torch.linalg.solve(normal, (rulers * step[:, None]).sum(dim=0))
    return step - (rulers * slopes).sum(dim=1)


def with_brightness(problem: PtychographyProblem, x: PtychoEstimate) -> PtychoEstimate:
    """The estimate with the same brightness in every frame, unless it knows better."""
    if x.brightness is not None:
        return x
    return replace(x, brightness=torch.ones(len(problem), dtype=torch.float64, device=x.probe.device))
