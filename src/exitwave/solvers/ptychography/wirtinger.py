"""Wirtinger flow: gradient descent on all frames at once with steps of known safe length, plain and accelerated."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.initial_guess import amplitude_guess
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.sweep import Sweep
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.changes import Change
from exitwave.solvers.options import Fraction, ProbeStart, UpdateProbe, WhenDiverging
from exitwave.solvers.ptychography.momentum import NesterovMomentum
from exitwave.solvers.registry import solver
from exitwave.solvers.requirements import require_supported


class _Flow(Solver[PtychoEstimate]):
    """A descent from the point ahead of the last two iterates."""

    unsupported: ClassVar[frozenset[str]] = frozenset({"noise"})
    seeded: ClassVar[bool] = False

    def transform_state(self, state: Mapping[str, Tensor], change: Change) -> Mapping[str, Tensor]:
        return NesterovMomentum.transform_state(state, change)


@solver
class WF(_Flow):
    """Wirtinger flow: plain gradient descent, slow and without any parameter, to compare others with.
    Xu, Soltanolkotabi, Haldar, Unglaub, Zusman, Levi & Leahy, arXiv 1806.05546 (2018).
    """

    name: ClassVar[str] = "wf"
    epochs: PositiveInt = 300
    """Passes over all diffraction patterns; several hundred are usual."""
    alpha: Annotated[Fraction, WhenDiverging("raise")] = 1.0
    """Steps are 1 / (alpha max + (1 - alpha) own) of the illumination: 1 is the published even step, less lengthens it where
    the probe is dim, and 0 makes each pixel jump to its least-squares value (alternating projections)."""
    rms_start: bool = False
    """Begin with an object whose amplitude is the ratio of each pattern's brightness to the probe's, instead of the start's."""
    probe_start: ProbeStart = 1
    update_probe: UpdateProbe = True

    def solve(self, problem: PtychographyProblem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        yield from _descent(self, problem, start, momentum=False, restart=False)


@solver
class AWF(_Flow):
    """Accelerated Wirtinger flow: gradient descent with Nesterov's momentum; quick, smooth and nearly free of parameters.
    Xu, Soltanolkotabi, Haldar, Unglaub, Zusman, Levi & Leahy, arXiv 1806.05546 (2018).

    The momentum starts anew when the misfit rises. O'Donoghue & Candes, Found. Comput. Math. 15, 715 (2015), section 3.2.
    """

    name: ClassVar[str] = "awf"
    epochs: PositiveInt = 100
    """Passes over all diffraction patterns; 50-300 is usual."""
    alpha: Annotated[Fraction, WhenDiverging("raise")] = 0.1
    """Steps are 1 / (alpha max + (1 - alpha) own) of the illumination: 1 is the published even step, best where windows
    hardly overlap; lower it to 0.01 or 0.001 for many photons and probes with faint tails or in focus."""
    restart: bool = True
    """Whether momentum starts anew when the misfit rises; switch off only to compare."""
    rms_start: bool = False
    """Begin with an object whose amplitude is the ratio of each pattern's brightness to the probe's, instead of the start's."""
    probe_start: ProbeStart = 0
    update_probe: UpdateProbe = True

    def solve(self, problem: PtychographyProblem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        yield from _descent(self, problem, start, momentum=True, restart=self.restart)


def _descent(
    options: WF | AWF, problem: PtychographyProblem, start: Step[PtychoEstimate], *, momentum: bool, restart: bool
) -> Iterator[Step[PtychoEstimate]]:
    """Gradient steps from a point extrapolated along the last step: eqs. of FISTA with k / (k + 3)."""
    require_supported(options, problem, start.estimate)
    x = start.estimate.to(problem.device).clone()
    if options.rms_start and start.epoch == 0:
        x = replace(x, object=amplitude_guess(problem, x))
    path = NesterovMomentum(x, start.state, momentum=momentum, restart=restart)
    ahead = x.clone()
    sweep = Sweep(problem, ahead)
    for epoch in range(start.epoch + 1, options.epochs + 1):
        with_probe = options.update_probe and epoch > options.probe_start
        path.look_ahead(ahead, with_probe=with_probe)
        sums = sweep.everything(with_probe=with_probe)
        # Slices and probe move together: half of the safe step for each of two, a third for each of three.
        gain = 1 / (len(ahead.object) + with_probe)
        bright = sums.illumination.amax(dim=(1, 2), keepdim=True)
        floor = torch.lerp(sums.illumination, bright, max(options.alpha, 1e-6)).clamp_(min=1e-12)
        path.go(ahead, sums, floor, gain=gain, least=1e-12, with_probe=with_probe)
        now = replace(x, object=path.object, probe=path.probe)
        yield Step(epoch=epoch, estimate=now, residual=sums.misfit / problem.power, state=path.state())
