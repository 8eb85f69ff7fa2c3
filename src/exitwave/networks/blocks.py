"""Layers of networks for images, and the initialisation of their weights."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class _Drawn(nn.Module):
    """A layer whose weights come from `initialise` alone.

    torch draws the weights of its own layers from the global generator, which no caller of this library asked for.
    """

    weight: Tensor
    bias: Tensor | None
    gain = 1.0

    def reset_parameters(self) -> None:
        """Zeros until `initialise` draws them."""
        _zero(self.parameters())


class Convolution(_Drawn, nn.Conv2d):
    """A convolution that keeps the size of the image (zero padding)."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, *, gain: float = 1.0) -> None:
        super().__init__(inputs, outputs, size, padding=size // 2)
        self.gain = gain


class Downsample(_Drawn, nn.Conv2d):
    """Downsampling: every 2 x 2 pixels become one, with weights to be learned."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 2, stride=2)


class Convolution3D(_Drawn, nn.Conv3d):
    """A convolution that keeps the size of the volume (zero padding)."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, *, gain: float = 1.0) -> None:
        super().__init__(inputs, outputs, size, padding=size // 2)
        self.gain = gain


class Downsample3D(_Drawn, nn.Conv3d):
    """Downsampling: every 2 x 2 x 2 voxels become one, with weights to be learned."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 2, stride=2)


def initialise(network: nn.Module, seed: int) -> None:
    """Draw all weights anew: uniform with the variance of Glorot & Bengio (AISTATS 2010, eq. 16) times gain^2, zero bias.

    Depends on the seed and the order of the layers only: not on torch's global generator, nor on the device.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, _Drawn):
            weight = torch.empty(layer.weight.shape)
            nn.init.xavier_uniform_(weight, gain=layer.gain, generator=generator)
            with torch.no_grad():
                layer.weight.copy_(weight)
            _zero([layer.bias] if layer.bias is not None else [])


def _zero(parameters: Iterable[Tensor]) -> None:
    for values in parameters:
        nn.init.zeros_(values)
