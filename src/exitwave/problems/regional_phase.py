"""Coarse phase correction where one canvas holds several objects: each by itself, so that none moves another."""

from copy import copy
from dataclasses import dataclass, replace

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.coarse_phase import FramePulls, SlowPhase
from exitwave.problems.ptychography import PtychographyProblem, Region


def slow_phase(
    problem: PtychographyProblem, x: PtychoEstimate, ramp: Float[Tensor, "2 2"]
) -> "SlowPhase | RegionalPhase":
    """The slow phase of an object, or of each of several; `ramp` is the `ramp_sensitivity` of all frames together."""
    regions = problem.regions(x)
    if len(regions) == 1:
        return SlowPhase.of(problem, x, ramp)
    return RegionalPhase(regions, tuple(SlowPhase.of(problem, _part(x, one), ramp * one.power) for one in regions))


@dataclass(frozen=True, eq=False)
class RegionalPhase:
    """`SlowPhase` of each region of a canvas. Waves across all of them would carry the pull of one scan to the others."""

    regions: tuple[Region, ...]
    phases: tuple[SlowPhase, ...]

    def of_gradient(
        self, obj: Complex[Tensor, "slice Y X"], descent: Complex[Tensor, "slice Y X"]
    ) -> Complex[Tensor, "slice Y X"]:
        """The step of the object for its steepest descent direction, region by region."""
        step = torch.zeros_like(obj)
        for one, phase in zip(self.regions, self.phases, strict=True):
            place = (slice(None), one.rows, one.columns)
            step[place] = phase.of_gradient(obj[place], descent[place])
        return step

    def of_frames(self, pulls: FramePulls) -> Float[Tensor, "Y X"]:
        """The phase that the frames of each region pull it towards."""
        found = torch.zeros(self._shape(pulls), device=pulls.pulls.device)
        for one, phase in zip(self.regions, self.phases, strict=True):
            own = copy(pulls)
            own.positions_px, own.pulls = one.placed(pulls.positions_px), pulls.pulls[one.frames]
            found[one.rows, one.columns] = phase.of_frames(own)
        return found

    def without_ramp(self, phase: Float[Tensor, "Y X"]) -> Float[Tensor, "Y X"]:
        """A phase less the mean slope over each region."""
        level = torch.zeros_like(phase)
        for one, slow in zip(self.regions, self.phases, strict=True):
            level[one.rows, one.columns] = slow.without_ramp(phase[one.rows, one.columns])
        return level

    def _shape(self, pulls: FramePulls) -> tuple[int, int]:
        return pulls.problem.object_shape


def _part(x: PtychoEstimate, region: Region) -> PtychoEstimate:
    part = x.some(region.frames)
    return replace(part, object=x.object[:, region.rows, region.columns], positions_px=region.placed(x.positions_px))
