"""Interaction of the probe with the sample: windows of the object, sub-pixel probes, thin and thick samples."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.physics.fourier import fft2, ifft2
from exitwave.physics.kernels import dispatch as kernels
from exitwave.physics.kernels.reference import Corners, FrameProbes, FrameWaves

NEGLIGIBLE_SHIFT_PX = 0.01
"""Positions this close to whole pixels are taken as whole: two transforms a frame less."""


def split_positions(positions_px: Float[Tensor, "batch 2"]) -> tuple[Corners, Float[Tensor, "batch 2"] | None]:
    """Whole-pixel corners of the windows and the sub-pixel rest (None when all are negligible). Differentiable in the rest."""
    whole = positions_px.detach().round()
    rest = positions_px - whole
    corners = whole.to("cpu", torch.int64)
    if not rest.requires_grad and float(rest.abs().max()) < NEGLIGIBLE_SHIFT_PX:
        return corners, None
    return corners, rest


def propagate_gap(waves: FrameWaves, transfer: Complex[Tensor, "y x"]) -> FrameWaves:
    """Free space between two slices of a thick sample."""
    return ifft2(fft2(waves) * transfer)


def multislice(
    obj: Complex[Tensor, "slice Y X"],
    probes: FrameProbes,
    corners: Corners,
    gaps: Complex[Tensor, "gap y x"] | None = None,
    out: FrameWaves | None = None,
) -> tuple[FrameWaves, list[FrameProbes]]:
    """Exit waves behind the sample, and the waves that fell on each slice (the first are the probes).

    Projection approximation in each slice, free space between slices: Maiden, Humphry & Rodenburg, JOSA A 29, 1606
    (2012). `gaps` holds one transfer function for each gap between neighbouring slices.
    """
    incident = [probes]
    waves = kernels.exit_waves(obj[0], probes, corners, out)
    for number in range(1, len(obj)):
        assert gaps is not None
        incident.append(propagate_gap(waves, gaps[number - 1]))
        waves = kernels.exit_waves(obj[number], incident[-1], corners)
    return waves, incident
