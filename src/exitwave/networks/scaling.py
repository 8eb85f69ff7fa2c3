"""Scaling of a network's inputs and outputs to the photons, in one place and stored with the weights."""

import torch
from jaxtyping import Float, Inexact
from torch import Tensor, nn


class Scaling(nn.Module):
    """Scaling between photons and a network: the gain of its inputs and the scale of its images.

    Networks see amplitudes divided by the square root of the probe's photons and times `input_gain`, which is set once,
    from the scans trained on, so that a unit object gives inputs of order 1. Data and probe k times as strong give the
    same input. Images are multiplied by exp(log_scale): the intensity scale of Hoidn, Mishra & Mehta, Sci. Rep. 13,
    22789 (2023), which is 1 here as the probe carries the photons, and may be `learned` where it carries them wrongly.
    """

    def __init__(self, *, learned: bool = False) -> None:
        super().__init__()
        self.input_gain: Tensor
        self.register_buffer("input_gain", torch.ones(()))
        # Of one name either way, so that weights fit both.
        if learned:
            self.log_scale: Tensor = nn.Parameter(torch.zeros(()))
        else:
            self.register_buffer("log_scale", torch.zeros(()))

    def entering(
        self, amplitudes: Float[Tensor, "frame y x"], probe_photons: Float[Tensor, ""]
    ) -> Float[Tensor, "frame y x"]:
        """Measured amplitudes as the network sees them."""
        return amplitudes * (self.input_gain / probe_photons.sqrt())

    def leaving(self, images: Inexact[Tensor, "*batch y x"]) -> Inexact[Tensor, "*batch y x"]:
        """The network's images as transmission of the sample."""
        return images * self.log_scale.exp()
