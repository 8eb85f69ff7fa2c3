"""Collapse, noticed while networks train: the answer is the same whatever they are shown."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.data.errors import ExitwaveError


class Collapsed(ExitwaveError):
    """A network gives the same image for every sample: it stopped learning, and more epochs do not help."""


class Diverged(ExitwaveError):
    """The loss or its gradient is not finite: the training diverged."""


def variation(images: Float[Tensor, "sample ..."] | Complex[Tensor, "sample ..."]) -> float:
    """Variance from sample to sample, averaged over the pixels, relative to the mean square of the images.

    0 when all images are the same; not a number for fewer than two.
    """
    if len(images) < 2:
        return float("nan")
    # Not in half precision, whose rounding alone would look like variation.
    images = images.detach().to(torch.complex64 if images.is_complex() else torch.float32)
    square = images.abs().square().mean()
    variance = (images - images.mean(dim=0)).abs().square().mean()
    return float(variance / square.clamp(min=torch.finfo(torch.float32).tiny))


SAME = 1e-9
"""Variation of images that differ by no more than the rounding of 32-bit numbers."""
RISE = 1.1
"""Networks that find their way slowly vary so much more from look to look; collapsed ones do not."""


def require_variation(found: float, before: float, least: float, step: int) -> None:
    """Raise Collapsed when the outputs vary less than `least`, and no more than at the look `before`.

    At the first look, when that is not a number, only the same outputs are a collapse; fewer than two samples tell nothing.
    """
    if found < min(SAME, least) or (found < least and found < RISE * before):
        raise Collapsed(
            f"the network collapsed: after {step} steps its images differ from sample to sample by {found:.1e} of their mean "
            f"square (expected {least:g} or more); lower learning_rate, take network='unet', another seed, or a curved "
            "probe; for objects with less than 1 % contrast lower least_output_variation"
        )
