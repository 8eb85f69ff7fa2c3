"""U-Nets that correct images: fully convolutional, for canvases of any size."""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from exitwave.networks.blocks import Convolution, Downsample, initialise

START = 0.1
"""Gain of the last convolution: corrections begin small, but not at zero, where the layers below would learn nothing."""


class Residual(nn.Module):
    """Residual block, two convolutions and the input: x + W2 s(W1 s(x)), s = SiLU (He et al., ECCV 2016, without norms)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Convolution(channels, channels)
        self.second = Convolution(channels, channels)

    def forward(self, x: Float[Tensor, "group channel y x"]) -> Float[Tensor, "group channel y x"]:
        """The input and its correction."""
        silu = nn.functional.silu
        return x + self.second(silu(self.first(silu(x))))


class UNet(nn.Module):
    """A U-Net of residual blocks: sees far through coarse images, keeps detail through sums across (skips).

    Ronneberger, Fischer & Brox, MICCAI 2015. Without normalisation: a canvas gives the same whatever is in its batch,
    and inputs come scaled. Sides of the canvas are multiples of `multiple`; ValueError else.
    """

    def __init__(self, *, features: int, width: int = 24, levels: int = 3, stem: int = 1, seed: int = 0) -> None:
        """`features` real images in, two out; each of `levels` halvings doubles the `width` channels.

        `stem` 2 works on 2 x 2 pixels at a time (Shi et al., CVPR 2016): a quarter of the work for the same `width`.
        """
        super().__init__()
        if min(features, width, stem) < 1 or levels < 0:
            raise ValueError(f"features {features}, width {width}, levels {levels}, stem {stem}; expected 1 or more")
        self.features, self.levels, self.stem = features, levels, stem
        channels = [width * 2**level for level in range(levels + 1)]
        pairs = list(pairwise(channels))
        self.head = Convolution(features * stem**2, width)
        self.down = nn.ModuleList(Residual(n) for n in channels[:-1])
        self.halve = nn.ModuleList(Downsample(fine, coarse) for fine, coarse in pairs)
        self.deepest = Residual(channels[-1])
        # 1 x 1 and before the pixels are doubled: the same as after, for a quarter of the work.
        self.mix = nn.ModuleList(Convolution(coarse, fine, 1) for fine, coarse in pairs)
        self.up = nn.ModuleList(Residual(n) for n in channels[:-1])
        self.tail = Convolution(width, 2 * stem**2, gain=START)
        initialise(self, seed)

    @property
    def multiple(self) -> int:
        """What both sides of a canvas have to be multiples of."""
        return self.stem * 2**self.levels

    def forward(self, images: Float[Tensor, "group feature y x"]) -> Float[Tensor, "group 2 y x"]:
        """Real and imaginary part of the correction."""
        self._check(images)
        x = self.head(nn.functional.pixel_unshuffle(images, self.stem))
        fine: list[Tensor] = []
        for block, halve in zip(self.down, self.halve, strict=True):
            fine.append(block(x))
            x = halve(fine[-1])
        x = self.deepest(x)
        for level in reversed(range(self.levels)):
            doubled = nn.functional.interpolate(self.mix[level](x), scale_factor=2.0, mode="nearest")
            x = self.up[level](fine[level] + doubled)
        return nn.functional.pixel_shuffle(self.tail(nn.functional.silu(x)), self.stem)

    def _check(self, images: Tensor) -> None:
        if images.shape[1] != self.features:
            raise ValueError(f"images with {images.shape[1]} features; this network takes {self.features}")
        if images.shape[2] % self.multiple or images.shape[3] % self.multiple:
            raise ValueError(
                f"canvases of {images.shape[2]} x {images.shape[3]} pixels; pad both sides to multiples of {self.multiple}"
            )
