"""Masks of the detector: which pixels can be trusted."""

from dataclasses import replace
from functools import singledispatch
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from exitwave.data.arrays import as_tensor
from exitwave.data.dark_pixels import dark_pixels
from exitwave.data.errors import InputError
from exitwave.data.measurement import M, Measurement
from exitwave.data.prepare.chunks import chunks, noted


def mask_pixels(scan: M, mask: Bool[Tensor, "y x"]) -> M:
    """Trust only pixels that `mask` also trusts (True = trusted)."""
    mask = as_tensor(mask).to(torch.bool)
    if tuple(mask.shape) != scan.frame_shape:
        raise InputError(f"mask has shape {tuple(mask.shape)} but frames are {scan.frame_shape}; crop it to the frames")
    return _trusting(scan, mask, "mask_pixels")


def mask_saturated(scan: M, level: float) -> M:
    """Distrust pixels that reach `level` photons in any frame, of a rocking curve in that frame. Reads all frames once."""
    if not level > 0:
        raise InputError(f"saturation level is {level:g}; expected a positive number of photons")
    return cast(M, reaching(scan, level))


@singledispatch
def reaching(scan: Measurement, level: float) -> Measurement:
    """A measurement without what reaches a level, by kind."""
    brightest = torch.zeros(scan.frame_shape)
    for _, frames in chunks(scan):
        brightest = torch.maximum(brightest, frames.amax(dim=0).cpu())
    return _trusting(scan, brightest < level, f"mask_saturated: level {level:g}")


def mask_hot(scan: M, *, times: float = 10.0) -> M:
    """Distrust pixels whose summed counts exceed `times` the median of their neighbours. Reads all frames once.

    Neighbours that counted nothing are taken as one photon. The direct beam of nearly parallel light can be a single
    bright pixel too: look at the mask, or raise `times`.
    """
    if not times > 1:
        raise InputError(f"hot pixels are {times:g} times their neighbours; expected a number above 1, 10 is usual")
    total = _total(scan)
    hot = total > times * _median_of_neighbours(total, scan.mask).clamp(min=1)
    return _trusting(scan, ~hot, f"mask_hot: {times:g} times the neighbours")


def mask_dead(scan: M, *, lit: float | None = None) -> M:
    """Distrust pixels that count nothing in any frame in the midst of light: dead ones, gaps, what a beam stop hides.

    Light is told by how often the pixels around count, so that a healthy one is taken for dead once in a million scans; with
    `lit` every pixel is dead whose neighbours sum to so many photons. Reads all frames once.
    """
    if lit is not None and not lit > 0:
        raise InputError(f"neighbours count as lit from {lit:g} photons; expected a positive number")
    total = torch.zeros(scan.frame_shape, dtype=torch.float64)
    counting = torch.zeros(scan.frame_shape, dtype=torch.int64)
    for _, frames in chunks(scan):
        total += frames.sum(dim=0, dtype=torch.float64).cpu()
        counting += (frames > 0).sum(dim=0).cpu()
    if lit is None:
        dead, told = dark_pixels(counting, len(scan), scan.mask).all, "in the midst of light"
    else:
        dead = (total <= 0) & (_median_of_neighbours(total, scan.mask) >= lit)
        told = f"neighbours above {lit:g} photons"
    return _trusting(scan, ~dead, f"mask_dead: {told}")


def _trusting(scan: M, mask: Bool[Tensor, "y x"], step: str) -> M:
    kept = scan.mask & mask.to(scan.mask.device)
    lost = int(scan.mask.sum() - kept.sum())
    return replace(scan, mask=kept, provenance=noted(scan, f"{step} ({lost} more pixels untrusted)"))


def _total(scan: Measurement) -> Float[Tensor, "y x"]:
    total = torch.zeros(scan.frame_shape, dtype=torch.float64)
    for _, frames in chunks(scan):
        total += frames.sum(dim=0, dtype=torch.float64).cpu()
    return total


def _median_of_neighbours(
    image: Float[Tensor, "y x"], mask: Bool[Tensor, "y x"], reach: int = 2
) -> Float[Tensor, "y x"]:
    """Median over the trusted pixels at most `reach` away, the pixel itself left out; zero where there are none."""
    width = 2 * reach + 1
    known = torch.where(mask.to(image.device), image, torch.nan)
    known = functional.pad(known, (reach,) * 4, value=torch.nan)
    around = known.unfold(0, width, 1).unfold(1, width, 1).flatten(2)
    others = torch.arange(width * width) != width * width // 2
    return around[..., others].nanmedian(dim=-1).values.nan_to_num(0.0)
