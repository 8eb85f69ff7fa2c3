"""Loss functions of a network's images: the patterns they would give, or known images. All of order 1."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from exitwave.physics.kernels.reference import intensity
from exitwave.problems.groups.canvases import Canvases, Images

Loss = Literal["amplitude", "poisson"]
DARK = 0.05
"""Amplitude of the sample below which its phase counts less."""


def expected(canvases: Canvases, images: Images) -> Float[Tensor, "frame y x"]:
    """Photons that these images would give at the detector; nowhere quite none."""
    return intensity(canvases.at_detector(images)) + canvases.dark_floor


def amplitude_loss(canvases: Canvases, images: Images) -> Float[Tensor, ""]:
    """Mean absolute error of the amplitudes over their mean: the loss of the published PtychoPINN tables."""
    modulus = expected(canvases, images).sqrt()
    measured = canvases.amplitudes * canvases.trusted
    return ((modulus - canvases.amplitudes).abs() * canvases.trusted).sum() / measured.sum().clamp(min=1e-12)


def poisson_loss(canvases: Canvases, images: Images) -> Float[Tensor, ""]:
    """Poisson negative log likelihood of the counts less that of a perfect fit, for each photon: zero at best."""
    rate = expected(canvases, images)
    counts = canvases.amplitudes.square()
    likelihood = rate - counts - torch.special.xlogy(counts, rate / counts.where(counts > 0, 1.0))
    return (likelihood * canvases.trusted).sum() / (counts * canvases.trusted).sum().clamp(min=1e-12)


LOSSES: Mapping[str, Callable[[Canvases, Images], Float[Tensor, ""]]] = {
    "amplitude": amplitude_loss,
    "poisson": poisson_loss,
}


def labelled_loss(canvases: Canvases, images: Images, labels: Images) -> Float[Tensor, ""]:
    """Mean absolute error of amplitude and phase where there is light: that of PtychoNN.

    A difference of phases is measured along the chord, which has no jump; it counts less where the sample is dark.
    """
    light = canvases.illumination / canvases.illumination.sum(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    turn, wanted = (z / (z.abs() + DARK) for z in (images, labels))
    error = (_modulus(images) - labels.abs()).abs() + _modulus(turn - wanted)
    return (error * light).sum() / len(images)


def _modulus(images: Images) -> Float[Tensor, "group Y X"]:
    """|z|, with a slope at zero."""
    return (images.real.square() + images.imag.square() + 1e-12).sqrt()
