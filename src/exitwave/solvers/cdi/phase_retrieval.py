"""Phase retrieval from one pattern of an isolated object: error reduction, hybrid input-output and relaxed averaged reflections.

Written for any number of axes. All three put the measured modulus into the transform of the object and keep the result
inside the support; they differ in what they make of the rest.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field, NonNegativeInt, PositiveInt

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.support import shrink_wrap
from exitwave.problems.cdi import require_isolated
from exitwave.problems.ptychography import Problem
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.registry import solver

Feedback = Annotated[float, Field(gt=0, le=1)]
Sigma = Annotated[float, Field(gt=0, le=20)]
Threshold = Annotated[float, Field(gt=0, lt=1)]


@solver
class ER(Solver[PtychoEstimate]):
    """Error reduction for one pattern of an isolated object: goes straight to the nearest solution, so finish with it.
    Fienup, Appl. Opt. 21, 2758 (1982).
    """

    name: ClassVar[str] = "er"
    # A support that shrinks takes away what fitted the data.
    residual_may_rise: ClassVar[bool] = True
    one_pattern: ClassVar[bool] = True
    epochs: PositiveInt = 100
    """Passes over the pattern; 20-50 between runs of hio, 50-200 at the end."""
    shrink_every: NonNegativeInt = 20
    """Epochs between two updates of the support from the object (shrink-wrap); 0 keeps the support."""
    sigma_start_px: Sigma = 1.0
    """Blur of the amplitude for the first update of the support; 2-3 while the object is still rough."""
    sigma_end_px: Sigma = 1.0
    """Blur for the last update; 1-1.5 follows edges closely."""
    threshold: Threshold = 0.2
    """Share of the blurred amplitude's maximum above which a pixel belongs to the object. Lower it when thin or dark parts
    are cut off, raise it when the support stays loose."""

    def solve(self, problem: Problem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        yield from _project(self, problem, start, kept=0.0, returned=0.0)


@solver
class HIO(Solver[PtychoEstimate]):
    """Hybrid input-output for one pattern of an isolated object: escapes wrong solutions; chain it with er.
    Fienup, Appl. Opt. 21, 2758 (1982).
    """

    name: ClassVar[str] = "hio"
    residual_may_rise: ClassVar[bool] = True
    one_pattern: ClassVar[bool] = True
    epochs: PositiveInt = 200
    """Passes over the pattern; 100-500 is usual, in turns with er."""
    beta: Feedback = 0.9
    """Feedback, how strongly the outside of the support is pushed to zero; 0.7-0.95. Lower it for noisy patterns."""
    shrink_every: NonNegativeInt = 20
    """Epochs between two updates of the support from the object (shrink-wrap); 0 keeps the support."""
    sigma_start_px: Sigma = 3.0
    """Blur of the amplitude for the first update of the support; larger where the first support is far too large."""
    sigma_end_px: Sigma = 1.0
    """Blur for the last update; 1-1.5 follows edges closely."""
    threshold: Threshold = 0.2
    """Share of the blurred amplitude's maximum above which a pixel belongs to the object. Lower it when thin or dark parts
    are cut off, raise it when the support stays loose."""

    def solve(self, problem: Problem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        yield from _project(self, problem, start, kept=1.0, returned=-self.beta)


@solver
class CDIRAAR(Solver[PtychoEstimate]):
    """Relaxed averaged alternating reflections for one pattern of an isolated object: as hio, steadier with noise.
    Luke, Inverse Problems 21, 37 (2005).
    """

    name: ClassVar[str] = "cdi_raar"
    residual_may_rise: ClassVar[bool] = True
    one_pattern: ClassVar[bool] = True
    epochs: PositiveInt = 200
    """Passes over the pattern; 100-500 is usual, in turns with er."""
    beta: Annotated[float, Field(gt=0.5, le=1)] = 0.95
    """Relaxation: nearer to 1 explores further, lower settles sooner but may stop at a wrong solution; 0.87-0.97 is usual."""
    shrink_every: NonNegativeInt = 20
    """Epochs between two updates of the support from the object (shrink-wrap); 0 keeps the support."""
    sigma_start_px: Sigma = 3.0
    """Blur of the amplitude for the first update of the support; larger where the first support is far too large."""
    sigma_end_px: Sigma = 1.0
    """Blur for the last update; 1-1.5 follows edges closely."""
    threshold: Threshold = 0.2
    """Share of the blurred amplitude's maximum above which a pixel belongs to the object. Lower it when thin or dark parts
    are cut off, raise it when the support stays loose."""

    def solve(self, problem: Problem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        yield from _project(self, problem, start, kept=self.beta, returned=1 - 2 * self.beta)


@torch.no_grad()
def _project(
    options: "ER | HIO | CDIRAAR", problem: Problem, start: Step[PtychoEstimate], *, kept: float, returned: float
) -> Iterator[Step[PtychoEstimate]]:
    """o' has the measured modulus. Inside the support o <- o'; outside o <- kept o + returned o'.

    What is yielded is o' inside the support, the best that is known of the object; o itself is in the memory.
    """
    posed = require_isolated(options.name, problem, start.estimate)
    x = start.estimate.to(posed.device)
    assert x.support is not None
    power = posed.power
    support, obj = x.support, start.state.get("iterate", x.object).to(posed.device)
    for epoch in range(start.epoch + 1, options.epochs + 1):
        fitting, misfit = posed.with_modulus(obj)
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
