"""Wirtinger flow: gradient descent on all frames at once with steps of known safe length, plain and accelerated."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.guess import amplitude_guess
from exitwave.physics.problem import Problem
from exitwave.physics.sums import Sums, Sweep
from exitwave.solver import Solver, Step, solver

Fraction = Annotated[float, Field(ge=0, le=1)]


@solver
class WF(Solver[PtychoEstimate]):
    """Wirtinger flow: plain gradient descent, slow and without any parameter, to compare others with.
    Xu, Soltanolkotabi, Haldar, Unglaub, Zusman, Levi & Leahy, arXiv 1806.05546 (2018).
    """

    name: ClassVar[str] = "wf"
    seeded: ClassVar[bool] = False
    epochs: PositiveInt = 300
    """Passes over all diffraction patterns; several hundred are usual."""
    alpha: Fraction = 1.0
    """Steps are 1 / (alpha max + (1 - alpha) own) of the illumination: 1 is the published even step, less lengthens it where
    the probe is dim, and 0 makes each pixel jump to its least-squares value (alternating projections)."""
    rms_start: bool = False
    """Begin with an object whose amplitude is the ratio of each pattern's brightness to the probe's, instead of the start's."""
    probe_start: NonNegativeInt = 1
    """Epochs before the probe is first updated; raise it when the first probe is good and the object still empty."""
    update_probe: bool = True
    """Whether to retrieve the probe; switch off when it is known."""

    def solve(self, problem: Problem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        yield from _descent(self, problem, start, momentum=False, restart=False)


@solver
class AWF(Solver[PtychoEstimate]):
    """Accelerated Wirtinger flow: gradient descent with Nesterov's momentum; quick, smooth and nearly free of parameters.
    Xu, Soltanolkotabi, Haldar, Unglaub, Zusman, Levi & Leahy, arXiv 1806.05546 (2018).

    The momentum starts anew when the misfit rises. O'Donoghue & Candes, Found. Comput. Math. 15, 715 (2015), section 3.2.
    """

    name: ClassVar[str] = "awf"
    seeded: ClassVar[bool] = False
    epochs: PositiveInt = 100
    """Passes over all diffraction patterns; 50-300 is usual."""
    alpha: Fraction = 0.1
    """Steps are 1 / (alpha max + (1 - alpha) own) of the illumination: 1 is the published even step, best where windows
    hardly overlap; lower it to 0.01 or 0.001 for many photons and probes with faint tails or in focus."""
    restart: bool = True
    """Whether momentum starts anew when the misfit rises; switch off only to compare."""
    rms_start: bool = False
    """Begin with an object whose amplitude is the ratio of each pattern's brightness to the probe's, instead of the start's."""
    probe_start: NonNegativeInt = 0
    """Epochs before the probe is first updated; raise it when the first probe is good and the object still empty."""
    update_probe: bool = True
    """Whether to retrieve the probe; switch off when it is known."""

    def solve(self, problem: Problem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        yield from _descent(self, problem, start, momentum=True, restart=self.restart)


def _descent(
    options: WF | AWF, problem: Problem, start: Step[PtychoEstimate], *, momentum: bool, restart: bool
) -> Iterator[Step[PtychoEstimate]]:
    """Gradient steps from a point extrapolated along the last step: eqs. of FISTA with k / (k + 3)."""
    x = start.estimate.to(problem.device).clone()
    if options.rms_start and start.epoch == 0:
        x = replace(x, object=amplitude_guess(problem, x))
    flow = _Flow(x, start.memory)
    ahead = x.clone()
    sweep = Sweep(problem, ahead)
    for epoch in range(start.epoch + 1, options.epochs + 1):
        sweep.with_probe = options.update_probe and epoch > options.probe_start
        flow.extrapolate(ahead, momentum=momentum, with_probe=sweep.with_probe)
        sums = sweep.everything()
        flow.step(ahead, sums, alpha=options.alpha, with_probe=sweep.with_probe)
        flow.age = 0 if restart and sums.misfit > flow.misfit else flow.age + 1
        flow.misfit = sums.misfit
        now = replace(x, object=flow.object, probe=flow.probe)
        yield Step(epoch=epoch, estimate=now, residual=sums.misfit / problem.power, memory=flow.memory())


class _Flow:
    """The last two iterates; their tensors are replaced, never changed, so that steps may hold them."""

    def __init__(self, x: PtychoEstimate, memory: Mapping[str, Tensor]) -> None:
        self.object, self.probe = x.object, x.probe
        self.last_object = memory.get("last.object", x.object).to(x.object.device)
        self.last_probe = memory.get("last.probe", x.probe).to(x.probe.device)
        self.age = int(memory.get("age", torch.tensor(0)))
        """Epochs since the momentum began."""
        self.misfit = float(memory.get("misfit", torch.tensor(math.inf)))

    def extrapolate(self, ahead: PtychoEstimate, *, momentum: bool, with_probe: bool) -> None:
        share = self.age / (self.age + 3) if momentum else 0.0
        ahead.object.copy_(self.object + share * (self.object - self.last_object))
        if with_probe:
            ahead.probe.copy_(self.probe + share * (self.probe - self.last_probe))

    def step(self, ahead: PtychoEstimate, sums: Sums, *, alpha: float, with_probe: bool) -> None:
        # Slices and probe move together: half of the safe step for each of two, a third for each of three.
        gain = 1 / (len(ahead.object) + with_probe)
        bright = sums.lit.amax(dim=(1, 2), keepdim=True)
        floor = torch.lerp(sums.lit, bright, max(alpha, 1e-6)).clamp_(min=1e-12)
        self.last_object, self.object = self.object, ahead.object + gain * sums.object / floor
        if with_probe:
            self.last_probe, self.probe = self.probe, ahead.probe + gain * sums.probe / sums.seen.max().clamp(min=1e-12)

    def memory(self) -> dict[str, Tensor]:
        numbers = {"age": torch.tensor(self.age), "misfit": torch.tensor(self.misfit, dtype=torch.float64)}
        return {"last.object": self.last_object, "last.probe": self.last_probe, **numbers}
