"""How the probe meets the sample: windows of the object, sub-pixel probes, thin and thick samples."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.physics.fourier import fft2, fourier_shift, ifft2
from exitwave.physics.kernels.reference import Corners

NEGLIGIBLE_SHIFT_PX = 0.01
"""Positions this close to whole pixels are taken as whole: two transforms a frame less."""


def split_positions(positions_px: Float[Tensor, "batch 2"]) -> tuple[Corners, Float[Tensor, "batch 2"] | None]:
    """Whole-pixel corners of the windows and the sub-pixel rest (None when all are negligible). Differentiable in the rest."""
    whole = positions_px.detach().round()
    rest = positions_px - whole
    corners: list[list[int]] = whole.to(torch.int64).tolist()
    if not rest.requires_grad and float(rest.abs().max()) < NEGLIGIBLE_SHIFT_PX:
        return corners, None
    return corners, rest


def shifted_probes(
    probe: Complex[Tensor, "mode y x"], rest_px: Float[Tensor, "batch 2"] | None
) -> Complex[Tensor, "#batch mode y x"]:
    """The probe at each frame's sub-pixel offset; one shared copy when there is none.

    The probe, not the object, is moved: it falls off to zero at the edge of its window, so that the shift's wrap-around
    does no harm, and the object keeps its sharpness, which interpolation would cost.
    """
    if rest_px is None:
        return probe[None]
    return fourier_shift(probe[None], rest_px.to(probe.device))


def pass_through(
    probes: Complex[Tensor, "#batch mode y x"],
    patches: Complex[Tensor, "batch slice y x"],
    gap_transfer: Complex[Tensor, "gap y x"] | None = None,
) -> Complex[Tensor, "batch mode y x"]:
    """Exit waves behind the sample: projection approximation in each slice, free space between slices.

    Multislice: Maiden, Humphry & Rodenburg, JOSA A 29, 1606 (2012). `gap_transfer` holds one transfer function for each
    gap between neighbouring slices and is needed for more than one slice.
    """
    waves = probes * patches[:, :1]
    for number in range(1, patches.shape[1]):
        assert gap_transfer is not None
        waves = ifft2(fft2(waves) * gap_transfer[number - 1]) * patches[:, number : number + 1]
    return waves
