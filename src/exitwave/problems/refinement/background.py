"""Background refinement: photons that reach the detector on other ways than through the sample's window."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.refinement.modelled_frames import ModelledFrames, Refinement


@dataclass(eq=False)
class Background(Refinement):
    """Mean photons in each pixel that all frames share, by scoring steps of the Poisson likelihood: the mean of
    (A^2 - M^2) / M^2 over that of 1 / M^2. Least squares of the modulus would lose a quarter of a photon in the dark.

    Never negative; zero where pixels cannot be trusted. Costs no propagation of its own.
    """

    def empty(self, problem: PtychographyProblem, x: PtychoEstimate) -> tuple[Tensor, ...]:
        return (torch.zeros(2, *x.probe.shape[-2:], dtype=torch.float64, device=x.probe.device),)

    def add_(self, sums: tuple[Tensor, ...], view: ModelledFrames) -> None:
        weight = view.modulus.double().square().reciprocal()
        expected = view.modulus.square() - view.problem.model.offset_photons
        excess = (view.counts - expected) * view.problem.trusted
        sums[0][0] += (excess * weight).sum(dim=0)
        sums[0][1] += weight.sum(dim=0)

    def improved(self, problem: PtychographyProblem, x: PtychoEstimate, sums: tuple[Tensor, ...]) -> PtychoEstimate:
        assert x.background is not None
        step = (sums[0][0] / sums[0][1]).to(torch.float32)
        known = problem.model.to_detector_order(x.background) + step
        return replace(x, background=stored(problem, known.clamp_(min=0) * problem.trusted))


def stored(problem: PtychographyProblem, image: Tensor) -> Tensor:
    """From detector order to the order of estimates and files, beam at [h // 2, w // 2]."""
    order = torch.arange(image.numel(), device=image.device).reshape(image.shape)
    back = torch.empty(image.numel(), dtype=image.dtype, device=image.device)
    back[problem.model.to_detector_order(order).flatten()] = image.flatten()
    return back.reshape(image.shape)


def with_background(problem: PtychographyProblem, x: PtychoEstimate) -> PtychoEstimate:
    """The estimate with room for a background, unless it knows one.

    It starts at zero: in the bright part of the pattern a background that is too strong would be given up very slowly.
    """
    if x.background is not None:
        return x
    return replace(x, background=torch.zeros(x.probe.shape[-2:], device=x.probe.device))
