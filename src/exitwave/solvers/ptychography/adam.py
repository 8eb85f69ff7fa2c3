"""Adam on the complex pixels, in batches, under any noise model and with penalties on the object."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

import torch
from jaxtyping import Complex
from pydantic import Field, PositiveInt
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.objective import Objective, noise_of
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.solvers import options
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.changes import Change
from exitwave.solvers.ptychography.step_decay import step_decay_done
from exitwave.solvers.registry import solver

Rate = Annotated[float, Field(gt=0, le=1), options.WhenDiverging("lower")]
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
    noise: options.CountNoise = None
    tv: options.TotalVariation = 0.0
    isotropic: options.Isotropic = True
    l1: options.Sparsity = 0.0
    settle: options.Settle = 0.3
    """Share of the epochs, at the end, over which steps shrink to a hundredth."""
    batch: PositiveInt = 32
    """Frames updated together; 16-100 is usual."""
    probe_start: options.ProbeStart = 0
    update_probe: options.UpdateProbe = True

    def transform_state(self, state: Mapping[str, Tensor], change: Change) -> Mapping[str, Tensor]:
        # Complex numbers are kept as pairs of real ones, along a last axis of their own.
        return {
            key: change.of_directions(value, (-3, -2)) if key.endswith((".first", ".second")) else value
            for key, value in state.items()
        }

    def solve(self, problem: PtychographyProblem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        x = start.estimate.to(problem.device).clone()
        noise = noise_of(self.noise, problem)
        objective = Objective(problem, x, noise, tv=self.tv, l1=self.l1, isotropic=self.isotropic)
        size = x.object.abs().square().mean().sqrt(), x.probe.abs().max()
        walkers = {
            "object": _Walker("object", x.object, float(size[0]) * self.object_rate, start.state),
            "probe": _Walker("probe", x.probe, float(size[1]) * self.probe_rate, start.state),
        }
        for epoch in range(start.epoch + 1, self.epochs + 1):
            with_probe = self.update_probe and epoch > self.probe_start
            # Evenly on a logarithmic scale.
            gain = LAST ** step_decay_done(epoch, self.epochs, self.settle)
            for frames in problem.batches(self.batch, epoch):
                _, sums = objective.over(frames, with_probe=with_probe)
                walkers["object"].step(sums.object_descent, gain)
                if with_probe:
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
