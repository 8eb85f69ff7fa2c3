"""L-BFGS on the complex pixels, all frames at once, under any noise model and with penalties on the object."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.memory_estimate import OBJECTS
from exitwave.problems.objective import Objective, noise_of
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.sweep import Sums
from exitwave.solvers import options
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.changes import Change
from exitwave.solvers.ptychography.limited_memory import Blocks, inverse_curvature, plus
from exitwave.solvers.registry import solver

LEAST_FALL = 1e-4
"""Share of the fall promised by the slope that a step must bring (Armijo 1966)."""
TRIALS = 8
"""Step lengths tried before the curvature is forgotten."""


@solver
class LBFGS(Solver[PtychoEstimate]):
    """Limited-memory quasi-Newton on all frames at once, preconditioned by the illumination: for other noise models and
    penalties, and for probes in focus. Nocedal & Wright, Numerical Optimization (2006), algorithm 7.4.
    """

    name: ClassVar[str] = "lbfgs"
    seeded: ClassVar[bool] = False
    epochs: PositiveInt = 100
    """Iterations; 50-200 is usual. Most take one pass over all patterns, some that must shorten their step a few."""
    noise: options.CountNoise = None
    tv: options.TotalVariation = 0.0
    isotropic: options.Isotropic = True
    l1: options.Sparsity = 0.0
    alpha: Annotated[options.Fraction, options.WhenDiverging("raise")] = 0.1
    """Preconditioning of the object: 1 treats all pixels alike, less goes farther where the probe is dim; lower it to 0.001 for
    many photons."""
    pairs: Annotated[int, Field(ge=1, le=50)] = 10
    """Earlier steps from which curvature is learnt; each holds two objects and two probes in memory."""
    probe_start: options.ProbeStart = 0
    """Epochs before the probe is first updated; curvature is learnt anew from then on."""
    update_probe: options.UpdateProbe = True

    @property
    def object_arrays(self) -> int:
        return OBJECTS + 2 * self.pairs

    def transform_state(self, state: Mapping[str, Tensor], change: Change) -> Mapping[str, Tensor]:
        # All that it keeps is curvature.
        return {} if change.forgets_curvature else {key: change.of_directions(value) for key, value in state.items()}

    def solve(self, problem: PtychographyProblem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        x = start.estimate.to(problem.device).clone()
        noise = noise_of(self.noise, problem)
        objective = Objective(problem, x, noise, tv=self.tv, l1=self.l1, isotropic=self.isotropic)
        curvature = _Curvature.from_state(start.state, problem.device)
        place: _Place | None = None
        for epoch in range(start.epoch + 1, self.epochs + 1):
            with_probe = self.update_probe and epoch > self.probe_start
            if place is None or with_probe != place.with_probe:
                place = _look(objective, self.alpha, with_probe=with_probe)
            if self.update_probe and epoch == self.probe_start + 1:
                curvature = _Curvature()
            place, curvature = _advance(objective, place, curvature, self.alpha, self.pairs)
            now = replace(x, object=place.values[0], probe=place.values[1] if with_probe else x.probe.clone())
            yield Step(epoch=epoch, estimate=now, residual=place.residual, state=curvature.state())


@dataclass(frozen=True, eq=False)
class _Place:
    """Where the descent stands: values of the blocks, the objective there, which way is down, and a diagonal inverse curvature."""

    values: Blocks
    height: float
    descent: Blocks
    steps: Blocks
    residual: float

    @property
    def with_probe(self) -> bool:
        return len(self.values) == 2


@dataclass(frozen=True, eq=False)
class _Curvature:
    """Steps made and the changes of gradient they met, oldest first."""

    moved: tuple[Blocks, ...] = ()
    turned: tuple[Blocks, ...] = ()

    def newton(self, descent: Blocks, steps: Blocks) -> Blocks:
        """The inverse curvature times the descent direction."""

        def first(way: Blocks) -> Blocks:
            return tuple(w * s for w, s in zip(way, steps, strict=True))

        return inverse_curvature(descent, self.moved, self.turned, first=first, dot=_dot)

    def learnt(self, before: _Place, after: _Place, pairs: int) -> "_Curvature":
        moved = plus(after.values, before.values, -1.0)
        turned = plus(before.descent, after.descent, -1.0)
        bent = _dot(moved, turned)
        if bent <= 1e-8 * (_dot(moved, moved) * _dot(turned, turned)) ** 0.5:
            return self
        return _Curvature((*self.moved, moved)[-pairs:], (*self.turned, turned)[-pairs:])

    def state(self) -> dict[str, Tensor]:
        both = {"moved": self.moved, "turned": self.turned}
        return {
            f"{name}.{i}.{j}": block
            for name, kept in both.items()
            for i, blocks in enumerate(kept)
            for j, block in enumerate(blocks)
        }

    @staticmethod
    def from_state(memory: Mapping[str, Tensor], device: torch.device) -> "_Curvature":
        def kept(name: str) -> tuple[Blocks, ...]:
            count = sum(key.startswith(f"{name}.") and key.endswith(".0") for key in memory)
            places = [[f"{name}.{i}.{j}" for j in range(2)] for i in range(count)]
            return tuple(tuple(memory[key].to(device) for key in place if key in memory) for place in places)

        return _Curvature(kept("moved"), kept("turned"))


def _advance(
    objective: Objective, place: _Place, curvature: _Curvature, alpha: float, pairs: int
) -> tuple[_Place, _Curvature]:
    """One step downhill, shortened by quadratic interpolation until it lowers the objective enough."""
    way = curvature.newton(place.descent, place.steps)
    slope = 2 * _dot(place.descent, way)
    if slope <= 0:
        curvature = _Curvature()
        way = tuple(d * s for d, s in zip(place.descent, place.steps, strict=True))
        slope = 2 * _dot(place.descent, way)
    length = 1.0
    for _ in range(TRIALS):
        _move(objective.x, plus(place.values, way, length))
        there = _look(objective, alpha, with_probe=place.with_probe)
        fall = place.height - there.height
        if fall >= LEAST_FALL * length * slope - 1e-7 * abs(place.height):
            return there, curvature.learnt(place, there, pairs)
        lowest = slope * length**2 / (2 * (slope * length - fall))
        length = min(max(lowest, 0.05 * length), 0.5 * length)
    _move(objective.x, place.values)
    return place, _Curvature()


def _look(objective: Objective, alpha: float, *, with_probe: bool) -> _Place:
    """The objective and its gradient at the estimate as it is now, copied out of the sums."""
    height, sums = objective.everything(with_probe=with_probe)
    x, both = objective.x, with_probe
    values = (x.object.clone(), x.probe.clone()) if both else (x.object.clone(),)
    descent = (sums.object_descent.clone(), sums.probe_descent.clone()) if both else (sums.object_descent.clone(),)
    return _Place(values, height, descent, _safe_steps(sums, alpha, objective.stiffness, both), objective.residual)


def _safe_steps(sums: Sums, alpha: float, stiffness: float, both: bool) -> Blocks:
    """One over the illumination, and over the light that each pixel of the probe has seen; less where blocks move together."""
    bright = sums.illumination.amax(dim=(1, 2), keepdim=True)
    gain = 1 / (len(sums.illumination) + both)
    curved = torch.lerp(sums.illumination, bright, max(alpha, 1e-6)) + stiffness
    steps = (gain / curved.clamp(min=1e-12),)
    return (*steps, (gain / sums.probe_weight.max().clamp(min=1e-12)).expand_as(sums.probe_descent)) if both else steps


def _move(x: PtychoEstimate, values: Blocks) -> None:
    for mine, value in zip((x.object, x.probe), values, strict=False):
        mine.copy_(value)


def _dot(one: Blocks, other: Blocks) -> float:
    pairs = ((torch.view_as_real(a), torch.view_as_real(b)) for a, b in zip(one, other, strict=True))
    return sum(float((a * b).sum(dtype=torch.float64)) for a, b in pairs)
