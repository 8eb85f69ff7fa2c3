"""The same solver several times with other seeds: what chance has to do with each pixel."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor

from exitwave.data.estimate import Estimate
from exitwave.evaluation.gauge import same_gauge
from exitwave.problems.base import Problem
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.nested_state import nested
from exitwave.solvers.registry import solver
from exitwave.solvers.spec import SolverField


@solver
class Ensemble(Solver[Estimate]):
    """The same solver with several seeds: their mean, and their standard deviation in each pixel as spread.

    Members are brought to one gauge before they are compared: one global phase, and of an isolated object one place and
    twin. Where chance makes the start, each has one of its own. Deep ensembles: Lakshminarayanan, Pritzel & Blundell,
    NeurIPS 30 (2017).
    """

    name: ClassVar[str] = "ensemble"
    combines: ClassVar[bool] = True
    solves: ClassVar[type[Problem[Any]]] = Problem
    own_state_of_0_1_0: ClassVar[Mapping[str, str]] = {
        "ensemble.member": "number",
        "moments.count": "count",
        **{word: word for word in ("origin.", "member.", "mean.", "dev.")},
    }
    member: SolverField
    """The solver to repeat."""
    size: PositiveInt = 5
    """Number of members; 5 is usual, below 3 the spread says little."""

    @property
    def members(self) -> tuple[Solver[Any], ...]:
        return (self.member,) * self.size

    @property
    def seeds(self) -> int:
        return self.size * self.member.seeds

    @property
    def object_arrays(self) -> int:
        # Origin, member, mean and deviations.
        return super().object_arrays + 4

    def solve(self, problem: Problem[Any], start: Step[Estimate]) -> Iterator[Step[Estimate]]:
        own, state = self.unnested(start.state)
        first, inner = int(own.get("number", 0)), int(own.get("epoch", 0))
        moments = _Moments.from_state(own)
        # Every member starts where the ensemble started, also after a resume in the middle of a later member.
        origin = _unpacked(own, "origin", start.estimate)
        kept = _packed("origin", origin)
        estimate = _unpacked(own, "member", start.estimate)
        done = start.epoch
        for number in range(first, self.size):
            seeded = problem.with_seed(problem.seed + 1000 * self.member.seeds * number)
            if number and estimate is origin:
                estimate = seeded.begun_anew(origin)
            step = begin = Step(epoch=inner, estimate=estimate, state=state)
            for step in self.member.solve(seeded, begin):
                done += 1
                seen = moments.with_member(step.estimate)
                place = {"number": torch.tensor(number), "epoch": torch.tensor(step.epoch)}
                own = {**kept, **_packed("member", step.estimate), **moments.state(), **place}
                mean, spread = seen.mean(step.estimate), seen.spread(step.estimate)
                carried = nested(self.name, own, step.state)
                yield replace(step, epoch=done, estimate=mean, spread=spread, state=carried)
            moments = moments.with_member(step.estimate)
            estimate, state, inner = origin, {}, 0


def ensemble(member: Solver[Any], size: int = 5) -> Ensemble:
    """Repeat a solver with `size` seeds to learn how far its images can be trusted."""
    return Ensemble(member=member, size=size)


def _packed(name: str, x: Estimate) -> dict[str, Tensor]:
    """All that an estimate holds, for the state of a step."""
    return {f"{name}.{key}": value for key, value in x.tensors().items()}


def _unpacked(own: Mapping[str, Tensor], name: str, otherwise: Estimate) -> Estimate:
    """The estimate of this name in a state; another one when it holds none."""
    if f"{name}.object" not in own:
        return otherwise
    held = {key.removeprefix(f"{name}."): value for key, value in own.items() if key.startswith(f"{name}.")}
    return type(otherwise)(**held)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, eq=False)
class _Moments:
    """Running mean and sum of squared deviations of members in one gauge (Welford 1962)."""

    count: int = 0
    means: tuple[Tensor, ...] = ()
    deviations: tuple[Tensor, ...] = ()

    def with_member(self, x: Estimate) -> "_Moments":
        if not self.count:
            values = _images(x)
            return _Moments(1, values, tuple(torch.zeros_like(v.real) for v in values))
        values = _images(same_gauge(x, x.with_images(self.means)))
        count = self.count + 1
        means = tuple(m + (v - m) / count for m, v in zip(self.means, values, strict=True))
        spread = tuple(
            d + ((v - m).conj() * (v - new)).real
            for d, m, new, v in zip(self.deviations, self.means, means, values, strict=True)
        )
        return _Moments(count, means, spread)

    def mean(self, like: Estimate) -> Estimate:
        return like.with_images(self.means)

    def spread(self, like: Estimate) -> Estimate | None:
        if self.count < 2:
            return None
        return like.spread([(d / (self.count - 1)).clamp(min=0).sqrt().to(torch.complex64) for d in self.deviations])

    def state(self) -> dict[str, Tensor]:
        named = {f"mean.{i}": m for i, m in enumerate(self.means)} | {
            f"dev.{i}": d for i, d in enumerate(self.deviations)
        }
        return named | {"count": torch.tensor(self.count)}

    @staticmethod
    def from_state(own: Mapping[str, Tensor]) -> "_Moments":
        count = int(own.get("count", 0))
        if not count:
            return _Moments()
        held = range(sum(key.startswith("mean.") for key in own))
        return _Moments(count, tuple(own[f"mean.{i}"] for i in held), tuple(own[f"dev.{i}"] for i in held))


def _images(x: Estimate) -> tuple[Tensor, ...]:
    return tuple(x.tensors()[name] for name in x.images)
