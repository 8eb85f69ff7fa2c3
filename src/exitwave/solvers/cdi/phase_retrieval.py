"""Phase retrieval from one pattern of an isolated object: error reduction, hybrid input-output and relaxed averaged reflections.

Written for any number of axes. All three put the measured modulus into the transform of the object and keep the result
inside the support; they differ in what they make of the rest.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
from jaxtyping import Bool, Complex
from pydantic import Field, PositiveInt
from torch import Tensor

from exitwave.data.estimate import SupportEstimate
from exitwave.physics.partial_coherence import CoherenceBlur
from exitwave.physics.support import shrink_wrap
from exitwave.problems.base import Problem
from exitwave.problems.cdi import SupportProblem
from exitwave.problems.support_step import confined
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.cdi.adaptive_support import best_support
from exitwave.solvers.options import (
    Adaptive,
    CoherenceEvery,
    Feedback,
    Positive,
    ShrinkEvery,
    SigmaEnd,
    SigmaStart,
    Threshold,
)
from exitwave.solvers.registry import solver

COHERENCE_PX = 9
"""Pixels along each axis of the kernel of partial coherence: blurs of up to two pixels (standard deviation)."""


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
    adaptive_threshold: Adaptive = False
    positive: Positive = False
    coherence_every: CoherenceEvery = 0
    momentum: bool = False
    """Go on in the direction of the last step (Nesterov), begun anew where it leads up: what the pattern hardly tells, such as
    slow variations behind a beam stop, comes in tens of epochs instead of thousands. For the end, without shrink-wrap."""

    def solve(self, problem: SupportProblem, start: Step[SupportEstimate]) -> Iterator[Step[SupportEstimate]]:
        if self.momentum and not self.shrink_every:
            yield from _accelerate(self, problem, start)
        else:
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
    outside_kept: Annotated[float, Field(gt=0.5, le=1)] = 1.0
    """Share of what stands outside the support that each epoch begins with; 1 is as published. With 0.98 the noise that no
    object explains does not pile up there and carry away what a beam stop hides."""
    shrink_every: ShrinkEvery = 20
    sigma_start_px: SigmaStart = 3.0
    sigma_end_px: SigmaEnd = 1.0
    threshold: Threshold = 0.2
    adaptive_threshold: Adaptive = False
    positive: Positive = False
    coherence_every: CoherenceEvery = 0

    def solve(self, problem: SupportProblem, start: Step[SupportEstimate]) -> Iterator[Step[SupportEstimate]]:
        yield from _project(self, problem, start, kept=self.outside_kept, returned=-self.beta)


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
    adaptive_threshold: Adaptive = False
    positive: Positive = False
    coherence_every: CoherenceEvery = 0

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
    # Files of 0.1.0 have one slice more.
    obj = start.state.get("iterate", x.object).to(problem.device).reshape(x.object.shape)
    support, blur = x.support, problem.blur_of(x)
    for epoch in range(start.epoch + 1, options.epochs + 1):
        change, misfit = problem.change_to_modulus(obj, blur)
        follows = options.shrink_every > 0 and epoch % options.shrink_every == 0
        if options.positive or follows:
            fitting = change.add_(obj)
            allowed, real = _allowed(options, fitting, support)
            obj = torch.where(allowed, real, kept * obj + returned * real)
            support = _updated(options, problem, real, support, epoch, blur) if follows else support
            inside = _inside(options, real, support)
        else:
            obj, inside = confined(obj, change, support, kept, returned)
        x = replace(x, object=inside, support=support)
        if options.coherence_every and epoch % options.coherence_every == 0:
            x = replace(x, coherence=problem.refitted_blur(x, COHERENCE_PX))
            blur = problem.blur_of(x)
        yield Step(epoch=epoch, estimate=x, residual=misfit / power, state={"iterate": obj})


@torch.no_grad()
def _accelerate(options: ER, problem: SupportProblem, start: Step[SupportEstimate]) -> Iterator[Step[SupportEstimate]]:
    """Error reduction with momentum: it is the gradient of the misfit with step 1, projected onto the support.

    Beck & Teboulle, SIAM J. Imaging Sci. 2, 183 (2009), begun anew as O'Donoghue & Candes, Found. Comput. Math. 15, 715 (2015).
    """
    x, power = problem.require(start.estimate, SupportEstimate).to(problem.device), problem.power
    obj, blur = x.object, problem.blur_of(x)
    ahead = start.state.get("iterate", obj).to(problem.device)
    weight = float(start.state.get("weight", 1.0))
    for epoch in range(start.epoch + 1, options.epochs + 1):
        fitting, misfit = problem.with_modulus(ahead, blur)
        new = _inside(options, fitting, x.support)
        if float(torch.vdot((ahead - new).flatten(), (new - obj).flatten()).real) > 0:
            weight = 1.0
        after = (1 + math.sqrt(1 + 4 * weight**2)) / 2
        ahead = new + (weight - 1) / after * (new - obj)
        obj, weight = new, after
        state = {"iterate": ahead, "weight": torch.tensor(weight, dtype=torch.float64)}
        yield Step(epoch=epoch, estimate=replace(x, object=obj).clone(), residual=misfit / power, state=state)


def _allowed(
    options: "ER | HIO | CDIRAAR", fitting: Complex[Tensor, "*axes"], support: Bool[Tensor, "*axes"]
) -> tuple[Bool[Tensor, "*axes"], Complex[Tensor, "*axes"]]:
    """Where an object that fits the data is as it may be, and the object itself: real, where it must be."""
    if not options.positive:
        return support, fitting
    return support & (fitting.real >= 0), torch.complex(fitting.real, torch.zeros_like(fitting.real))


def _inside(
    options: "ER | HIO | CDIRAAR", fitting: Complex[Tensor, "*axes"], support: Bool[Tensor, "*axes"]
) -> Complex[Tensor, "*axes"]:
    allowed, fitting = _allowed(options, fitting, support)
    return torch.where(allowed, fitting, 0.0)


def _updated(
    options: "ER | HIO | CDIRAAR",
    problem: SupportProblem,
    fitting: Complex[Tensor, "*axes"],
    support: Bool[Tensor, "*axes"],
    epoch: int,
    blur: CoherenceBlur | None,
) -> Bool[Tensor, "*axes"]:
    """The support after an epoch in which it follows the object."""
    sigma_px = _sigma_px(options, epoch)
    if not options.adaptive_threshold:
        found = shrink_wrap(fitting, sigma_px, options.threshold)
        return found & problem.first_support if problem.support_is_known else found
    if options.positive:
        fitting = torch.complex(fitting.real.clamp(min=0), torch.zeros_like(fitting.real))
    return best_support(problem, fitting, support, sigma_px, blur)


def _sigma_px(options: "ER | HIO | CDIRAAR", epoch: int) -> float:
    """The blur, falling by a constant factor from the first update of the support to the last."""
    updates = options.epochs // options.shrink_every
    done = (epoch // options.shrink_every - 1) / max(updates - 1, 1)
    return options.sigma_start_px * (options.sigma_end_px / options.sigma_start_px) ** done
