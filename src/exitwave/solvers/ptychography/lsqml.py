"""Least-squares maximum likelihood: directions of object and probe as in PIE, their step lengths from the data."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Int
from pydantic import Field, PositiveInt
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.sweep import Sweep
from exitwave.problems.window_updates import object_direction, step_along
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.changes import Change
from exitwave.solvers.options import ProbeStart, Settle, UpdateProbe, WhenDiverging
from exitwave.solvers.ptychography.step_decay import step_scale
from exitwave.solvers.registry import solver
from exitwave.solvers.requirements import require_supported


@solver
class LSQML(Solver[PtychoEstimate]):
    """Least-squares maximum likelihood: step lengths from the data. Odstrcil, Menzel & Guizar-Sicairos, Opt. Express 26, 3108 (2018).

    In every batch the best lengths of the steps of object and probe follow from the data; momentum carries on over epochs.
    """

    name: ClassVar[str] = "lsqml"
    unsupported: ClassVar[frozenset[str]] = frozenset({"noise"})
    epochs: PositiveInt = 50
    """Passes over all diffraction patterns; 20-100 is usual."""
    batch: PositiveInt = 32
    """Frames whose steps are found together; smaller batches take more steps an epoch and want more regularisation."""
    grouping: Literal["random", "sparse", "compact"] = "random"
    """Which frames make a batch: drawn at random, far from each other (MLs), or neighbours (MLc, with momentum)."""
    regularisation: Annotated[float, Field(gt=0, le=1), WhenDiverging("raise")] = 0.1
    """Damps the object where the probe is dim, as a share of the brightest illumination of a batch. In scans of many
    hundred frames 0.02-0.05 mends large slow errors sooner; few photons or few frames want 0.2."""
    damping: Annotated[float, Field(ge=0, le=10), WhenDiverging("raise")] = 0.3
    """Added to both curvatures before the step lengths are solved for, as a share; raise it if the residual jumps."""
    momentum: Annotated[float, Field(ge=0, lt=1), WhenDiverging("lower")] = 0.7
    """Share of the last epochs' change that goes on into the next; forgotten when the residual rises."""
    probe_start: ProbeStart = 1
    update_probe: UpdateProbe = True
    settle: Settle = 0.5

    def transform_state(self, state: Mapping[str, Tensor], change: Change) -> Mapping[str, Tensor]:
        return {
            key: change.of_directions(value) if key.startswith("velocity.") else value for key, value in state.items()
        }

    def solve(self, problem: PtychographyProblem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        require_supported(self, problem, start.estimate)
        x = start.estimate.to(problem.device).clone()
        sweep, momentum = Sweep(problem, x), _Momentum(x, self.momentum, start.state)
        for epoch in range(start.epoch + 1, self.epochs + 1):
            with_probe = self.update_probe and epoch > self.probe_start
            gain = step_scale(epoch, self.epochs, self.settle)
            misfit = sum(
                self._update(sweep, frames, gain, with_probe=with_probe) for frames in self._batches(problem, epoch)
            )
            momentum.after_epoch(x, misfit)
            yield Step(epoch=epoch, estimate=x.clone(), residual=misfit / problem.power, state=momentum.state())

    def _batches(self, problem: PtychographyProblem, epoch: int) -> Iterator[Int[Tensor, " batch"]]:
        if self.grouping == "random":
            yield from problem.batches(self.batch, epoch)
            return
        order = _neighbours_together(problem.positions_px, np.random.default_rng([problem.seed, epoch]))
        count = -(-len(order) // self.batch)
        # Every count-th frame of a list in which neighbours stand together is far from the others of its batch.
        groups = [order[i::count] for i in range(count)] if self.grouping == "sparse" else order.tensor_split(count)
        turn = np.random.default_rng([problem.seed, epoch, 1]).permutation(count)
        yield from problem.prefetch([groups[i].contiguous() for i in turn])

    def _update(self, sweep: Sweep, frames: Int[Tensor, " batch"], gain: float, *, with_probe: bool) -> float:
        """One batch, eqs. 22-30: preconditioned directions, then both lengths from one linear least-squares problem.

        The lengths minimise the sum over the batch, not frame by frame with a mean afterwards: the same terms, summed
        before they are divided, and no second look at the exit waves is needed.
        """
        sums = sweep.over(frames, with_probe=with_probe)
        floor = self.regularisation * sums.max_illumination
        slope_p = curvature_p = 0.0
        direction = torch.zeros_like(sums.probe_descent)
        if with_probe:
            brightest = max(float(sums.probe_weight.max()), 1e-30)
            direction = sums.probe_descent * (1 / brightest)
            squares = torch.view_as_real(direction).square().sum(dim=(0, -1))
            slope_p = brightest * float(squares.sum())
            curvature_p = float((squares * sums.probe_weight).sum())
        curvature_o, slope_o, shared = object_direction(
            sweep, frames, direction, share=1 - self.regularisation, floor=floor
        )
        # Slices pull together: along all of them at once the misfit bends up to so many times more.
        curvature_o *= len(sweep.x.object)
        along_o, along_p = _lengths(curvature_o, curvature_p, shared, slope_o, slope_p, self.damping)
        step_along(sweep, frames, gain * along_o)
        if with_probe:
            sweep.x.probe.add_(direction, alpha=gain * along_p)
        return sums.misfit


def _lengths(
    curvature_o: float, curvature_p: float, shared: float, slope_o: float, slope_p: float, damping: float
) -> tuple[float, float]:
    """Step lengths of object and probe that minimise the misfit, linearised: a 2 x 2 system."""
    a, b = (1 + damping) * curvature_o + 1e-30, (1 + damping) * curvature_p + 1e-30
    determinant = a * b - shared * shared
    if curvature_p == 0 or determinant <= 1e-6 * a * b:
        return slope_o / a, slope_p / b if curvature_p else 0.0
    return (b * slope_o - shared * slope_p) / determinant, (a * slope_p - shared * slope_o) / determinant


def _neighbours_together(positions_px: Tensor, chance: np.random.Generator) -> Int[Tensor, " frame"]:
    """Frames along stripes across the scan, whose direction and place are drawn anew in each epoch."""
    angle = chance.uniform(0, np.pi)
    places = positions_px.numpy() @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    width = max(float(np.ptp(places[:, 0])), 1e-9) / max(1, round(len(places) ** 0.5 / 4))
    stripe = np.floor((places[:, 0] + chance.uniform(0, width)) / width).astype(int)
    return torch.from_numpy(np.lexsort((np.where(stripe % 2, -places[:, 1], places[:, 1]), stripe)))


class _Momentum:
    """After each epoch object and probe go on along their running change, until the residual rises."""

    def __init__(self, x: PtychoEstimate, share: float, memory: Mapping[str, Tensor]) -> None:
        self.share, self.last_misfit = share, float(memory.get("last_misfit", torch.tensor(float("inf"))))
        self.velocity = {
            name: memory.get(f"velocity.{name}", torch.zeros_like(value)).to(value.device).clone()
            for name, value in (("object", x.object), ("probe", x.probe))
        }
        self.before = {"object": x.object.clone(), "probe": x.probe.clone()}

    def after_epoch(self, x: PtychoEstimate, misfit: float) -> None:
        if not self.share:
            return
        rising = misfit > self.last_misfit
        for name, value in (("object", x.object), ("probe", x.probe)):
            velocity = self.velocity[name]
            # The epoch's own change; what momentum had added before it is in `before` already.
            velocity.mul_(0.0 if rising else self.share).add_(value - self.before[name])
            value.add_(velocity, alpha=self.share)
            self.before[name].copy_(value)
        self.last_misfit = misfit

    def state(self) -> dict[str, Tensor]:
        if not self.share:
            return {}
        kept = {f"velocity.{name}": value.clone() for name, value in self.velocity.items()}
        return kept | {"last_misfit": torch.tensor(self.last_misfit, dtype=torch.float64)}
