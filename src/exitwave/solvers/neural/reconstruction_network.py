"""Reconstruction networks, which work on groups of frames: from measured amplitudes to an image on the canvas of each group."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from exitwave.networks.patch_cnn import PatchCNN
from exitwave.networks.scaling import Scaling
from exitwave.networks.unet import UNet
from exitwave.physics.fourier import to_centre
from exitwave.problems.groups.canvases import Canvases, Images
from exitwave.problems.groups.tiles import Kind, merge

FEATURES = 5
"""What a stage of `Unrolled` sees: real and imaginary part of image and step, and the light."""
UNET_WIDTH = 8
"""Channels of a stage at width 1."""

Engine = Callable[[int, Tensor], Tensor]
"""Computes one part of a network elsewhere, such as in ONNX Runtime: number of the part, its input."""


class GroupBatch:
    """Groups of frames of one scan, and the image from which each starts. Not a dataclass: Fabric would take it apart."""

    def __init__(self, canvases: Canvases, start: Images, *, near_field: bool) -> None:
        self.canvases = canvases
        self.start = start
        self.near_field = near_field

    @property
    def probe_photons(self) -> Float[Tensor, ""]:
        """Of the probe, all modes together; the mean over frames where it varies."""
        return self.canvases.probes.abs().square().sum(dim=(1, 2, 3)).mean()


class ReconstructionNetwork(nn.Module, ABC):
    """Makes an image of every group of frames; differentiable. `parts` are its trained modules, real numbers in and out."""

    def __init__(self, *, learned_scale: bool) -> None:
        super().__init__()
        self.scaling = Scaling(learned=learned_scale)
        self.parts = nn.ModuleList()
        self.engine: Engine | None = None

    def forward(self, scenes: Sequence[GroupBatch]) -> list[Images]:
        """The transmission of the sample on the canvases of each scene.

        All scenes in one call, because devices that share a training exchange gradients once a call.
        """
        return [self.scaling.leaving(self.image(scene)) for scene in scenes]

    @abstractmethod
    def image(self, scene: GroupBatch) -> Images:
        """The network's images before scaling."""

    def run(self, number: int, inputs: Float[Tensor, "batch channel y x"]) -> Tensor:
        """One of the parts, wherever it is computed, as 32-bit numbers."""
        if self.engine is not None:
            return self.engine(number, inputs)
        return self.parts[number](inputs.contiguous(memory_format=torch.channels_last)).float()


class Unrolled(ReconstructionNetwork):
    """Steps asked for by the data, each corrected by a U-Net of its own that sees the image, the step and the light.

    What physics knows is not learned: every stage costs a transform there and back of each frame, and the network only
    says what the step lacks. Learned iterations: Adler & Öktem, IEEE Trans. Med. Imaging 37, 1322 (2018), eq. 8, without
    memory; the first image is the merged back-projection.
    """

    def __init__(self, *, stages: int, width: float, learned_scale: bool, seed: int) -> None:
        super().__init__(learned_scale=learned_scale)
        channels = max(1, round(UNET_WIDTH * width))
        self.parts.extend(
            UNet(features=FEATURES, width=channels, levels=2, stem=2, seed=seed * 1000 + number)
            for number in range(stages)
        )

    def image(self, scene: GroupBatch) -> Images:
        """Start, then one step after the other."""
        canvases, images = scene.canvases, scene.start
        light = canvases.illumination / canvases.illumination.amax(dim=(1, 2), keepdim=True)
        for number, part in enumerate(self.parts):
            step = canvases.gradient_step(images)
            seen = torch.stack([images.real - 1, images.imag, step.real, step.imag, light], dim=1)
            assert isinstance(part, UNet)
            correction = self.run(number, _padded(seen, part.multiple))[..., : light.shape[1], : light.shape[2]]
            images = images + step + torch.complex(correction[:, 0], correction[:, 1])
        return images


class Published(ReconstructionNetwork):
    """The published networks: patterns of a group in, a tile for each out, merged where they overlap, zero elsewhere.

    Hoidn, Mishra & Mehta, Sci. Rep. 13, 22789 (2023), PtychoPINN; with `full` tiles Cherukara et al., Appl. Phys. Lett.
    117, 044103 (2020), PtychoNN.
    """

    def __init__(
        self, *, frame_px: int, views: int, width: float, full: bool, kind: Kind, learned_scale: bool, seed: int
    ) -> None:
        super().__init__(learned_scale=learned_scale)
        # A probe with the photons of a mean frame leaves the sample amplitudes above 1, where a sigmoid cannot follow.
        self.network = PatchCNN(
            frame_px=frame_px,
            views=views,
            width=width,
            full=full,
            shared_amplitude=False,
            amplitude="sigmoid" if full else "softplus",
            seed=seed,
        )
        self.parts.append(self.network)
        self._views, self._frame_px = views, frame_px
        self._kind: Kind = kind

    def image(self, scene: GroupBatch) -> Images:
        """Tiles from patterns, then the overlap constraint."""
        canvases = scene.canvases
        amplitudes = canvases.amplitudes if scene.near_field else to_centre(canvases.amplitudes)
        seen = self.scaling.entering(amplitudes, scene.probe_photons).unflatten(0, (-1, self._views))
        amplitude, phase = self.run(0, seen).unbind(dim=1)
        tiles = amplitude * torch.complex(phase.cos(), phase.sin())
        shape = (canvases.illumination.shape[1], canvases.illumination.shape[2])
        return merge(
            tiles,
            canvases.places_px.to(tiles.device),
            frame_px=self._frame_px,
            canvas_shape=shape,
            kind=self._kind,
            weights=self._weights(tiles),
        )

    def _weights(self, tiles: Complex[Tensor, "group view t t"]) -> Float[Tensor, "1 1 t t"] | None:
        """Plain averages as published, but for "fourier", which would ring at the edges of tiles."""
        if self._kind != "fourier":
            return None
        window = torch.hann_window(tiles.shape[-1] + 1, periodic=False, device=tiles.device)[:-1].clamp(min=1e-3)
        return (window[:, None] * window[None, :])[None, None]


Network = Literal["unet", "encoder"]


def _padded(images: Float[Tensor, "group feature y x"], multiple: int) -> Float[Tensor, "group feature Y X"]:
    height, width = images.shape[-2:]
    return nn.functional.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate")
