"""One pass over all frames, shared by everything that is refined between epochs: the model's waves beside what was measured."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.interaction import multislice, split_positions
from exitwave.physics.kernels import reference
from exitwave.physics.kernels.reference import Corners, FrameProbes, FrameWaves
from exitwave.problems.ptychography import CHUNK, PtychographyProblem
from exitwave.problems.threads import CHUNK_PIXELS, Schedule

DARKEST = 1e-6
"""Moduli below this share of a frame's brightest are taken for it where something is divided by the modulus."""
DARK = 0.25
"""Photons added to the model's where counts are divided by its root."""


@dataclass(eq=False)
class ModelledFrames:
    """Some frames as the model has them and as they were measured, at the detector."""

    problem: PtychographyProblem
    x: PtychoEstimate
    frames: Int[Tensor, " batch"]
    gaps: Complex[Tensor, "gap y x"] | None
    background: Float[Tensor, "y x"]

    @cached_property
    def corners(self) -> Corners:
        """Whole-pixel corners of the windows."""
        return split_positions(self.x.positions_px[self.frames])[0]

    @cached_property
    def probes(self) -> FrameProbes:
        """The probe as it was in each of these frames."""
        return self.problem.model.probes(self.x, self.frames).contiguous()

    @cached_property
    def waves(self) -> FrameWaves:
        """Waves at the detector."""
        return self.seen_with(self.probes)

    def seen_with(self, probes: FrameProbes, corners: Corners | None = None) -> FrameWaves:
        """Waves at the detector for other probes, or at other places."""
        places = self.corners if corners is None else corners
        exit_waves = multislice(self.x.object, probes, places, self.gaps)[0]
        return self.problem.model.propagate(exit_waves)

    @cached_property
    def photons(self) -> Float[Tensor, "batch y x"]:
        """The model's intensity without background."""
        return reference.intensity(self.waves)

    @cached_property
    def modulus(self) -> Float[Tensor, "batch y x"]:
        """Square root of the model's intensity, kept away from zero so that it can be divided by."""
        modulus = (self.photons + self.background).sqrt_()
        return torch.maximum(modulus, (DARKEST * modulus.amax(dim=(1, 2), keepdim=True)).clamp_(min=1e-12))

    @cached_property
    def deviation(self) -> Float[Tensor, "batch y x"]:
        """Measured less the model's modulus in the pixels that can be trusted."""
        return (self.problem.amplitudes(self.frames) - self.modulus) * self.problem.trusted

    @cached_property
    def unbiased_deviation(self) -> Float[Tensor, "batch y x"]:
        """As `deviation`, but of a model that is right its mean is zero in dark pixels, too: of counts where none were added.

        The root of a small Poisson count is in the mean less than that of its mean. Where places are fitted to roots, scans get
        wider.
        """
        if self.problem.model.offset_photons:
            return self.deviation
        model = (self.modulus.square() + DARK).sqrt()
        return (self.counts - self.modulus.square()) / (2 * model) * self.problem.trusted

    def unbiased_slopes(self, slopes: Float[Tensor, "batch some y x"]) -> Float[Tensor, "batch some y x"]:
        """Those of `slope`, beside `unbiased_deviation`: less where the model has no light."""
        if self.problem.model.offset_photons:
            return slopes
        return slopes * (self.modulus / (self.modulus.square() + DARK).sqrt())[:, None]

    @cached_property
    def counts(self) -> Float[Tensor, "batch y x"]:
        """Measured photons, without those added."""
        return self.problem.counts(self.frames)

    @cached_property
    def change(self) -> FrameWaves:
        """How exit waves must change to have the measured modulus."""
        return self.problem.model.backpropagate(self.waves * (self.deviation / self.modulus)[:, None])

    def slope(self, waves: FrameWaves) -> Float[Tensor, "batch y x"]:
        """How the modulus grows, in pixels that can be trusted, when these waves are added to the waves at the detector."""
        return (self.waves.conj() * waves).real.sum(dim=1) / self.modulus * self.problem.trusted


class Refinement(ABC):
    """An unknown that is improved from one look at all frames, while object and probe stay as they are."""

    @abstractmethod
    def empty(self, problem: PtychographyProblem, x: PtychoEstimate) -> tuple[Tensor, ...]:
        """Sums with nothing in them."""

    @abstractmethod
    def add_(self, sums: tuple[Tensor, ...], view: ModelledFrames) -> None:
        """Add what some frames say to the sums."""

    @abstractmethod
    def improved(self, problem: PtychographyProblem, x: PtychoEstimate, sums: tuple[Tensor, ...]) -> PtychoEstimate:
        """The estimate with this unknown improved by what all frames said."""


@torch.no_grad()
def refined(problem: PtychographyProblem, x: PtychoEstimate, refinements: Sequence[Refinement]) -> PtychoEstimate:
    """Improve several unknowns from one look at all frames; what each does is in its class. `x` is left as it is."""
    if not refinements:
        return x
    gaps, background = problem.model.gap_transfers(x), problem.model.background(x)
    modes = len(x.probe) * (1 if problem.model.exposure_px is None else problem.model.exposure_px.shape[1])
    wave_pixels = modes * math.prod(x.probe.shape[-2:])
    # Half of what a sweep takes: here each frame has more waves that live at the same time.
    chunk = max(1, CHUNK_PIXELS // (2 * wave_pixels))

    schedule = Schedule(Schedule.of(len(problem), wave_pixels, problem.device).parts, chunk)
    found = [[refinement.empty(problem, x) for refinement in refinements] for _ in range(schedule.parts)]

    def look(part: int, frames: Tensor) -> None:
        for some in frames.split(schedule.chunk):
            view = ModelledFrames(problem=problem, x=x, frames=some, gaps=gaps, background=background)
            for refinement, own in zip(refinements, found[part], strict=True):
                refinement.add_(own, view)

    for batch in problem.prefetch(torch.arange(len(problem)).split(schedule.parts * max(CHUNK, chunk))):
        schedule.run(look, batch)
    improved = x
    for number, refinement in enumerate(refinements):
        # In order, so that the same run gives the same sums to the bit.
        own = tuple(torch.stack(each).sum(dim=0) for each in zip(*(sums[number] for sums in found), strict=True))
        improved = refinement.improved(problem, improved, own)
    return improved


@dataclass(eq=False)
class Residual(Refinement):
    """Nothing is improved; the squared relative amplitude residual is looked at on the way."""

    found: float = math.nan
    """Before anything was improved."""

    def empty(self, problem: PtychographyProblem, x: PtychoEstimate) -> tuple[Tensor, ...]:
        return (torch.zeros((), dtype=torch.float64),)

    def add_(self, sums: tuple[Tensor, ...], view: ModelledFrames) -> None:
        expected = view.modulus.square() - view.problem.model.offset_photons
        deviation = (expected.clamp_(min=0).sqrt_() - view.counts.sqrt()) * view.problem.trusted
        sums[0].add_(deviation.square().sum(dtype=torch.float64).cpu())

    def improved(self, problem: PtychographyProblem, x: PtychoEstimate, sums: tuple[Tensor, ...]) -> PtychoEstimate:
        self.found = float(sums[0]) / problem.power
        return x
