"""Adam on the complex pixels, in batches, under any noise model and with penalties on the object."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

import torch
from jaxtyping import Complex
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.objective import NoiseName, Objective, noise_of
from exitwave.problems.ptychography import Problem
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.ptychography.step_decay import step_decay_done
from exitwave.solvers.registry import solver

Fraction = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1)]
FIRST, SECOND, TINY = 0.9, 0.999, 1e-8
"""Decay of Adam's moments and the floor of its denominator, as published."""
LAST = 0.01
"""Factor on the steps of the last epoch where they settle."""


@solver
class Adam(Solver[PtychoEstimate]):
    """Adam on real and imaginary parts, in batches: for other noise models and penalties; slower than rpie and awf.
    Kandel et al., Opt. Express 27, 18653 (2019).
    """

    name: ClassVar[str] = "adam"
    epochs: PositiveInt = 200
    """Passes over all diffraction patterns; 100-500 is usual."""
    object_rate: Rate = 0.05
    """Step of each pixel of the object, relative to its root mean square at the start; raise it when the residual falls slowly,
    lower it when it jumps."""
    probe_rate: Rate = 0.01
    """Step of each pixel of the probe, relative to its brightest pixel at the start."""
    noise: NoiseName = "amplitude"
    """Noise model of the counts: `amplitude` suits most scans; `poisson` when absolute transmission matters with few photons;
    `gaussian` for one read-out noise everywhere; `smooth_l1` when some pixels or frames are wrong."""
    tv: Weight = 0.0
    """Total variation: differences of about this much between neighbouring pixels (transmission) are smoothed away; 0.001-0.05."""
    isotropic: bool = True
    """Whether total variation treats all directions alike; switch off for samples of horizontal and vertical edges."""
    l1: Weight = 0.0
    """Pull towards vacuum: what differs from a transmission of 1 by less than about this much is removed."""
    settle: Fraction = 0.3
    """Share of the epochs, at the end, over which steps shrink to a hundredth."""
    batch: PositiveInt = 32
    """Frames updated together; 16-100 is usual."""
    probe_start: NonNegativeInt = 0
    """Epochs before the probe is first updated."""
    update_probe: bool = True
    """Whether to retrieve the probe; switch off when it is known."""

    def solve(self, problem: Problem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        x = start.estimate.to(problem.device).clone()
        noise = noise_of(self.noise, problem)
        objective = Objective(problem, x, noise, tv=self.tv, l1=self.l1, isotropic=self.isotropic)
        size = x.object.abs().square().mean().sqrt(), x.probe.abs().max()
        walkers = {
            "object": _Walker("object", x.object, float(size[0]) * self.object_rate, start.state),
            "probe": _Walker("probe", x.probe, float(size[1]) * self.probe_rate, start.state),
        }
        for epoch in range(start.epoch + 1, self.epochs + 1):
            objective.sweep.with_probe = self.update_probe and epoch > self.probe_start
            # Evenly on a logarithmic scale.
            gain = LAST ** step_decay_done(epoch, self.epochs, self.settle)
            for frames in problem.batches(self.batch, epoch):
                _, sums = objective.over(frames)
                walkers["object"].step(sums.object_descent, gain)
                if objective.sweep.with_probe:
                    walkers["probe"].step(sums.probe_descent, gain)
            memory = walkers["object"].state() | walkers["probe"].state()
            yield Step(epoch=epoch, estimate=x.clone(), residual=objective.residual, state=memory)


class _Walker:
    """One array that Adam moves in place. Kingma & Ba, arXiv 1412.6980 (2014), algorithm 1."""

    def __init__(self, name: str, value: Tensor, rate: float, memory: Mapping[str, Tensor]) -> None:
        self.name, self.value = name, torch.view_as_real(value)
        zero = torch.zeros_like(self.value)
        self.first = memory.get(f"{name}.first", zero).to(value.device).clone()
        self.second = memory.get(f"{name}.second", zero).to(value.device).clone()
        self.count = int(memory.get(f"{name}.count", torch.tensor(0)))
        self.rate = float(memory.get(f"{name}.rate", torch.tensor(rate, dtype=torch.float64)))

    def step(self, descent: Complex[Tensor, "..."], gain: float) -> None:
        uphill = torch.view_as_real(descent).neg()
        self.count += 1
        self.first.lerp_(uphill, 1 - FIRST)
        self.second.mul_(SECOND).addcmul_(uphill, uphill, value=1 - SECOND)
        scale = (self.second / (1 - SECOND**self.count)).sqrt_().add_(TINY)
        self.value.addcdiv_(self.first, scale, value=-gain * self.rate / (1 - FIRST**self.count))

    def state(self) -> dict[str, Tensor]:
        numbers = {"count": torch.tensor(self.count), "rate": torch.tensor(self.rate, dtype=torch.float64)}
        arrays = {"first": self.first.clone(), "second": self.second.clone()}
        return {f"{self.name}.{key}": value for key, value in (numbers | arrays).items()}
