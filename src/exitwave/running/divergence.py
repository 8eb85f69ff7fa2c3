"""Runs that diverge: noticed, ended, and what to change."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from annotated_types import Le
from jaxtyping import Complex
from pydantic.fields import FieldInfo
from torch import Tensor

from exitwave.data.estimate import LARGEST
from exitwave.problems.base import Problem
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.options import WhenDiverging

RISE = 10.0
"""A residual so many times its lowest value means that a run diverges."""
NEGLIGIBLE = 1e-5
"""Residuals below this count as this: rounding makes those of perfect data jump."""


class DivergenceGuard:
    """Watches the steps of a run for divergence, and keeps the estimates to fall back on.

    A run diverges when residual or estimate are not finite, or when the residual rises to ten times its lowest value so
    far, unless the residual of the solver at work may rise. Stages of a chain and members of an ensemble are watched
    each by itself.
    """

    def __init__(self, solver: Solver[Any], start: Step[Any], history: Sequence[float]) -> None:
        self._solver = solver
        self.at_work = solver
        """The single method that made the last step."""
        self._stage: object = None
        self._lowest = math.inf
        self._kept: dict[str, Step[Any]] = {}
        if history:
            self._stage, self.at_work, epochs = solver.locate(start)
            self._lowest = min(history[-epochs:] if epochs else history[:0], default=math.inf)
            self._keep(start, history[-1])

    def fault(self, step: Step[Any]) -> str:
        """What is wrong with a step, in words; nothing when it is good."""
        stage, self.at_work, _ = self._solver.locate(step)
        if not _finite(step):
            return "residual or estimate are no longer finite"
        if stage != self._stage:
            self._stage, self._lowest = stage, math.inf
        lowest = max(self._lowest, NEGLIGIBLE)
        if not self.at_work.residual_may_rise and step.residual > RISE * lowest:
            return f"the residual rose to {step.residual:.3g}, {step.residual / lowest:.2g} times its lowest value"
        self._keep(step, step.residual)
        return ""

    def _keep(self, step: Step[Any], residual: float) -> None:
        # Without the memory, which may be large and which nobody needs any more.
        light = replace(step, state={})
        if residual <= self._lowest:
            self._lowest = residual
            # The residual of an epoch is that met on the way: the estimate before may be the better one.
            self._kept["before"] = self._kept.get("last", light)
            self._kept["lowest"] = light
        self._kept["last"] = light

    def fallback(self, problem: Problem[Any]) -> Step[Any] | None:
        """The best of the good estimates: of the epoch of lowest residual, the one before it and the last; None without any."""
        if not self._kept:
            return None
        return min(self._kept.values(), key=lambda step: problem.residual(step.estimate))


def advice(solver: Solver[Any]) -> str:
    """What to change in a single method that diverges, as its options say themselves."""
    told: dict[str, list[str]] = {"lower": [], "raise": []}
    options: Mapping[str, FieldInfo] = getattr(solver, "__pydantic_fields__", {})
    for name, option in options.items():
        value, most = getattr(solver, name), [meta.le for meta in option.metadata if isinstance(meta, Le)]
        for meta in option.metadata:
            if isinstance(meta, WhenDiverging) and (value if meta.change == "lower" else value not in most):
                told[meta.change].append(name)
    changes = [f"{change} {' or '.join(names)}" for change, names in told.items() if names]
    return f"{solver.name}: {', '.join(changes or ['start from another estimate or solver'])}"


def _finite(step: Step[Any]) -> bool:
    """Whether an epoch ended well; the last batch can spoil an estimate without showing in the residual."""
    return math.isfinite(step.residual) and all(
        _within_bounds(a) for a in step.estimate.tensors().values() if a.is_complex() and a.numel()
    )


def _within_bounds(values: Complex[Tensor, "*axes"]) -> bool:
    """In one pass, since this is asked after every epoch."""
    low, high = torch.aminmax(torch.view_as_real(values.resolve_conj()))
    # Written so that NaN is refused, too.
    return float(low) > -LARGEST and float(high) < LARGEST
