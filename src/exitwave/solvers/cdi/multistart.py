"""Phase retrieval from several random starts: the best of them, laid onto one another and averaged; and the usual recipe."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, cast

import torch
from pydantic import Field, InstanceOf, NonNegativeInt, PositiveInt, field_validator
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.evaluation.cdi_alignment import register_twin
from exitwave.problems.cdi import IsolatedProblem, require_isolated
from exitwave.problems.ptychography import Problem
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.registry import solver
from exitwave.solvers.spec import from_spec

AGREES = 0.8
"""Correlation with the best below which another start found something else, which would only blur the mean."""


@solver
class BestOf(Solver[PtychoEstimate]):
    """One pattern from several random starts: the best are laid onto one another (shift, twin, phase) and averaged.
    Favre-Nicolin, Leake & Chushkin, Sci. Rep. 10, 2664 (2020).
    """

    name: ClassVar[str] = "best_of"
    residual_may_rise: ClassVar[bool] = True
    one_pattern: ClassVar[bool] = True
    member: InstanceOf[Solver[Any]]
    """Solver run from each start, usually a chain of er and hio."""
    starts: PositiveInt = 5
    """Random starts; 5-10 is usual. The first is the start of the run, the others have phases of their own."""
    keep: PositiveInt = 2
    """Number of the best reconstructions to average; their standard deviation is the spread. The best are those with the lowest
    residual, the free residual where pixels were held out; those that found another object are left out of the mean."""

    @field_validator("member", mode="before")
    @classmethod
    def _read_member(cls, value: Any) -> Any:
        return from_spec(value) if isinstance(value, Mapping | str | list) else value

    def leaf_solvers(self) -> Iterator[Solver[Any]]:
        yield from self.member.leaf_solvers()

    def requirements(self, before: frozenset[str]) -> Iterator[tuple[Solver[Any], frozenset[str]]]:
        yield from self.member.requirements(before)

    def warnings(self, problem: Problem, start: PtychoEstimate) -> tuple[str, ...]:
        return self.member.warnings(problem, start)

    @property
    def total_epochs(self) -> int | None:
        inner = self.member.total_epochs
        return None if inner is None else inner * self.starts

    def locate(self, step: Step[PtychoEstimate]) -> tuple[tuple[int, ...], Solver[Any], int]:
        number = int(step.state.get("start.number", torch.tensor(0)))
        done = int(step.state.get("start.epoch", torch.tensor(0)))
        inner, at_work, epochs = self.member.locate(replace(step, epoch=done))
        return (number, *inner), at_work, epochs

    def solve(self, problem: Problem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        posed = require_isolated(self.name, problem, start.estimate)
        memory = dict(start.state)
        first = int(memory.pop("start.number", torch.tensor(0)))
        inner = int(memory.pop("start.epoch", torch.tensor(0)))
        found = _Found.from_state(memory, start.estimate)
        origin = _popped(memory, "origin", start.estimate) or start.estimate
        current = _popped(memory, "current", start.estimate)
        epoch = start.epoch
        for number in range(first, self.starts):
            own = replace(posed, seed=posed.seed + 1000 * number)
            begin = current or (origin if number == 0 else _redrawn(own, origin))
            held = None
            for step in self.member.solve(own, Step(epoch=inner, estimate=begin, state=memory)):
                if held is not None:
                    epoch += 1
                    yield found.shown(held, epoch, number, _put("origin", origin))
                held = step
            if held is not None:
                epoch += 1
                found = found.with_member(held.estimate, posed, self.keep)
                last = replace(held, epoch=0, state={})
                yield found.shown(last, epoch, number + 1, _put("origin", origin))
            current, memory, inner = None, {}, 0


@solver
class CDI(Solver[PtychoEstimate]):
    """The whole recipe for one pattern of an isolated object: begin with this; the best of several starts are averaged.
    Marchesini et al., Phys. Rev. B 68, 140101 (2003).

    Each start goes through cycles of er, hio and er with shrink-wrap, then er with the support as it is.
    """

    name: ClassVar[str] = "cdi"
    residual_may_rise: ClassVar[bool] = True
    one_pattern: ClassVar[bool] = True
    starts: PositiveInt = 5
    """Random starts; raise it when few of them agree."""
    keep: PositiveInt = 2
    """Number of the best reconstructions to average; their standard deviation is the spread."""
    cycles: PositiveInt = 3
    """Turns of er, hio, er in each start."""
    er: NonNegativeInt = 20
    """Epochs of error reduction before and after hio in each turn."""
    hio: PositiveInt = 160
    """Epochs of hybrid input-output in each turn; raise it when starts end with very different residuals."""
    finish: NonNegativeInt = 40
    """Epochs of error reduction at the very end, with the support as it is."""
    beta: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Feedback of hio; 0.7-0.95. Lower it for noisy patterns."""
    shrink_every: NonNegativeInt = 20
    """Epochs between two updates of the support (shrink-wrap); 0 keeps the first support."""
    sigma_start_px: Annotated[float, Field(gt=0, le=20)] = 3.0
    """Blur of the amplitude for the first update of the support."""
    sigma_end_px: Annotated[float, Field(gt=0, le=20)] = 1.0
    """Blur for the last update; 1-1.5 follows edges closely."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the blurred amplitude's maximum above which a pixel belongs to the object. Lower it when thin or dark parts
    are cut off, raise it when the support stays loose."""

    @property
    def epochs(self) -> int:
        """Epochs in all, over all starts."""
        return self.starts * (self.cycles * (2 * self.er + self.hio) + self.finish)

    @cached_property
    def recipe(self) -> BestOf:
        """The same in single methods: the best of several starts of a chain of er and hio."""
        fall = (self.sigma_end_px / self.sigma_start_px) ** (1 / self.cycles)
        stages: list[dict[str, Any]] = []
        for cycle in range(self.cycles):
            before, after = self.sigma_start_px * fall**cycle, self.sigma_start_px * fall ** (cycle + 1)
            stages += [self._er(before), self._hio(before, after), self._er(after)]
        stages.append({"name": "er", "epochs": self.finish, "shrink_every": 0})
        return BestOf(
            member=from_spec([stage for stage in stages if stage["epochs"]]), starts=self.starts, keep=self.keep
        )

    def _er(self, sigma_px: float) -> dict[str, Any]:
        return self._wrapped("er", self.er, sigma_px, sigma_px)

    def _hio(self, before_px: float, after_px: float) -> dict[str, Any]:
        return self._wrapped("hio", self.hio, before_px, after_px) | {"beta": self.beta}

    def _wrapped(self, name: str, epochs: int, before_px: float, after_px: float) -> dict[str, Any]:
        sigmas = {"sigma_start_px": before_px, "sigma_end_px": after_px}
        return {"name": name, "epochs": epochs, "shrink_every": self.shrink_every, "threshold": self.threshold} | sigmas

    def locate(self, step: Step[PtychoEstimate]) -> tuple[tuple[int, ...], Solver[Any], int]:
        return self.recipe.locate(step)

    def solve(self, problem: Problem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        require_isolated(self.name, problem, start.estimate)
        yield from self.recipe.solve(problem, start)


@dataclass(frozen=True, eq=False)
class _Found:
    """What the starts that are done have found: the best of them, best first, with their residuals."""

    members: tuple[PtychoEstimate, ...] = ()
    residuals: tuple[float, ...] = ()

    def with_member(self, x: PtychoEstimate, problem: IsolatedProblem, keep: int) -> "_Found":
        residual = problem.residual(x, held_out=bool(problem.held_out.any()))
        together = [*zip(self.residuals, self.members, strict=True), (residual, x)]
        best = sorted(together, key=lambda pair: pair[0])[:keep]
        return _Found(tuple(member for _, member in best), tuple(value for value, _ in best))

    def shown(
        self, step: Step[PtychoEstimate], epoch: int, number: int, origin: Mapping[str, Tensor]
    ) -> Step[PtychoEstimate]:
        """The step to hand out while start `number` is at work: what was found so far, or else its own estimate."""
        place = {"start.number": torch.tensor(number), "start.epoch": torch.tensor(step.epoch)}
        current = _put("current", step.estimate) if step.epoch else {}
        memory = {**step.state, **place, **origin, **current, **self.state()}
        if not self.members:
            return replace(step, epoch=epoch, state=memory)
        mean, spread = self.averaged
        return replace(step, epoch=epoch, estimate=mean, spread=spread, state=memory)

    @cached_property
    def averaged(self) -> tuple[PtychoEstimate, PtychoEstimate | None]:
        """The mean of those that agree with the best, in its pose, and the standard deviation of each pixel."""
        best = self.members[0]
        objects, supports = [best.object], [best.support]
        for other in self.members[1:]:
            laid = register_twin(other.object[0], best.object[0])
            if laid.correlation >= AGREES:
                assert other.support is not None
                objects.append(laid.image[None])
                supports.append(laid.moved(other.support[0]).abs()[None] > 0.5)
        stack = torch.stack(objects)
        support = torch.stack(cast("list[Tensor]", supports)).any(dim=0)
        mean = replace(best, object=torch.where(support, stack.mean(dim=0), 0.0), support=support)
        if len(stack) < 2:
            return mean, None
        deviation = ((stack - stack.mean(dim=0)).abs().square().sum(dim=0) / (len(stack) - 1)).sqrt()
        # The probe is known: an even beam.
        known = torch.zeros_like(best.probe)
        return mean, replace(best, object=deviation.to(best.object.dtype), probe=known, support=None)

    def state(self) -> dict[str, Tensor]:
        kept = {key: value for i, x in enumerate(self.members) for key, value in _put(f"found.{i}", x).items()}
        return kept | {"found.residuals": torch.tensor(self.residuals, dtype=torch.float64)}

    @staticmethod
    def from_state(memory: dict[str, Tensor], like: PtychoEstimate) -> "_Found":
        residuals = tuple(memory.pop("found.residuals", torch.zeros(0)).tolist())
        members = (_popped(memory, f"found.{i}", like) for i in range(len(residuals)))
        return _Found(tuple(x for x in members if x is not None), residuals)


def _redrawn(problem: IsolatedProblem, origin: PtychoEstimate) -> PtychoEstimate:
    assert origin.support is not None
    return problem.random_start(origin.support.to(problem.device))


def _put(name: str, x: PtychoEstimate) -> dict[str, Tensor]:
    assert x.support is not None
    return {f"{name}.object": x.object, f"{name}.support": x.support}


def _popped(memory: dict[str, Tensor], name: str, like: PtychoEstimate) -> PtychoEstimate | None:
    if f"{name}.object" not in memory:
        return None
    return replace(like, object=memory.pop(f"{name}.object"), support=memory.pop(f"{name}.support"))
