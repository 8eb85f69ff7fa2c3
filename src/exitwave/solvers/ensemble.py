"""The same solver several times with other seeds: what chance has to do with each pixel."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from pydantic import InstanceOf, PositiveInt, field_validator
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.ptychography import Problem
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.registry import solver
from exitwave.solvers.spec import from_spec


@solver
class Ensemble(Solver[PtychoEstimate]):
    """The same solver with several seeds: their mean, and their standard deviation in each pixel as spread.

    Members are brought to one global phase and scale before they are compared. Deep ensembles: Lakshminarayanan,
    Pritzel & Blundell, NeurIPS 30 (2017).
    """

    name: ClassVar[str] = "ensemble"
    member: InstanceOf[Solver[Any]]
    """The solver to repeat."""
    size: PositiveInt = 5
    """Number of members; 5 is usual, below 3 the spread says little."""

    @field_validator("member", mode="before")
    @classmethod
    def _read_member(cls, value: Any) -> Any:
        member = from_spec(value) if isinstance(value, Mapping | str | list) else value
        return member

    def leaf_solvers(self) -> Iterator[Solver[Any]]:
        yield from self.member.leaf_solvers()

    def requirements(self, before: frozenset[str]) -> Iterator[tuple[Solver[Any], frozenset[str]]]:
        yield from self.member.requirements(before)

    def warnings(self, problem: Problem, start: PtychoEstimate) -> tuple[str, ...]:
        return self.member.warnings(problem, start)

    @property
    def total_epochs(self) -> int | None:
        inner = self.member.total_epochs
        return None if inner is None else inner * self.size

    @property
    def margin_px(self) -> int:
        return self.member.margin_px

    @property
    def object_arrays(self) -> int:
        # Origin, member, mean and deviations.
        return self.member.object_arrays + 4

    @property
    def adds(self) -> frozenset[str]:
        return self.member.adds

    def locate(self, step: Step[PtychoEstimate]) -> tuple[tuple[int, ...], Solver[Any], int]:
        number = int(step.state.get("ensemble.member", torch.tensor(0)))
        done = int(step.state.get("ensemble.epoch", torch.tensor(0)))
        inner, at_work, epochs = self.member.locate(replace(step, epoch=done))
        return (number, *inner), at_work, epochs

    def solve(self, problem: Problem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        memory = dict(start.state)
        first = int(memory.pop("ensemble.member", torch.tensor(0)))
        inner = int(memory.pop("ensemble.epoch", torch.tensor(0)))
        moments = _Moments.from_state(memory)
        # Every member starts where the ensemble started, also after a resume in the middle of a later member.
        origin = _unpacked(memory, "origin", start.estimate)
        kept = _packed("origin", origin)
        estimate = _unpacked(memory, "member", start.estimate)
        done = start.epoch
        for number in range(first, self.size):
            step = begin = Step(epoch=inner, estimate=estimate, state=memory)
            for step in self.member.solve(replace(problem, seed=problem.seed + 1000 * number), begin):
                done += 1
                seen = moments.with_member(step.estimate)
                place = {"ensemble.member": torch.tensor(number), "ensemble.epoch": torch.tensor(step.epoch)}
                current = _packed("member", step.estimate)
                carried = {**step.state, **kept, **current, **moments.state(), **place}
                yield replace(step, epoch=done, estimate=seen.mean(step.estimate), spread=seen.spread(), state=carried)
            moments = moments.with_member(step.estimate)
            estimate, memory, inner = origin, {}, 0


def ensemble(member: Solver[Any], size: int = 5) -> Ensemble:
    """Repeat a solver with `size` seeds to learn how far its images can be trusted."""
    return Ensemble(member=member, size=size)


def _packed(name: str, x: PtychoEstimate) -> dict[str, Tensor]:
    """All that an estimate holds, for the memory of a step."""
    values = {field.name: getattr(x, field.name) for field in fields(x)}
    return {f"{name}.{key}": value for key, value in values.items() if value is not None}


def _unpacked(memory: dict[str, Tensor], name: str, otherwise: PtychoEstimate) -> PtychoEstimate:
    """The estimate taken out of a memory; another one when it holds none."""
    if f"{name}.object" not in memory:
        return otherwise
    return PtychoEstimate(**{f.name: memory.pop(f"{name}.{f.name}", None) for f in fields(otherwise)})  # pyright: ignore[reportArgumentType]


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
        return named | {"moments.count": torch.tensor(self.count)}

    @staticmethod
    def from_state(memory: dict[str, Tensor]) -> "_Moments":
        count = int(memory.pop("moments.count", torch.tensor(0)))
        if not count:
            return _Moments()
        means = tuple(memory.pop(f"mean.{i}") for i in range(2))
        return _Moments(count, means, tuple(memory.pop(f"dev.{i}") for i in range(2)))
