"""Masks of single voxels of a rocking curve: what is wrong in some frames only."""

from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from exitwave.data.aliens import aliens
from exitwave.data.prepare.chunks import noted
from exitwave.data.prepare.masking import reaching
from exitwave.data.rocking_curve import RockingCurve


def mask_aliens(curve: RockingCurve) -> RockingCurve:
    """Distrust voxels with the scattering of other crystals: light apart from the peak's own, with no counterpart opposite."""
    found = aliens(curve)
    hidden = torch.zeros(curve.patterns.shape, dtype=torch.bool)
    for each in found:
        hidden |= each.voxels
    return without_voxels(curve, hidden, f"mask_aliens: {len(found)} found")


def without_voxels(curve: RockingCurve, hidden: Bool[Tensor, "frame y x"], step: str = "") -> RockingCurve:
    """The same with these voxels untrusted."""
    voxels = ~hidden if curve.voxel_mask is None else curve.voxel_mask & ~hidden
    told = (
        noted(curve, f"{step} ({int((hidden & curve.trusted).sum())} more voxels untrusted)")
        if step
        else curve.provenance
    )
    return replace(curve, voxel_mask=voxels, provenance=told)


@reaching.register
def _(curve: RockingCurve, level: float) -> RockingCurve:
    bright = curve.frames(slice(None)).cpu() >= level
    return without_voxels(curve, bright, f"mask_saturated: level {level:g}")
