"""Solvers one after another."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from pydantic import InstanceOf, field_validator

from exitwave.data.estimate import Estimate
from exitwave.problems.ptychography import Problem
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.registry import solver
from exitwave.solvers.spec import as_solver


@solver
class Chain(Solver[Estimate]):
    """Solvers one after another, each starting from the estimate of the one before."""

    name: ClassVar[str] = "chain"
    stages: tuple[InstanceOf[Solver[Any]], ...]
    """The solvers, in order."""

    @field_validator("stages", mode="before")
    @classmethod
    def _read_stages(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple) or not value:
            raise ValueError("a chain needs at least one solver")
        stages = [as_solver(stage) for stage in cast("list[Any]", value)]
        # A chain inside a chain is the same as its stages one by one, whose place in the run has one number.
        return tuple(part for stage in stages for part in (stage.stages if isinstance(stage, Chain) else (stage,)))

    def leaf_solvers(self) -> Iterator[Solver[Any]]:
        for stage in self.stages:
            yield from stage.leaf_solvers()

    def requirements(self, before: frozenset[str]) -> Iterator[tuple[Solver[Any], frozenset[str]]]:
        for stage in self.stages:
            yield from stage.requirements(before)
            # What one stage found stays in the estimate; positions are numbers there, refined or not.
            before |= stage.adds - {"positions"}

    @property
    def total_epochs(self) -> int | None:
        each = [stage.total_epochs for stage in self.stages]
        return None if None in each else sum(epochs or 0 for epochs in each)

    @property
    def margin_px(self) -> int:
        return max(stage.margin_px for stage in self.stages)

    @property
    def object_arrays(self) -> int:
        return max(stage.object_arrays for stage in self.stages)

    @property
    def adds(self) -> frozenset[str]:
        return frozenset().union(*(stage.adds for stage in self.stages))

    def warnings(self, problem: Problem, start: Estimate) -> tuple[str, ...]:
        return tuple(doubt for stage in self.stages for doubt in stage.warnings(problem, start))

    def locate(self, step: Step[Estimate]) -> tuple[tuple[int, ...], Solver[Any], int]:
        number = int(step.state.get("chain.stage", torch.tensor(0)))
        done = int(step.state.get("chain.epoch", torch.tensor(0)))
        inner, at_work, epochs = self.stages[number].locate(replace(step, epoch=done))
        return (number, *inner), at_work, epochs

    def solve(self, problem: Problem, start: Step[Estimate]) -> Iterator[Step[Estimate]]:
        memory = dict(start.state)
        first = int(memory.pop("chain.stage", torch.tensor(0)))
        inner = int(memory.pop("chain.epoch", torch.tensor(0)))
        done, estimate = start.epoch, start.estimate
        for number in range(first, len(self.stages)):
            step = begin = Step(epoch=inner, estimate=estimate, state=memory)
            for step in self.stages[number].solve(problem, begin):
                done += 1
                place = {"chain.stage": torch.tensor(number), "chain.epoch": torch.tensor(step.epoch)}
                yield replace(step, epoch=done, state={**step.state, **place})
            estimate, memory, inner = step.estimate, {}, 0


def chain(*stages: Solver[Any]) -> Chain:
    """Run solvers one after another: `chain(DM(epochs=50), LSQML(epochs=30))`."""
    return Chain(stages=stages)
