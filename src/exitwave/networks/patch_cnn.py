"""Encoder-decoder networks as published: a few diffraction patterns in, a small image of the object behind each out."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from exitwave.networks.blocks import Convolution, initialise

NARROWEST = {3: 32, 4: 16, 5: 8}
"""Channels of the first stage, by the number of stages; each stage has twice those of the one before."""


class PatchCNN(nn.Module):
    """Encoder with one decoder for the amplitude and one for the phase, as published for PtychoPINN and PtychoNN.

    The output is the centre of each frame, half its side. With `full` it is the whole frame and the heads are linear:
    PtychoNN. No skips, no normalisation. Raises ValueError for frames that do not halve often enough.

    Hoidn, Mishra & Mehta, Sci. Rep. 13, 22789 (2023), with max pooling and phases in -pi to pi as in its code, where the
    text has averages and 0 to 2 pi; Cherukara et al., Appl. Phys. Lett. 117, 044103 (2020).
    """

    def __init__(
        self,
        *,
        frame_px: int,
        views: int,
        width: float = 2.0,
        full: bool = False,
        shared_amplitude: bool = True,
        amplitude: Literal["sigmoid", "softplus"] = "sigmoid",
        seed: int = 0,
    ) -> None:
        """`views` patterns are seen together; `width` multiplies all channels: 2 is PtychoPINN as published, 1 PtychoNN.

        `shared_amplitude` gives all views one amplitude, as in the published runs: right where the views of a group nearly
        coincide. `amplitude` "sigmoid" ends at 1; take "softplus" for samples that may exceed it.
        """
        super().__init__()
        # As in the published code.
        stages = 3 if frame_px <= 64 else 4 if frame_px <= 128 else 5
        _check(frame_px, views, width, stages)
        if full and amplitude != "sigmoid":
            raise ValueError(f"amplitude {amplitude!r} for full frames, whose heads are linear; leave it out")
        self.frame_px, self.views = frame_px, views
        self.tile_px = frame_px if full else frame_px // 2
        self.full, self.amplitude = full, amplitude
        encoder = [max(1, round(width * NARROWEST[stages] * 2**stage)) for stage in range(stages)]
        # The published widths begin at 256 for 5 stages (though the encoder ends at 128), and at 128 otherwise.
        widest = 256 if stages == 5 else 128
        decoder = [max(1, round(width * widest / 2**block)) for block in range(stages if full else stages - 1)]
        self.encoder = nn.Sequential(*_chain(views, encoder, nn.MaxPool2d(2)))
        heads = {"amplitude": 1 if shared_amplitude else views, "phase": views}
        self.decoders = nn.ModuleDict(
            {
                name: nn.Sequential(
                    *_chain(encoder[-1], decoder, nn.Upsample(scale_factor=2, mode="nearest")),
                    Convolution(decoder[-1], channels),
                )
                for name, channels in heads.items()
            }
        )
        initialise(self, seed)

    def forward(self, amplitudes: Float[Tensor, "group view y x"]) -> Float[Tensor, "group 2 view tile tile"]:
        """Amplitude ([:, 0]) and phase in radians ([:, 1]) of the tile of each view; the view's centre is the tile's."""
        if tuple(amplitudes.shape[1:]) != (self.views, self.frame_px, self.frame_px):
            raise ValueError(
                f"patterns of shape {tuple(amplitudes.shape)}; this network takes groups of {self.views} patterns "
                f"of {self.frame_px} x {self.frame_px} pixels"
            )
        features = self.encoder(amplitudes)
        amplitude, phase = self.decoders["amplitude"](features), self.decoders["phase"](features)
        if not self.full:
            positive = torch.sigmoid if self.amplitude == "sigmoid" else nn.functional.softplus
            amplitude, phase = positive(amplitude), torch.pi * torch.tanh(phase)
        return torch.stack([amplitude.expand_as(phase), phase], dim=1)


def _chain(inputs: int, channels: list[int], change_size: nn.Module) -> list[nn.Module]:
    """Blocks of two convolutions, each followed by the change of size."""
    layers: list[nn.Module] = []
    for outputs in channels:
        layers += [Convolution(inputs, outputs), nn.ReLU(), Convolution(outputs, outputs), nn.ReLU(), change_size]
        inputs = outputs
    return layers


def _check(frame_px: int, views: int, width: float, stages: int) -> None:
    if frame_px < 2**stages or frame_px % 2**stages:
        raise ValueError(
            f"frames of {frame_px} pixels cannot be halved {stages} times; crop or pad them to a multiple of {2**stages}"
        )
    if views < 1 or width <= 0:
        raise ValueError(f"{views} views and width {width}; expected at least one view and a positive width")
