"""Networks for 3D Bragg CDI: the pattern of a crystal in, its amplitude and phase out, both on one cubic grid.

The crystal lies in the middle half of the grid along each axis; outside both networks give nothing, which is what makes the
answer unique but for its twin and its global phase.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from exitwave.networks.blocks import Convolution3D, Downsample3D, initialise

Patterns = Float[Tensor, "crystal feature z y x"]
"""What a network sees of patterns, zero frequency in the middle."""
Crystals = Float[Tensor, "crystal 2 z y x"]
"""Amplitude from 0 to 1 ([:, 0]) and phase from -pi to pi ([:, 1])."""
FIRST_AMPLITUDE = 1.0
"""Bias of the amplitude's head: every voxel begins at 0.73, so that no crystal is born below the threshold of its support."""


class AutoPhaseNet(nn.Module):
    """AutoPhaseNN as published: an encoder, and one decoder each for amplitude and phase; 24.7 million parameters at width 1.

    The decoders end at half the grid, are padded with zeros to the whole and pass three more convolutions, which reach three
    voxels into the padding. Yao et al., npj Comput. Mater. 8, 124 (2022), with the channels of its code, whose phase branch is
    narrower than its amplitude branch. Raises ValueError for grids that cannot be halved four times.
    """

    features = 1

    def __init__(self, *, grid_px: int = 64, width: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        _check(grid_px, 4)
        self.grid_px = grid_px
        stages = _channels(width, (32, 64, 128, 256))
        deepest, last = _channels(width, (512, 32))
        self.encoder = nn.Sequential()
        for before, after in pairwise([1, *stages]):
            self.encoder.extend([*_pair(before, after, nn.LeakyReLU(0.01)), nn.MaxPool3d(2)])
        self.encoder.extend(_pair(stages[-1], deepest, nn.LeakyReLU(0.01)))
        self.amplitude = _decoder(deepest, _channels(width, (256, 128, 64)), last, grid_px)
        self.phase = _decoder(deepest, _channels(width, (128, 128, 64)), last, grid_px)
        initialise(self, seed)
        _alive(self.amplitude[-1])

    def forward(self, patterns: Patterns) -> Crystals:
        """Crystals of patterns that are amplitudes of order 1."""
        seen = self.encoder(_fitting(patterns, self.features, self.grid_px))
        return torch.cat([torch.sigmoid(self.amplitude(seen)), torch.pi * torch.tanh(self.phase(seen))], dim=1)


class SlimCrystalNet(nn.Module):
    """A network for one processor core: residual blocks on half the grid and less, the crystal cut out by construction.

    The pattern is folded to half the grid (2 x 2 x 2 voxels become channels), so that no convolution is as large as it; heads
    give the middle half of the grid, which is padded after them: outside the amplitude is exactly zero. Normalised by groups
    of channels, so that a crystal is the same whatever is in its batch. Raises ValueError for grids that cannot be halved three
    times.
    """

    def __init__(
        self,
        *,
        features: int = 1,
        grid_px: int = 32,
        channels: tuple[int, int, int] = (16, 48, 128),
        depth: int = 2,
        seed: int = 0,
    ) -> None:
        """`channels` on a half, a quarter and an eighth of the grid; `depth` blocks on the last."""
        super().__init__()
        _check(grid_px, 3)
        fine, middle, coarse = channels
        self.features, self.grid_px = features, grid_px
        self.encoder = nn.Sequential(
            Convolution3D(8 * features, fine),
            ResidualVolume(fine),
            Downsample3D(fine, middle),
            ResidualVolume(middle),
            Downsample3D(middle, coarse),
            *(ResidualVolume(coarse) for _ in range(depth)),
        )
        self.decoder = nn.Sequential(
            Convolution3D(coarse, middle, 1),
            nn.Upsample(scale_factor=2.0, mode="nearest"),
            ResidualVolume(middle),
            Convolution3D(middle, fine, 1),
            nn.Upsample(scale_factor=2.0, mode="nearest"),
            ResidualVolume(fine),
            nn.SiLU(),
        )
        self.amplitude, self.phase = Convolution3D(fine, 1), Convolution3D(fine, 1)
        initialise(self, seed)
        _alive(self.amplitude)

    def forward(self, patterns: Patterns) -> Crystals:
        """Crystals of what is seen of patterns, of order 1."""
        found = self.decoder(self.encoder(_folded(_fitting(patterns, self.features, self.grid_px))))
        heads = [torch.sigmoid(self.amplitude(found)), torch.pi * torch.tanh(self.phase(found))]
        return nn.functional.pad(torch.cat(heads, dim=1), (self.grid_px // 4,) * 6)


class ResidualVolume(nn.Module):
    """Residual block of a volume, normalised before it begins: x + W2 s(W1 s(n(x))), s = SiLU (He et al., ECCV 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8 if channels % 8 == 0 else 1, channels)
        self.first = Convolution3D(channels, channels)
        self.second = Convolution3D(channels, channels)

    def forward(self, x: Float[Tensor, "crystal channel z y x"]) -> Float[Tensor, "crystal channel z y x"]:
        """The input and its correction."""
        silu = nn.functional.silu
        return x + self.second(silu(self.first(silu(self.norm(x)))))


def _pair(inputs: int, outputs: int, bend: nn.Module) -> list[nn.Module]:
    """Two convolutions, each bent and then normalised over the batch."""
    layers: list[nn.Module] = []
    for before in (inputs, outputs):
        layers += [Convolution3D(before, outputs), bend, nn.BatchNorm3d(outputs)]
    return layers


def _decoder(inputs: int, channels: Sequence[int], last: int, grid_px: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise([inputs, *channels]):
        layers += [nn.Upsample(scale_factor=2.0, mode="nearest"), *_pair(before, after, nn.LeakyReLU(0.01))]
    layers += [nn.ConstantPad3d(grid_px // 4, 0.0), *_pair(channels[-1], last, nn.ReLU()), Convolution3D(last, 1)]
    return nn.Sequential(*layers)


def _channels(width: float, published: Sequence[int]) -> list[int]:
    return [max(1, round(width * number)) for number in published]


def _alive(head: nn.Module) -> None:
    assert isinstance(head, Convolution3D)
    assert head.bias is not None
    nn.init.constant_(head.bias, FIRST_AMPLITUDE)


def _folded(patterns: Patterns) -> Float[Tensor, "crystal folded Z Y X"]:
    """2 x 2 x 2 voxels as channels (Shi et al., CVPR 2016)."""
    count, features, *size = patterns.shape
    z, y, x = (n // 2 for n in size)
    cut = patterns.reshape(count, features, z, 2, y, 2, x, 2).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return cut.reshape(count, 8 * features, z, y, x)


def _check(grid_px: int, halvings: int) -> None:
    if grid_px < 2**halvings or grid_px % 2**halvings:
        raise ValueError(
            f"a grid of {grid_px} voxels cannot be halved {halvings} times; expected a multiple of {2**halvings}"
        )


def _fitting(patterns: Patterns, features: int, grid_px: int) -> Patterns:
    if tuple(patterns.shape[1:]) != (features, *(grid_px,) * 3):
        raise ValueError(
            f"patterns of shape {tuple(patterns.shape)}; this network takes {features} on grids of {grid_px}^3 voxels"
        )
    return patterns
