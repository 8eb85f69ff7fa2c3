"""Phase retrieval from one pattern of an isolated object: error reduction, hybrid input-output and relaxed averaged reflections.

Written for any number of axes. All three put the measured modulus into the transform of the object and keep the result
inside the support; they differ in what they make of the rest.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, PositiveInt

from exitwave.data.estimate import SupportEstimate
from exitwave.physics.support import shrink_wrap
from exitwave.problems.base import Problem
from exitwave.problems.cdi import SupportProblem
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.options import Feedback, ShrinkEvery, SigmaEnd, SigmaStart, Threshold
from exitwave.solvers.registry import solver


@solver
class ER(Solver[SupportEstimate]):
    """Error reduction for one pattern of an isolated object: goes straight to the nearest solution, so finish with it.
    Fienup, Appl. Opt. 21, 2758 (1982).
    """

    name: ClassVar[str] = "er"
    # A support that shrinks takes away what fitted the data.
    residual_may_rise: ClassVar[bool] = True
    solves: ClassVar[type[Problem[Any]]] = SupportProblem
    epochs: PositiveInt = 100
    """Passes over the pattern; 20-50 between runs of hio, 50-200 at the end."""
    shrink_every: ShrinkEvery = 20
    sigma_start_px: SigmaStart = 1.0
    """Blur of the amplitude for the first update of the support; 2-3 while the object is still rough."""
    sigma_end_px: SigmaEnd = 1.0
    threshold: Threshold = 0.2

    def solve(self, problem: SupportProblem, start: Step[SupportEstimate]) -> Iterator[Step[SupportEstimate]]:
        yield from _project(self, problem, start, kept=0.0, returned=0.0)


@solver
class HIO(Solver[SupportEstimate]):
    """Hybrid input-output for one pattern of an isolated object: escapes wrong solutions; chain it with er.
    Fienup, Appl. Opt. 21, 2758 (1982).
    """

    name: ClassVar[str] = "hio"
    residual_may_rise: ClassVar[bool] = True
    solves: ClassVar[type[Problem[Any]]] = SupportProblem
    epochs: PositiveInt = 200
    """Passes over the pattern; 100-500 is usual, in turns with er."""
    beta: Feedback = 0.9
    """How strongly the outside of the support is pushed to zero; 0.7-0.95. Lower it for noisy patterns."""
    shrink_every: ShrinkEvery = 20
    sigma_start_px: SigmaStart = 3.0
    sigma_end_px: SigmaEnd = 1.0
    threshold: Threshold = 0.2

    def solve(self, problem: SupportProblem, start: Step[SupportEstimate]) -> Iterator[Step[SupportEstimate]]:
        yield from _project(self, problem, start, kept=1.0, returned=-self.beta)


@solver
class CDIRAAR(Solver[SupportEstimate]):
    """Relaxed averaged alternating reflections for one pattern of an isolated object: as hio, steadier with noise.
    Luke, Inverse Problems 21, 37 (2005).
    """

    name: ClassVar[str] = "cdi_raar"
    residual_may_rise: ClassVar[bool] = True
    solves: ClassVar[type[Problem[Any]]] = SupportProblem
    epochs: PositiveInt = 200
    """Passes over the pattern; 100-500 is usual, in turns with er."""
    beta: Annotated[float, Field(gt=0.5, le=1)] = 0.95
    """Relaxation: nearer to 1 explores further, lower settles sooner but may stop at a wrong solution; 0.87-0.97 is usual."""
    shrink_every: ShrinkEvery = 20
    sigma_start_px: SigmaStart = 3.0
    sigma_end_px: SigmaEnd = 1.0
    threshold: Threshold = 0.2

    def solve(self, problem: SupportProblem, start: Step[SupportEstimate]) -> Iterator[Step[SupportEstimate]]:
        yield from _project(self, problem, start, kept=self.beta, returned=1 - 2 * self.beta)


@torch.no_grad()
def _project(
    options: "ER | HIO | CDIRAAR",
    problem: SupportProblem,
    start: Step[SupportEstimate],
    *,
    kept: float,
    returned: float,
) -> Iterator[Step[SupportEstimate]]:
    """o' has the measured modulus. Inside the support o <- o'; outside o <- kept o + returned o'.

    What is yielded is o' inside the support, the best that is known of the object; o itself is in the memory.
    """
    x, power = problem.require(start.estimate, SupportEstimate).to(problem.device), problem.power
    support, obj = x.support, start.state.get("iterate", x.object).to(problem.device)
    for epoch in range(start.epoch + 1, options.epochs + 1):
        fitting, misfit = problem.with_modulus(obj)
        obj = torch.where(support, fitting, kept * obj + returned * fitting)
        if options.shrink_every and epoch % options.shrink_every == 0:
            support = shrink_wrap(fitting, _sigma_px(options, epoch), options.threshold)
        estimate = replace(x, object=torch.where(support, fitting, 0.0), support=support)
        yield Step(epoch=epoch, estimate=estimate.clone(), residual=misfit / power, state={"iterate": obj})


def _sigma_px(options: "ER | HIO | CDIRAAR", epoch: int) -> float:
    """The blur, falling by a constant factor from the first update of the support to the last."""
    updates = options.epochs // options.shrink_every
    done = (epoch // options.shrink_every - 1) / max(updates - 1, 1)
    return options.sigma_start_px * (options.sigma_end_px / options.sigma_start_px) ** done
