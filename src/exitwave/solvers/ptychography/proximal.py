"""Accelerated proximal gradient (APG): each pattern is asked for no more agreement than its noise warrants."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, PositiveInt
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.kernels.reference import FrameWaves, intensity
from exitwave.physics.noise import Poisson
from exitwave.problems.objective import noise_of
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.sweep import Sweep
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.changes import Change
from exitwave.solvers.options import ProbeStart, UpdateProbe
from exitwave.solvers.ptychography.momentum import NesterovMomentum
from exitwave.solvers.registry import solver
from exitwave.solvers.requirements import require_supported

Proximal = Callable[[Tensor, Tensor, float], Tensor]
"""From the model's modulus, the measured one and the weight to the modulus wished for."""


@solver
class APG(Solver[PtychoEstimate]):
    """Accelerated proximal gradient: weighs agreement with each pattern against its noise, for few photons and little overlap.
    Yan, New J. Phys. 22, 023035 (2020); proximal maps as Parikh & Boyd, Found. Trends Optim. 1, 127 (2014), section 2.

    Minimises the negative log likelihood of the patterns and half the squared distance to waves that one object and one
    probe can make. The momentum starts anew when the misfit rises.
    """

    name: ClassVar[str] = "apg"
    unsupported: ClassVar[frozenset[str]] = frozenset({"slices"})
    seeded: ClassVar[bool] = False
    epochs: PositiveInt = 100
    """Passes over all diffraction patterns; 50-300 is usual."""
    noise: Literal["amplitude", "poisson"] | None = None
    """How counts scatter; as the problem was posed when left out, by default `amplitude`, good from a few photons a pixel on;
    `poisson` is exact for photon counting."""
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Weight of the patterns against the overlap of frames (lambda): 0.3-1 for few photons, 10 and more nearly imposes the
    measured modulus."""
    inertia: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Weight of the object so far, as a share of the brightest illumination: holds what hardly any light reached. 1 for few
    photons or where windows hardly overlap, 0.01 when dim parts come slowly."""
    probe_start: ProbeStart = 1
    update_probe: UpdateProbe = True

    def transform_state(self, state: Mapping[str, Tensor], change: Change) -> Mapping[str, Tensor]:
        return NesterovMomentum.transform_state(state, change)

    @classmethod
    def complete_options(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        # Version 0.1.0 called amplitudes with variance 1/4 gaussian.
        return {**options, "noise": "amplitude"} if options.get("noise") == "gaussian" else options

    @torch.no_grad()
    def solve(self, problem: PtychographyProblem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        require_supported(self, problem, start.estimate)
        x = start.estimate.to(problem.device).clone()
        path = NesterovMomentum(x, start.state)
        ahead = x.clone()
        sweep = Sweep(problem, ahead, detector_update=_Pull(problem, x, _proximal(self, problem), self.weight))
        for epoch in range(start.epoch + 1, self.epochs + 1):
            with_probe = self.update_probe and epoch > self.probe_start
            path.look_ahead(ahead, with_probe=with_probe)
            sums = sweep.everything(with_probe=with_probe)
            # The overlap projection is linear in the waves, so that object and probe can be extrapolated in their stead and no
            # exit waves need be kept; half of each step where both move.
            floor = (sums.illumination + self.inertia * sums.max_illumination).clamp(min=1e-30)
            path.go(ahead, sums, floor, gain=0.5 if with_probe else 1.0, least=1e-30, with_probe=with_probe)
            now = replace(x, object=path.object, probe=path.probe)
            yield Step(epoch=epoch, estimate=now, residual=sums.misfit / problem.power, state=path.state())


def amplitude_proximal(
    modulus: Float[Tensor, "*pixel"], measured: Float[Tensor, "*pixel"], weight: float
) -> Float[Tensor, "*pixel"]:
    """The r that minimises weight x 2 (r - measured)^2 + (r - modulus)^2 / 2: amplitudes with variance 1/4."""
    return (modulus + 4 * weight * measured) / (1 + 4 * weight)


def poisson_proximal(
    modulus: Float[Tensor, "*pixel"], measured: Float[Tensor, "*pixel"], weight: float
) -> Float[Tensor, "*pixel"]:
    """The r that minimises weight x (r^2 - measured^2 log r^2) + (r - modulus)^2 / 2; `measured` is the root of the counts."""
    share = 1 + 2 * weight
    return (modulus + (modulus.square() + 8 * weight * share * measured.square()).sqrt()) / (2 * share)


def _proximal(options: APG, problem: PtychographyProblem) -> Proximal:
    """The map of the noise model that was named, or that the problem was posed with."""
    noise = noise_of(options.noise, problem)
    if noise is not None and not isinstance(noise, Poisson):
        raise InputError(
            f"apg has no proximal map for {noise}, with which the problem was posed; expected Amplitude or Poisson: name one of "
            "them (--noise poisson), or take adam or lbfgs"
        )
    return amplitude_proximal if noise is None else poisson_proximal


class _Pull:
    """The change of waves at the detector that the proximal map asks for; their phases stay."""

    def __init__(self, problem: PtychographyProblem, x: PtychoEstimate, proximal: Proximal, weight: float) -> None:
        self._problem, self._proximal, self._weight = problem, proximal, weight
        self._background = problem.model.background(x)

    def __call__(self, waves: FrameWaves, frames: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        measured, trusted = self._problem.amplitudes(frames), self._problem.trusted
        modulus = (intensity(waves) + self._background).sqrt_()
        wished = self._proximal(modulus, measured, self._weight)
        factor = wished.sub_(modulus).mul_(trusted).div_(modulus.clamp(min=1e-12))
        torch.view_as_real(waves).mul_(factor[:, None, :, :, None])
        return modulus.sub_(measured).mul_(trusted).double().square().sum(dim=(1, 2))
