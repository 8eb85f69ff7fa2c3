"""The network unet: steps of the physics, each corrected by a small U-Net."""

from typing import Annotated, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from exitwave.networks.unet import UNet
from exitwave.solvers.neural.reconstruction_network import (
    GroupBatch,
    NetworkArchitecture,
    Prediction,
    ReconstructionNetwork,
    network,
)

FEATURES = 5
"""What a stage sees: real and imaginary part of image and step, and the light."""
UNET_WIDTH = 8
"""Channels of a stage at width 1."""


@network
class UnrolledUNet(NetworkArchitecture):
    """Steps asked for by the data, each corrected by a U-Net of its own that sees the image, the step and the light.

    What physics knows is not learned: every stage costs a transform there and back of each frame, and the network only
    says what the step lacks. Learned iterations: Adler & Öktem, IEEE Trans. Med. Imaging 37, 1322 (2018), eq. 8, without
    memory; the first image is the merged back-projection.
    """

    name: ClassVar[str] = "unet"
    stages: PositiveInt = 2
    """Steps, each with a transform there and back of every frame: 2 after a warm start, 4-6 without, as for single shots."""
    width: Annotated[float, Field(gt=0, le=16)] = 1.0
    """Factor on the channels of the network, which are 8."""

    def parts(self, frame_shape: tuple[int, int], group: int, seed: int) -> list[nn.Module]:
        channels = max(1, round(UNET_WIDTH * self.width))
        return [
            UNet(features=FEATURES, width=channels, levels=2, stem=2, seed=seed * 1000 + number)
            for number in range(self.stages)
        ]

    def predict(self, network: ReconstructionNetwork, batch: GroupBatch) -> Prediction:
        """Start, then one step after the other."""
        canvases, images = batch.canvases, batch.start
        light = canvases.illumination / canvases.illumination.amax(dim=(1, 2), keepdim=True)
        for number, part in enumerate(network.parts):
            step = canvases.gradient_step(images)
            seen = torch.stack([images.real - 1, images.imag, step.real, step.imag, light], dim=1)
            assert isinstance(part, UNet)
            correction = network.run(number, _padded(seen, part.multiple))[..., : light.shape[1], : light.shape[2]]
            images = images + step + torch.complex(correction[:, 0], correction[:, 1])
        return Prediction(images)

    def example_input(self, part: nn.Module) -> tuple[Tensor, tuple[int, ...]]:
        assert isinstance(part, UNet)
        # Two different sides: torch takes sizes that are equal in the example for the same one.
        return torch.zeros(2, part.features, 4 * part.multiple, 5 * part.multiple), (0, 2, 3)

    def input_description(self, part: nn.Module) -> str:
        assert isinstance(part, UNet)
        return (
            f"(group, {part.features}, Y, X), 32 bit; Y and X multiples of {part.multiple}: real part of image - 1, imaginary part, "
            "both parts of the step that the data ask for, light relative to the brightest; the output is the correction, "
            "(group, 2, Y, X)"
        )


def _padded(images: Float[Tensor, "group feature y x"], multiple: int) -> Float[Tensor, "group feature Y X"]:
    height, width = images.shape[-2:]
    return nn.functional.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate")
