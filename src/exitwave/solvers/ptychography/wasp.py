"""Weighted average of sequential projections (WASP): nudges frame by frame, and an average of all frames after each epoch."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

import torch
from jaxtyping import Complex, Float
from pydantic import Field, PositiveInt
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.constraints import moved, off_centre
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.sweep import Sweep
from exitwave.problems.window_updates import nudge_object
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.options import ProbeStart, UpdateProbe, WhenDiverging
from exitwave.solvers.registry import solver
from exitwave.solvers.requirements import require_supported

TINY = 1e-6
"""Weight of what was there before in the averages, as a share of the largest weight: it holds what no light reached."""


@solver
class WASP(Solver[PtychoEstimate]):
    """Weighted average of sequential projections: quick like rPIE, and steadier, as every epoch ends with an average over
    all frames. Maiden, Mei & Li, Opt. Express 32, 21327 (2024).
    """

    name: ClassVar[str] = "wasp"
    unsupported: ClassVar[frozenset[str]] = frozenset({"slices", "noise"})
    renamed: ClassVar[Mapping[str, str]] = {"brightest": "max_amplitude"}
    epochs: PositiveInt = 100
    """Passes over all diffraction patterns; 50-200 is usual."""
    alpha: Annotated[float, Field(gt=0, le=100), WhenDiverging("raise")] = 2.0
    """Damping of the object's nudges, in units of the mean |probe|^2; about 2 is usual. Raise it for few photons or when the
    residual jumps."""
    beta: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Damping of the probe's nudges, in units of the mean |object|^2; about 1 is usual."""
    max_amplitude: Annotated[float, Field(gt=0)] = 4.0
    """Limit of the object's amplitude, in units of its root mean square where light fell: cuts off what rings where the probe
    is dim."""
    recentre: bool = True
    """Whether to keep the probe in the middle of its window, by whole pixels, while it is retrieved. Far field only:
    in the near field the place of the probe is not free, and it stays where it is."""
    probe_start: ProbeStart = 1
    """Epochs before the probe is first updated; 2 is usual, more for a poor first object."""
    update_probe: UpdateProbe = True
    batch: PositiveInt = 4
    """Frames nudged together; 1 is the published order, larger is faster and needs more epochs."""

    @torch.no_grad()
    def solve(self, problem: PtychographyProblem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        require_supported(self, problem, start.estimate)
        x = start.estimate.to(problem.device).clone()
        sweep = Sweep(problem, x)
        # In the near field the place of the probe is not free: patterns would move with it.
        recentre = self.recentre and not problem.scan.geometry.near_field
        for epoch in range(start.epoch + 1, self.epochs + 1):
            with_probe = self.update_probe and epoch > self.probe_start
            misfit = self._nudge_and_average(sweep, epoch, with_probe=with_probe)
            if with_probe and recentre:
                _place(x, moved(x, off_centre(x.probe)))
            yield Step(epoch=epoch, estimate=x.clone(), residual=misfit / problem.power)

    def _nudge_and_average(self, sweep: Sweep, epoch: int, *, with_probe: bool) -> float:
        """One epoch. What a batch asks of object and probe before its nudge counts with the light it had there.

        In the paper the probe is nudged before it weighs the object; here, as in ptypy, the sums are those of the pass.
        """
        x, misfit = sweep.x, 0.0
        wished, weight = torch.zeros_like(x.object), torch.zeros_like(x.object.real)
        wished_probe, weight_probe = torch.zeros_like(x.probe), torch.zeros_like(x.probe[0].real)
        for frames in sweep.problem.batches(self.batch, epoch):
            power = float(x.probe.abs().square().sum()) / x.probe[0].numel()
            sums = sweep.over(frames, with_probe=with_probe)
            misfit += sums.misfit
            if with_probe:
                wished_probe += sums.probe_descent + sums.probe_weight * x.probe
                weight_probe += sums.probe_weight
                damped = (sums.probe_weight + self.beta * sums.probe_weight.mean()).clamp(min=1e-30)
                x.probe.addcdiv_(sums.probe_descent, damped.to(x.probe.dtype))
            nudge_object(sweep, frames, wished, weight, floor=self.alpha * power)
        _average(x.object, wished, weight)
        x.object.copy_(_limited(x.object, weight, self.max_amplitude))
        if with_probe:
            _average(x.probe, wished_probe, weight_probe)
        return misfit


def _average(values: Tensor, total: Tensor, weight: Tensor) -> None:
    inertia = TINY * weight.max().clamp(min=1e-30)
    values.mul_(inertia).add_(total).div_(weight + inertia)


def _limited(
    obj: Complex[Tensor, "slice Y X"], lit: Float[Tensor, "slice Y X"], max_amplitude: float
) -> Complex[Tensor, "slice Y X"]:
    """No pixel brighter than so many times the root mean square, weighted with the light."""
    amplitude = obj.abs()
    usual = ((amplitude.square() * lit).sum() / lit.sum().clamp(min=1e-30)).sqrt()
    return obj * (max_amplitude * usual / amplitude.clamp(min=1e-30)).clamp(max=1)


def _place(x: PtychoEstimate, other: PtychoEstimate) -> None:
    """Give an estimate the waves of another one, in its own memory."""
    x.object.copy_(other.object)
    x.probe.copy_(other.probe)
    if x.variations is not None and other.variations is not None:
        x.variations.copy_(other.variations)
