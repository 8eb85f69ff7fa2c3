"""Objective function of gradient methods: the misfit of a noise model, and penalties on the object; with its descent direction."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.kernels import reference
from exitwave.physics.noise import Amplitude, Noise, NoiseName, noise_model
from exitwave.physics.penalties import sparsity, total_variation
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.sweep import Sums, Sweep

TV_SOFTNESS, L1_SOFTNESS = 1.0, 0.1
"""Penalties are quadratic below this share of their weight: sharper bends take descent many more steps."""


def noise_of(name: NoiseName | None, problem: PtychographyProblem) -> Noise | None:
    """The noise model of a name, or that of the problem where none is named; None for the amplitude model, which passes
    over frames compute by themselves.

    The Gaussian of that name has one variance for all pixels, so chosen that pulls are about as strong as those of the others.
    """
    sigma = _typical_sigma(problem) if name == "gaussian" else 1.0
    noise = problem.noise if name is None else noise_model(name, sigma=sigma)
    return None if isinstance(noise, Amplitude) else noise


def _typical_sigma(problem: PtychographyProblem) -> float:
    pattern = problem.model.to_detector_order(problem.statistics.mean_pattern).to(problem.device)
    mean = pattern.double() * problem.trusted
    return max(float(mean.square().sum() / mean.sum().clamp(min=1e-12)), 1e-12) ** 0.5


def dose(problem: PtychographyProblem, x: PtychoEstimate) -> float:
    """Photons per object pixel, on average over the scanned rectangle with a rim of a quarter of a frame."""
    span = x.positions_px.amax(dim=0) - x.positions_px.amin(dim=0)
    area = (span + torch.tensor(x.probe.shape[-2:], device=span.device) / 2).prod()
    return problem.power / float(area)


@dataclass(eq=False)
class Objective:
    """Half the negative log likelihood (up to a constant), which for the amplitude model is the misfit sum (M - A)^2, plus
    2 dose (tv TV + l1 |object - 1|).

    Both weights are so in units of transmission: differences of about `tv` between neighbouring pixels, and of `l1` from
    vacuum, are taken for noise. Object and probe of `x` may be changed in place between passes.
    """

    problem: PtychographyProblem
    x: PtychoEstimate
    noise: Noise | None
    tv: float = 0.0
    l1: float = 0.0
    isotropic: bool = True
    sweep: Sweep = field(init=False)
    _misfit: Float[Tensor, " frame"] = field(init=False)

    def __post_init__(self) -> None:
        self._background = self.problem.model.background(self.x)
        self._misfit = torch.zeros(len(self.problem), dtype=torch.float64)
        self._dose = dose(self.problem, self.x)
        self.sweep = Sweep(self.problem, self.x, detector_update=None if self.noise is None else self._pull)

    def over(self, frames: Int[Tensor, " frame"], *, with_probe: bool = True) -> tuple[float, Sums]:
        """The value over these frames, penalties in proportion, and sums that hold its descent directions."""
        self.sweep.clear()
        sums = self.sweep.over(frames, with_probe=with_probe)
        if self.noise is None:
            self._misfit[frames] = sums.misfit / len(frames)
        weight = 2 * self._dose * len(frames) / len(self.problem)
        value = sums.misfit
        if self.tv:
            variation, descent = total_variation(
                self.x.object, isotropic=self.isotropic, softness=TV_SOFTNESS * self.tv
            )
            sums.object_descent.add_(descent, alpha=weight * self.tv)
            value += weight * self.tv * float(variation)
        if self.l1:
            distance, descent = sparsity(self.x.object, softness=L1_SOFTNESS * self.l1)
            sums.object_descent.add_(descent, alpha=weight * self.l1)
            value += weight * self.l1 * float(distance)
        return value, sums

    def everything(self, *, with_probe: bool = True) -> tuple[float, Sums]:
        """The value over all frames."""
        return self.over(torch.arange(len(self.problem)), with_probe=with_probe)

    @property
    def stiffness(self) -> float:
        """Largest curvature of the penalties, to be added to the illumination, which is that of the misfit."""
        # Of the Laplacian, 8, halved by the Wirtinger derivative.
        return 2 * self._dose * (4 * (self.tv > 0) / TV_SOFTNESS + 0.5 * (self.l1 > 0) / L1_SOFTNESS)

    @property
    def residual(self) -> float:
        """Squared relative amplitude residual that the last pass over each frame met, whatever the noise model."""
        return float(self._misfit.sum()) / self.problem.power

    def _pull(self, waves: Tensor, frames: Tensor) -> Tensor:
        assert self.noise is not None
        expected = reference.intensity(waves).add_(self._background)
        amplitudes, trusted = self.problem.amplitudes(frames), self.problem.trusted
        deviation = (expected.sqrt() - amplitudes).mul_(trusted)
        # Threads have frames of their own, so that they write to places of their own.
        self._misfit[frames] = deviation.square_().sum(dim=(1, 2), dtype=torch.float64).cpu()
        factor, loss = self.noise.pull(expected, amplitudes, trusted)
        torch.view_as_real(waves).mul_(factor.mul_(0.5)[:, None, :, :, None])
        return loss / 2
