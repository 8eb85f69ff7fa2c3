"""The same solver several times with other seeds: what chance has to do with each pixel."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.base import Problem
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.nested_state import nested
from exitwave.solvers.registry import solver
from exitwave.solvers.spec import SolverField


@solver
class Ensemble(Solver[PtychoEstimate]):
    """The same solver with several seeds: their mean, and their standard deviation in each pixel as spread.

    Members are brought to one global phase and scale before they are compared. Deep ensembles: Lakshminarayanan,
    Pritzel & Blundell, NeurIPS 30 (2017).
    """

    name: ClassVar[str] = "ensemble"
    combines: ClassVar[bool] = True
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
    def object_arrays(self) -> int:
        # Origin, member, mean and deviations.
        return super().object_arrays + 4

    def solve(self, problem: Problem[Any], start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        own, state = self.unnested(start.state)
        first, inner = int(own.get("number", 0)), int(own.get("epoch", 0))
        moments = _Moments.from_state(own)
        # Every member starts where the ensemble started, also after a resume in the middle of a later member.
        origin = _unpacked(own, "origin", start.estimate)
        kept = _packed("origin", origin)
        estimate = _unpacked(own, "member", start.estimate)
        done = start.epoch
        for number in range(first, self.size):
            step = begin = Step(epoch=inner, estimate=estimate, state=state)
            for step in self.member.solve(problem.with_seed(problem.seed + 1000 * number), begin):
                done += 1
                seen = moments.with_member(step.estimate)
                place = {"number": torch.tensor(number), "epoch": torch.tensor(step.epoch)}
                own = {**kept, **_packed("member", step.estimate), **moments.state(), **place}
                mean, spread = seen.mean(step.estimate), seen.spread()
                carried = nested(self.name, own, step.state)
                yield replace(step, epoch=done, estimate=mean, spread=spread, state=carried)
            moments = moments.with_member(step.estimate)
            estimate, state, inner = origin, {}, 0


def ensemble(member: Solver[Any], size: int = 5) -> Ensemble:
    """Repeat a solver with `size` seeds to learn how far its images can be trusted."""
    return Ensemble(member=member, size=size)


def _packed(name: str, x: PtychoEstimate) -> dict[str, Tensor]:
    """All that an estimate holds, for the state of a step."""
    values = {field.name: getattr(x, field.name) for field in fields(x)}
    return {f"{name}.{key}": value for key, value in values.items() if value is not None}


def _unpacked(own: Mapping[str, Tensor], name: str, otherwise: PtychoEstimate) -> PtychoEstimate:
    """The estimate of this name in a state; another one when it holds none."""
    if f"{name}.object" not in own:
        return otherwise
    return PtychoEstimate(**{f.name: own.get(f"{name}.{f.name}") for f in fields(otherwise)})  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, eq=False)
class _Moments:
    """Running mean and sum of squared deviations of phase-aligned members (Welford 1962)."""

    count: int = 0
    means: tuple[Tensor, ...] = ()
    deviations: tuple[Tensor, ...] = ()

    def with_member(self, x: PtychoEstimate) -> "_Moments":
        values = (x.object, x.probe)
        if not self.count:
            return _Moments(1, values, tuple(torch.zeros_like(v.real) for v in values))
        overlap = (self.means[0].conj() * values[0]).sum()
        turn = (overlap / overlap.abs().clamp(min=1e-30)).conj()
        values = (values[0] * turn, values[1] * turn.conj())
        count = self.count + 1
        means = tuple(m + (v - m) / count for m, v in zip(self.means, values, strict=True))
        spread = tuple(
            d + ((v - m).conj() * (v - new)).real
            for d, m, new, v in zip(self.deviations, self.means, means, values, strict=True)
        )
        return _Moments(count, means, spread)

    def mean(self, like: PtychoEstimate) -> PtychoEstimate:
        return replace(like, object=self.means[0], probe=self.means[1])

    def spread(self) -> PtychoEstimate | None:
        if self.count < 2:
            return None
        deviation = [(d / (self.count - 1)).clamp(min=0).sqrt().to(torch.complex64) for d in self.deviations]
        return PtychoEstimate(
            object=deviation[0], probe=deviation[1], positions_px=torch.zeros(0, 2, dtype=torch.float64)
        )

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
        return _Moments(count, (own["mean.0"], own["mean.1"]), (own["dev.0"], own["dev.1"]))
