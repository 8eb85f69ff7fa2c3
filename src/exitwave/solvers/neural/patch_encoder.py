"""The network encoder: the published ones, patterns in, small images out, which have to learn diffraction first."""

from typing import Annotated, ClassVar

import torch
from jaxtyping import Complex, Float
from pydantic import Field
from torch import Tensor, nn

from exitwave.data.errors import InputError
from exitwave.networks.patch_cnn import PatchCNN
from exitwave.physics.fourier import to_centre
from exitwave.problems.groups.tiles import Kind, merge
from exitwave.solvers.neural.reconstruction_network import (
    GroupBatch,
    NetworkArchitecture,
    Prediction,
    ReconstructionNetwork,
    network,
)


@network
class PatchEncoder(NetworkArchitecture):
    """The published networks: patterns of a group in, a tile for each out, merged where they overlap, zero elsewhere.

    Hoidn, Mishra & Mehta, Sci. Rep. 13, 22789 (2023), PtychoPINN; with whole frames as tiles Cherukara et al., Appl. Phys.
    Lett. 117, 044103 (2020), PtychoNN.
    """

    name: ClassVar[str] = "encoder"
    starts_from_image: ClassVar[bool] = False
    sees_positions: ClassVar[bool] = False
    needs_fixed_probe: ClassVar[bool] = True
    any_frame_shape: ClassVar[bool] = False
    width: Annotated[float, Field(gt=0, le=16)] = 1.0
    """Factor on the channels of the network, which are 32 and more; the published width is 2."""
    translation: Kind = "fourier"
    """How tiles are moved below a pixel: bilinear as published blurs, bicubic less, fourier does not."""
    whole_frames: bool = False
    """Whether tiles are whole frames with linear heads, as published for PtychoNN, or the centre of each, half its side."""

    def accepts(self, frame_shape: tuple[int, int]) -> None:
        if frame_shape[0] != frame_shape[1]:
            raise InputError(
                f"frames of {frame_shape[0]} x {frame_shape[1]} pixels; the encoder sees square ones: crop them"
            )

    def parts(self, frame_shape: tuple[int, int], group: int, seed: int) -> list[nn.Module]:
        try:
            # A probe with the photons of a mean frame leaves the sample amplitudes above 1, where a sigmoid cannot follow.
            made = PatchCNN(
                frame_px=frame_shape[0],
                views=group,
                width=self.width,
                full=self.whole_frames,
                shared_amplitude=False,
                amplitude="sigmoid" if self.whole_frames else "softplus",
                seed=seed,
            )
        except ValueError as error:
            raise InputError(str(error)) from error
        return [made]

    def predict(self, network: ReconstructionNetwork, batch: GroupBatch) -> Prediction:
        """Tiles from patterns, then the overlap constraint."""
        canvases, (part,) = batch.canvases, network.parts
        assert isinstance(part, PatchCNN)
        amplitudes = canvases.amplitudes if batch.near_field else to_centre(canvases.amplitudes)
        seen = network.scaling.entering(amplitudes, batch.probe_photons).unflatten(0, (-1, part.views))
        amplitude, phase = network.run(0, seen).unbind(dim=1)
        tiles = amplitude * torch.complex(phase.cos(), phase.sin())
        shape = (canvases.illumination.shape[1], canvases.illumination.shape[2])
        return Prediction(
            merge(
                tiles,
                canvases.places_px.to(tiles.device),
                frame_px=part.frame_px,
                canvas_shape=shape,
                kind=self.translation,
                weights=self._weights(tiles),
            )
        )

    def _weights(self, tiles: Complex[Tensor, "group view t t"]) -> Float[Tensor, "1 1 t t"] | None:
        """Plain averages as published, but for "fourier", which would ring at the edges of tiles."""
        if self.translation != "fourier":
            return None
        window = torch.hann_window(tiles.shape[-1] + 1, periodic=False, device=tiles.device)[:-1].clamp(min=1e-3)
        return (window[:, None] * window[None, :])[None, None]

    def example_input(self, part: nn.Module) -> tuple[Tensor, tuple[int, ...]]:
        assert isinstance(part, PatchCNN)
        return torch.zeros(2, part.views, part.frame_px, part.frame_px), (0,)

    def input_description(self, part: nn.Module) -> str:
        assert isinstance(part, PatchCNN)
        n, tile = part.frame_px, part.tile_px
        return (
            f"(group, {part.views}, {n}, {n}), 32 bit: amplitudes times the input gain over the root of the probe's photons, zero "
            f"frequency in the centre; the output is amplitude and phase of the tiles, (group, 2, {part.views}, {tile}, {tile})"
        )
