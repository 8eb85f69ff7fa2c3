"""Phase retrieval from several random starts: the best of them, laid onto one another and averaged; and the usual recipe."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from pydantic import NonNegativeInt, PositiveInt

from exitwave.data.estimate import SupportEstimate
from exitwave.physics.support import extent_px
from exitwave.problems.base import Problem
from exitwave.problems.bragg import BraggProblem
from exitwave.problems.cdi import SupportProblem
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.cdi.found import Found, Generation, packed, unpacked
from exitwave.solvers.cdi.phase_retrieval import ER
from exitwave.solvers.nested_state import nested
from exitwave.solvers.options import CoherenceEvery, Feedback, ShrinkEvery, SigmaEnd, SigmaStart, Threshold
from exitwave.solvers.registry import solver
from exitwave.solvers.spec import SolverField, from_spec

WIDEST, FINEST_PX = 0.04, 0.7
"""Blur of the first update of an adaptive support, as a share of the first one's size, and of the last, pixels."""

OUTSIDE_KEPT = 0.98
"""With an adaptive support hio forgets so slowly what stands outside: see `HIO.outside_kept`."""


@solver
class BestOf(Solver[SupportEstimate]):
    """One pattern from several random starts: the best are laid onto one another (shift, twin, phase) and averaged.
    Favre-Nicolin, Leake & Chushkin, Sci. Rep. 10, 2664 (2020); guided: Chen et al., Phys. Rev. B 76, 064113 (2007).
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

    generations: PositiveInt = 1
    """Times that all starts are run: from the second time on each begins halfway between what it found and the best of all
    (guided, or genetic, phase retrieval), for objects of which few starts find the same. How far starts agree by themselves is
    that of the first time."""
    polish: NonNegativeInt = 0
    """Epochs of error reduction from the mean, with its support as it is."""

    @property
    def members(self) -> tuple[Solver[Any], ...]:
        return (self.member,) * self.runs

    @property
    def runs(self) -> int:
        """Starts of all generations."""
        return self.starts * self.generations

    @property
    def total_epochs(self) -> int | None:
        each = super().total_epochs
        return None if each is None else each + self.polish

    @property
    def seeds(self) -> int:
        return self.runs * self.member.seeds

    def solve(self, problem: SupportProblem, start: Step[SupportEstimate]) -> Iterator[Step[SupportEstimate]]:
        own, state = self.unnested(start.state)
        first, inner = int(own.get("number", 0)), int(own.get("epoch", 0))
        found = replace(Found.from_state(own, start.estimate), tested=problem.has_held_out)
        generation = Generation.from_state(own, start.estimate)
        origin = unpacked(own, "origin", start.estimate) or start.estimate
        current = unpacked(own, "current", start.estimate)
        epoch = start.epoch
        for number in range(first, self.runs):
            seeded = problem.with_seed(problem.seed + 1000 * number)
            if number and number % self.starts == 0 and not inner:
                found, generation = Found(tested=problem.has_held_out), generation.next(found)
            begin = current or self._begin(seeded, generation, origin, number)
            held = None
            for step in self.member.solve(seeded, Step(epoch=inner, estimate=begin, state=state)):
                if held is not None:
                    epoch += 1
                    yield self._shown(found, generation, held, epoch, number, origin)
                held = step
            if held is not None:
                epoch += 1
                found = found.with_member(held.estimate, problem, self.keep)
                generation = generation.with_child(held.estimate) if number < self.runs - self.starts else generation
                done = replace(held, epoch=0, state={})
                yield self._shown(found, generation, done, epoch, number + 1, origin)
            current, state, inner = None, {}, 0
        yield from self._polished(problem, found, generation, origin, Step(epoch=epoch, estimate=origin, state=own))

    def _begin(
        self, problem: SupportProblem, generation: Generation, origin: SupportEstimate, number: int
    ) -> SupportEstimate:
        """Where a start begins: in the first generation by chance, later from what it found then, drawn to the best."""
        if number >= self.starts:
            return generation.guided_start(number % self.starts)
        return origin if number == 0 else problem.begun_anew(origin)

    def _shown(
        self,
        found: Found,
        generation: Generation,
        step: Step[SupportEstimate],
        epoch: int,
        number: int,
        origin: SupportEstimate,
    ) -> Step[SupportEstimate]:
        """The step to hand out while start `number` is at work: what was found so far, or else its own estimate."""
        place = {"number": torch.tensor(number), "epoch": torch.tensor(step.epoch)}
        current = packed("current", step.estimate) if step.epoch else {}
        kept = {**place, **packed("origin", origin), **current, **found.state(), **generation.state()}
        state = nested(self.name, kept, step.state)
        if not found.members:
            return replace(step, epoch=epoch, state=state)
        mean, spread = found.averaged
        return replace(step, epoch=epoch, estimate=mean, spread=spread, state=state)

    def _polished(
        self,
        problem: SupportProblem,
        found: Found,
        generation: Generation,
        origin: SupportEstimate,
        last: Step[SupportEstimate],
    ) -> Iterator[Step[SupportEstimate]]:
        """Error reduction from the mean of what was found, whose parts need not fit the pattern together."""
        if not self.polish or not found.members:
            return
        mean, spread = found.averaged
        done = int(last.state.get("polished", 0))
        begin = (unpacked(last.state, "current", origin) if done else None) or mean
        for step in ER(epochs=self.polish, shrink_every=0).solve(problem, Step(epoch=done, estimate=begin)):
            kept = {"number": torch.tensor(self.runs), "polished": torch.tensor(step.epoch)}
            kept |= packed("origin", origin) | packed("current", step.estimate) | found.state() | generation.state()
            epoch = last.epoch + step.epoch - done
            yield replace(step, epoch=epoch, spread=spread, state=nested(self.name, kept, {}))


@dataclass(frozen=True)
class _Usual:
    """What of the shrink-wrap suits a kind of object."""

    threshold: float
    sigma_start_px: float
    polish: int


_PATTERN, _CRYSTAL = _Usual(0.2, 3.0, 0), _Usual(0.12, 2.0, 60)


@solver
class CDI(Solver[SupportEstimate]):
    """The whole recipe for one pattern of an isolated object: begin with this; the best of several starts are averaged.
    Marchesini et al., Phys. Rev. B 68, 140101 (2003).

    Each start goes through cycles of er, hio and er with shrink-wrap, then er with the support as it is.
    """

    name: ClassVar[str] = "cdi"
    left_out: ClassVar[Mapping[str, Any]] = {"sigma_start_px": 3.0, "threshold": 0.2}
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
    sigma_start_px: SigmaStart | None = None
    """Blur of the amplitude for the first update of the support; larger where it begins far too large. Left out: 3, and 2 for a
    crystal."""
    sigma_end_px: SigmaEnd = 1.0
    threshold: Threshold | None = None
    """Share of the blurred amplitude's maximum above which a pixel belongs to the object. Lower it when thin or dark parts are
    cut off, raise it when the support stays loose. Left out: 0.2, and 0.12 for a crystal, whose density is even."""
    coherence_every: CoherenceEvery = 0
    generations: PositiveInt = 1
    """Times that all starts are run, from the second time on guided by the best of all; 2-3 for strained crystals of which few
    starts find the same. See best_of."""
    polish: NonNegativeInt | None = None
    """Epochs of error reduction from the mean, beside those above. Left out: none, and 60 for a crystal."""
    adaptive_threshold: bool | None = None
    """Choose the threshold by pixels held out, and the blur by the size of the first support, within which it stays. Left out:
    where the support is stated or the object real, which holds pixels out."""
    positive: bool | None = None
    """Keep the object real and positive. Left out: where the pattern equals its own mirror image, as only a real object's does."""

    @property
    def epochs(self) -> int:
        """Epochs in all, over all starts."""
        each = self.cycles * (2 * self.er + self.hio) + self.finish
        return self.starts * self.generations * each + (self.polish or 0)

    @property
    def seeds(self) -> int:
        return self.starts * self.generations

    @cached_property
    def recipe(self) -> BestOf:
        """The same in single methods: the best of several starts of a chain of er and hio."""
        return self._recipe(_PATTERN, self.sigma_start_px or _PATTERN.sigma_start_px, self.sigma_end_px)

    def recipe_for(self, problem: SupportProblem) -> BestOf:
        """The recipe that suits a pattern."""
        told = problem.support_is_known or problem.symmetry.real
        usual = _CRYSTAL if isinstance(problem, BraggProblem) else _PATTERN
        adaptive = told if self.adaptive_threshold is None else self.adaptive_threshold
        positive = problem.symmetry.real if self.positive is None else self.positive
        if not adaptive:
            start_px = self.sigma_start_px or usual.sigma_start_px
            return self._recipe(usual, start_px, self.sigma_end_px, positive=positive)
        size_px = max(extent_px(problem.first_support))
        return self._recipe(usual, max(WIDEST * size_px, FINEST_PX), FINEST_PX, adaptive=True, positive=positive)

    def _recipe(
        self, usual: "_Usual", widest_px: float, finest_px: float, *, adaptive: bool = False, positive: bool = False
    ) -> BestOf:
        fall = (finest_px / widest_px) ** (1 / self.cycles)
        common: dict[str, Any] = {"adaptive_threshold": adaptive, "positive": positive}
        stages: list[dict[str, Any]] = []
        for cycle in range(self.cycles):
            before, after = min(widest_px * fall**cycle, 20.0), min(widest_px * fall ** (cycle + 1), 20.0)
            turn = [self._er(before), self._hio(before, after), self._er(after)]
            turn[1]["outside_kept"] = OUTSIDE_KEPT if adaptive else 1.0
            # While nothing is known of the object a blur would explain whatever it does not.
            stages += [stage | {"coherence_every": self.coherence_every if cycle else 0} for stage in turn]
        last = {"name": "er", "epochs": self.finish, "shrink_every": 0, "momentum": adaptive or positive}
        stages.append(last | {"coherence_every": self.coherence_every})
        common["threshold"] = self.threshold or usual.threshold
        return BestOf(
            member=from_spec([stage | common for stage in stages if stage["epochs"]]),
            starts=self.starts,
            keep=self.keep,
            generations=self.generations,
            polish=usual.polish if self.polish is None else self.polish,
        )

    def _er(self, sigma_px: float) -> dict[str, Any]:
        return self._wrapped("er", self.er, sigma_px, sigma_px)

    def _hio(self, before_px: float, after_px: float) -> dict[str, Any]:
        return self._wrapped("hio", self.hio, before_px, after_px) | {"beta": self.beta}

    def _wrapped(self, name: str, epochs: int, before_px: float, after_px: float) -> dict[str, Any]:
        sigmas = {"sigma_start_px": before_px, "sigma_end_px": after_px}
        return {"name": name, "epochs": epochs, "shrink_every": self.shrink_every} | sigmas

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
