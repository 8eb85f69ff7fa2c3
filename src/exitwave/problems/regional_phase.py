"""Coarse phase correction where one canvas holds several objects: each by itself, so that none moves another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.coarse_phase import SlowPhase
from exitwave.problems.frame_pulls import FramePulls
from exitwave.problems.ptychography import PtychographyProblem, Region


def slow_phase(
    problem: PtychographyProblem, x: PtychoEstimate, ramp: Float[Tensor, "2 2"]
) -> "SlowPhase | RegionalPhase":
    """The slow phase of an object, or of each of several; `ramp` is the `ramp_sensitivity` of all frames together."""
    regions = problem.regions(x)
    if len(regions) == 1:
        return SlowPhase.of(problem, x, ramp)
    return RegionalPhase(
        regions, tuple(SlowPhase.of(problem, _part(x, one), ramp, brightness=one.power) for one in regions)
    )


@dataclass(frozen=True, eq=False)
class RegionalPhase:
    """`SlowPhase` of each region of a canvas. Waves across all of them would carry the pull of one scan to the others.

    What is told of the waves of all regions stands in one row, region after region.
    """

    regions: tuple[Region, ...]
    phases: tuple[SlowPhase, ...]

    def told(self, pulls: FramePulls, by_noise: Float[Tensor, " axis"]) -> Float[Tensor, "1 wave"]:
        """Share of its Newton step that each wave may take; `by_noise` is that of the mean frame of all regions."""
        each = zip(self.regions, self.phases, strict=True)
        return _in_a_row([phase.told(_pulls_of(one, pulls), by_noise * one.power) for one, phase in each])

    def of_gradient(
        self,
        obj: Complex[Tensor, "slice Y X"],
        descent: Complex[Tensor, "slice Y X"],
        told: Float[Tensor, "1 wave"] | float = 1.0,
    ) -> Complex[Tensor, "slice Y X"]:
        """The step of the object for its steepest descent direction, region by region."""
        step = torch.zeros_like(obj)
        for one, phase, share in self._each(told):
            place = (slice(None), one.rows, one.columns)
            step[place] = phase.of_gradient(obj[place], descent[place], share)
        return step

    def preconditioned(
        self,
        obj: Complex[Tensor, "slice Y X"],
        descent: Complex[Tensor, "slice Y X"],
        curvature: Float[Tensor, "slice Y X"],
        told: Float[Tensor, "1 wave"],
        *,
        newton: float,
    ) -> Complex[Tensor, "slice Y X"]:
        """descent / curvature, in each region without its slow phase that is not told, as in `SlowPhase`."""
        step = descent / curvature
        for one, phase, share in self._each(told):
            assert isinstance(share, Tensor)
            place = (slice(None), one.rows, one.columns)
            step[place] = phase.preconditioned(obj[place], descent[place], curvature[place], share, newton=newton)
        return step

    def of_frames(self, pulls: FramePulls) -> Float[Tensor, "Y X"]:
        """The phase that the frames of each region pull it towards."""
        found = torch.zeros(pulls.problem.object_shape, device=pulls.pulls.device)
        for one, phase in zip(self.regions, self.phases, strict=True):
            found[one.rows, one.columns] = phase.of_frames(_pulls_of(one, pulls))
        return found

    def without_ramp(self, phase: Float[Tensor, "Y X"]) -> Float[Tensor, "Y X"]:
        """A phase less the mean slope over each region."""
        level = torch.zeros_like(phase)
        for one, slow in zip(self.regions, self.phases, strict=True):
            level[one.rows, one.columns] = slow.without_ramp(phase[one.rows, one.columns])
        return level

    def _each(
        self, told: Float[Tensor, "1 wave"] | float
    ) -> Iterator[tuple[Region, SlowPhase, Float[Tensor, "k l"] | float]]:
        first = 0
        for one, phase in zip(self.regions, self.phases, strict=True):
            last = first + phase.steps.numel()
            share = told[0, first:last].reshape(phase.steps.shape) if isinstance(told, Tensor) else told
            yield one, phase, share
            first = last


def _in_a_row(parts: Sequence[Tensor]) -> Float[Tensor, "1 wave"]:
    return torch.cat([part.flatten() for part in parts])[None]


def _pulls_of(region: Region, pulls: FramePulls) -> FramePulls:
    return pulls.some(region.frames, region.placed(pulls.positions_px))


def _part(x: PtychoEstimate, region: Region) -> PtychoEstimate:
    part = x.some(region.frames)
    return replace(part, object=x.object[:, region.rows, region.columns], positions_px=region.placed(x.positions_px))
