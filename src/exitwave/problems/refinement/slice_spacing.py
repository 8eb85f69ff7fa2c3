"""Slice spacing refinement: the distances between the slices of a thick sample."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.fourier import fft2, ifft2
from exitwave.physics.interaction import multislice, propagate_gap
from exitwave.physics.kernels import dispatch as kernels
from exitwave.physics.propagation import angular_spectrum_transfer
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.refinement.modelled_frames import ModelledFrames, Refinement

LARGEST_STEP = 0.2
"""Change of a spacing in one step at most, as a share of it."""


@dataclass(eq=False)
class Spacing(Refinement):
    """Free space between slices, by Gauss-Newton on the modulus. One propagation to the detector a gap, besides those
    through the gaps. Slowly found, because the slices themselves adapt to a wrong spacing: give a good one.
    """

    def empty(self, problem: PtychographyProblem, x: PtychoEstimate) -> tuple[Tensor, ...]:
        gaps = len(x.object) - 1
        return torch.zeros(gaps, dtype=torch.float64), torch.zeros(gaps, gaps, dtype=torch.float64)

    def add_(self, sums: tuple[Tensor, ...], view: ModelledFrames) -> None:
        slopes = torch.stack([view.slope(self._derived(view, gap)) for gap in range(len(view.x.object) - 1)], dim=1)
        pulls, curvatures = sums
        pulls += torch.einsum("bgyx,byx->g", slopes, view.deviation).double().cpu()
        curvatures += torch.einsum("bgyx,bhyx->gh", slopes, slopes).double().cpu()

    def _derived(self, view: ModelledFrames, gap: int) -> Tensor:
        """The waves at the detector, differentiated by this spacing (per metre)."""
        x, model = view.x, view.problem.model
        assert x.slice_spacing_m is not None
        assert view.gaps is not None
        spacing = float(x.slice_spacing_m[gap])
        shape = (x.probe.shape[-2], x.probe.shape[-1])
        near, far = (
            angular_spectrum_transfer(shape, model.pixel_m, model.wavelength_m, s, x.object.device)
            for s in (0.99 * spacing, 1.01 * spacing)
        )
        before = multislice(x.object[: gap + 1], view.probes, view.corners, view.gaps[:gap])[0]
        # The phase that all waves gain with distance says nothing and would drown the rest in rounding.
        mean = (far * near.conj()).flatten()[0]
        waves = ifft2(fft2(before) * ((far * mean.conj() - near) / (0.02 * spacing)))
        for number in range(gap + 1, len(x.object)):
            if number > gap + 1:
                waves = propagate_gap(waves, view.gaps[number - 1])
            waves = kernels.exit_waves(x.object[number], waves.contiguous(), view.corners)
        return model.propagate(waves)

    def improved(self, problem: PtychographyProblem, x: PtychoEstimate, sums: tuple[Tensor, ...]) -> PtychoEstimate:
        assert x.slice_spacing_m is not None
        spacings = x.slice_spacing_m.cpu().double()
        # In units of the spacings, so that the damping is one number.
        pulls, curvatures = sums[0] * spacings, sums[1] * spacings[:, None] * spacings
        damped = curvatures + 1e-6 * curvatures.diagonal().mean() * torch.eye(len(spacings), dtype=torch.float64)
        step = torch.linalg.solve(damped, pulls).clamp(-LARGEST_STEP, LARGEST_STEP)
        return replace(x, slice_spacing_m=(spacings * (1 + step)).to(x.slice_spacing_m))
