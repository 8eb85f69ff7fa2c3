"""Solvers one after another."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from pydantic import field_validator

from exitwave.data.estimate import Estimate
from exitwave.problems.base import Problem
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.nested_state import nested
from exitwave.solvers.registry import solver
from exitwave.solvers.spec import SolverField


@solver
class Chain(Solver[Estimate]):
    """Solvers one after another, each starting from the estimate of the one before."""

    name: ClassVar[str] = "chain"
    combines: ClassVar[bool] = True
    solves: ClassVar[type[Problem[Any]]] = Problem
    own_state_of_0_1_0: ClassVar[Mapping[str, str]] = {"chain.stage": "number"}
    stages: tuple[SolverField, ...]
    """The solvers, in order."""

    @field_validator("stages")
    @classmethod
    def _in_a_row(cls, stages: tuple[Solver[Any], ...]) -> tuple[Solver[Any], ...]:
        if not stages:
            raise ValueError("a chain needs at least one solver")
        # A chain inside a chain is the same as its stages one by one, whose place in the run has one number.
        return tuple(part for stage in stages for part in (stage.stages if isinstance(stage, Chain) else (stage,)))

    @property
    def members(self) -> tuple[Solver[Any], ...]:
        return self.stages

    def solve(self, problem: Problem[Any], start: Step[Estimate]) -> Iterator[Step[Estimate]]:
        own, state = self.unnested(start.state)
        first, inner = int(own.get("number", 0)), int(own.get("epoch", 0))
        done, estimate = start.epoch, start.estimate
        for number in range(first, len(self.stages)):
            step = begin = Step(epoch=inner, estimate=estimate, state=state)
            for step in self.stages[number].solve(problem, begin):
                done += 1
                own = {"number": torch.tensor(number), "epoch": torch.tensor(step.epoch)}
                yield replace(step, epoch=done, state=nested(self.name, own, step.state))
            estimate, state, inner = step.estimate, {}, 0


def chain(*stages: Solver[Any]) -> Chain:
    """Run solvers one after another: `chain(DM(epochs=50), LSQML(epochs=30))`."""
    return Chain(stages=stages)
