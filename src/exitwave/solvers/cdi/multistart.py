"""Phase retrieval from several random starts: the best of them, laid onto one another and averaged; and the usual recipe."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from exitwave.data.estimate import Estimate, SupportEstimate
from exitwave.evaluation.cdi_alignment import register_twin
from exitwave.physics.support import extent_px
from exitwave.problems.base import Problem
from exitwave.problems.cdi import SupportProblem
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.nested_state import nested
from exitwave.solvers.options import Feedback, ShrinkEvery, SigmaEnd, SigmaStart, Threshold
from exitwave.solvers.registry import solver
from exitwave.solvers.spec import SolverField, from_spec

AGREES = 0.8
"""Correlation with the best below which another start found something else, which would only blur the mean."""
WORSE = 3.0
"""Times the best's free residual, above which a start is no part of the mean: it has flaws of its own."""
WIDEST, FINEST_PX = 0.04, 0.7
"""Blur of the first update of an adaptive support, as a share of the first one's size, and of the last, pixels."""

OUTSIDE_KEPT = 0.98
"""With an adaptive support hio forgets so slowly what stands outside: see `HIO.outside_kept`."""


@solver
class BestOf(Solver[SupportEstimate]):
    """One pattern from several random starts: the best are laid onto one another (shift, twin, phase) and averaged.
    Favre-Nicolin, Leake & Chushkin, Sci. Rep. 10, 2664 (2020).
    """

    name: ClassVar[str] = "best_of"
    combines: ClassVar[bool] = True
    own_state_of_0_1_0: ClassVar[Mapping[str, str]] = {
        "start.": "",
        **{word: word for word in ("origin.", "current.", "found.")},
    }
    residual_may_rise: ClassVar[bool] = True
    solves: ClassVar[type[Problem[Any]]] = SupportProblem
    member: SolverField
    """What to do from each start, usually a chain of er and hio."""
    starts: PositiveInt = 5
    """Random starts; 5-10 is usual. The first is the start of the run, the others have phases of their own."""
    keep: PositiveInt = 2
    """Number of the best reconstructions to average; their standard deviation is the spread. The best are those with the lowest
    residual, the free residual where pixels were held out; those that found another object are left out of the mean."""

    @property
    def members(self) -> tuple[Solver[Any], ...]:
        return (self.member,) * self.starts

    @property
    def seeds(self) -> int:
        return self.starts * self.member.seeds

    def solve(self, problem: SupportProblem, start: Step[SupportEstimate]) -> Iterator[Step[SupportEstimate]]:
        own, state = self.unnested(start.state)
        first, inner = int(own.get("number", 0)), int(own.get("epoch", 0))
        found = replace(_Found.from_state(own, start.estimate), tested=problem.has_held_out)
        origin = _unpacked(own, "origin", start.estimate) or start.estimate
        current = _unpacked(own, "current", start.estimate)
        epoch = start.epoch
        for number in range(first, self.starts):
            seeded = problem.with_seed(problem.seed + 1000 * number)
            begin = current or (origin if number == 0 else seeded.begun_anew(origin))
            held = None
            for step in self.member.solve(seeded, Step(epoch=inner, estimate=begin, state=state)):
                if held is not None:
                    epoch += 1
                    yield self._shown(found, held, epoch, number, origin)
                held = step
            if held is not None:
                epoch += 1
                found = found.with_member(held.estimate, problem, self.keep)
                yield self._shown(found, replace(held, epoch=0, state={}), epoch, number + 1, origin)
            current, state, inner = None, {}, 0

    def _shown(
        self, found: "_Found", step: Step[SupportEstimate], epoch: int, number: int, origin: SupportEstimate
    ) -> Step[SupportEstimate]:
        """The step to hand out while start `number` is at work: what was found so far, or else its own estimate."""
        place = {"number": torch.tensor(number), "epoch": torch.tensor(step.epoch)}
        current = _packed("current", step.estimate) if step.epoch else {}
        state = nested(self.name, {**place, **_packed("origin", origin), **current, **found.state()}, step.state)
        if not found.members:
            return replace(step, epoch=epoch, state=state)
        mean, spread = found.averaged
        return replace(step, epoch=epoch, estimate=mean, spread=spread, state=state)


@solver
class CDI(Solver[SupportEstimate]):
    """The whole recipe for one pattern of an isolated object: begin with this; the best of several starts are averaged.
    Marchesini et al., Phys. Rev. B 68, 140101 (2003).

    Each start goes through cycles of er, hio and er with shrink-wrap, then er with the support as it is.
    """

    name: ClassVar[str] = "cdi"
    residual_may_rise: ClassVar[bool] = True
    solves: ClassVar[type[Problem[Any]]] = SupportProblem
    starts: PositiveInt = 5
    """Random starts; raise it when few of them agree."""
    keep: PositiveInt = 2
    """Number of the best reconstructions to average; their standard deviation is the spread."""
    cycles: PositiveInt = 3
    """Turns of er, hio, er in each start."""
    er: NonNegativeInt = 20
    """Epochs of error reduction before and after hio in each turn."""
    hio: PositiveInt = 240
    """Epochs of hybrid input-output in each turn; raise it when starts end with very different residuals."""
    finish: NonNegativeInt = 40
    """Epochs of error reduction at the very end, with the support as it is."""
    beta: Feedback = 0.9
    """Feedback of hio; 0.7-0.95. Lower it for noisy patterns."""
    shrink_every: ShrinkEvery = 20
    sigma_start_px: SigmaStart = 3.0
    sigma_end_px: SigmaEnd = 1.0
    threshold: Threshold = 0.2
    adaptive_threshold: bool | None = None
    """Choose the threshold by pixels held out, and the blur by the size of the first support, within which it stays. Left out:
    where the support is stated or the object real, which holds pixels out."""
    positive: bool | None = None
    """Keep the object real and positive. Left out: where the pattern equals its own mirror image, as only a real object's does."""

    @property
    def epochs(self) -> int:
        """Epochs in all, over all starts."""
        return self.starts * (self.cycles * (2 * self.er + self.hio) + self.finish)

    @property
    def seeds(self) -> int:
        return self.starts

    @cached_property
    def recipe(self) -> BestOf:
        """The same in single methods: the best of several starts of a chain of er and hio."""
        return self._recipe(self.sigma_start_px, self.sigma_end_px, adaptive=False, positive=False)

    def recipe_for(self, problem: SupportProblem) -> BestOf:
        """The recipe that suits a pattern."""
        told = problem.support_is_known or problem.symmetry.real
        adaptive = told if self.adaptive_threshold is None else self.adaptive_threshold
        positive = problem.symmetry.real if self.positive is None else self.positive
        if not adaptive:
            return self._recipe(self.sigma_start_px, self.sigma_end_px, adaptive=False, positive=positive)
        size_px = max(extent_px(problem.first_support))
        return self._recipe(max(WIDEST * size_px, FINEST_PX), FINEST_PX, adaptive=True, positive=positive)

    def _recipe(self, widest_px: float, finest_px: float, *, adaptive: bool, positive: bool) -> BestOf:
        fall = (finest_px / widest_px) ** (1 / self.cycles)
        common = {"adaptive_threshold": adaptive, "positive": positive}
        stages: list[dict[str, Any]] = []
        for cycle in range(self.cycles):
            before, after = min(widest_px * fall**cycle, 20.0), min(widest_px * fall ** (cycle + 1), 20.0)
            stages += [self._er(before), self._hio(before, after), self._er(after)]
            stages[-2]["outside_kept"] = OUTSIDE_KEPT if adaptive else 1.0
        stages.append({"name": "er", "epochs": self.finish, "shrink_every": 0, "momentum": adaptive or positive})
        return BestOf(
            member=from_spec([stage | common for stage in stages if stage["epochs"]]),
            starts=self.starts,
            keep=self.keep,
        )

    def _er(self, sigma_px: float) -> dict[str, Any]:
        return self._wrapped("er", self.er, sigma_px, sigma_px)

    def _hio(self, before_px: float, after_px: float) -> dict[str, Any]:
        return self._wrapped("hio", self.hio, before_px, after_px) | {"beta": self.beta}

    def _wrapped(self, name: str, epochs: int, before_px: float, after_px: float) -> dict[str, Any]:
        sigmas = {"sigma_start_px": before_px, "sigma_end_px": after_px}
        return {"name": name, "epochs": epochs, "shrink_every": self.shrink_every, "threshold": self.threshold} | sigmas

    def locate(self, step: Step[SupportEstimate]) -> tuple[tuple[int, ...], Solver[Any], int]:
        return self.recipe.locate(step)

    def solve(self, problem: SupportProblem, start: Step[SupportEstimate]) -> Iterator[Step[SupportEstimate]]:
        yield from self.recipe_for(problem).solve(problem, start)

    def warnings(self, problem: SupportProblem, start: SupportEstimate) -> tuple[str, ...]:
        if not problem.symmetry.exact:
            return ()
        return (
            "opposite pixels of the pattern hold exactly the same counts: it was symmetrised, which makes every object real or "
            "the equal of its twin. What is found holds for an object that is real but for a constant phase; for any other "
            "use the pattern as it was measured",
        )


@dataclass(frozen=True, eq=False)
class _Found:
    """What the starts that are done have found: the best of them, best first, with their residuals."""

    members: tuple[SupportEstimate, ...] = ()
    residuals: tuple[float, ...] = ()
    tested: bool = False
    """Whether these are free residuals, which tell how good an image is."""

    def with_member(self, x: SupportEstimate, problem: SupportProblem, keep: int) -> "_Found":
        residual = problem.residual(x, held_out=problem.has_held_out)
        together = [*zip(self.residuals, self.members, strict=True), (residual, x)]
        best = sorted(together, key=lambda pair: pair[0])[:keep]
        return _Found(tuple(member for _, member in best), tuple(value for value, _ in best), problem.has_held_out)

    @cached_property
    def averaged(self) -> tuple[SupportEstimate, Estimate | None]:
        """The mean of those that agree with the best, in its pose, and the standard deviation of each pixel."""
        best = self.members[0]
        objects, supports = [best.object], [best.support]
        for other, residual in zip(self.members[1:], self.residuals[1:], strict=True):
            if self.tested and residual > WORSE * self.residuals[0]:
                continue
            laid = register_twin(other.object, best.object)
            if laid.correlation >= AGREES:
                objects.append(laid.image)
                supports.append(laid.moved(other.support).abs() > 0.5)
        stack = torch.stack(objects)
        support = torch.stack(supports).any(dim=0)
        mean = replace(best, object=torch.where(support, stack.mean(dim=0), 0.0), support=support)
        if len(stack) < 2:
            return mean, None
        deviation = ((stack - stack.mean(dim=0)).abs().square().sum(dim=0) / (len(stack) - 1)).sqrt()
        return mean, Estimate(object=deviation.to(best.object.dtype))

    def state(self) -> dict[str, Tensor]:
        kept = {key: value for i, x in enumerate(self.members) for key, value in _packed(f"found.{i}", x).items()}
        return kept | {"found.residuals": torch.tensor(self.residuals, dtype=torch.float64)}

    @staticmethod
    def from_state(own: Mapping[str, Tensor], like: SupportEstimate) -> "_Found":
        residuals = tuple(own.get("found.residuals", torch.zeros(0)).tolist())
        members = (_unpacked(own, f"found.{i}", like) for i in range(len(residuals)))
        return _Found(tuple(x for x in members if x is not None), residuals)


def _packed(name: str, x: SupportEstimate) -> dict[str, Tensor]:
    return {f"{name}.object": x.object, f"{name}.support": x.support}


def _unpacked(own: Mapping[str, Tensor], name: str, like: SupportEstimate) -> SupportEstimate | None:
    if f"{name}.object" not in own:
        return None
    shape = like.object.shape
    # Files of 0.1.0 have one slice more.
    return replace(like, object=own[f"{name}.object"].reshape(shape), support=own[f"{name}.support"].reshape(shape))
