"""The forward model of ptychography: interaction, propagation, detection."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.geometry import Geometry
from exitwave.physics.interaction import pass_through, shifted_probes, split_positions
from exitwave.physics.kernels import reference
from exitwave.physics.propagation import Propagator, angular_spectrum_transfer, propagator


@dataclass(frozen=True, kw_only=True, eq=False)
class Ptychography:
    """exit wave = probe x window of the object; detector = |propagated exit wave|^2, summed over incoherent modes."""

    propagator: Propagator = field(repr=False)
    gap_transfer: Complex[Tensor, "gap y x"] | None = field(default=None, repr=False)
    """Free space between the slices of a thick sample."""

    @classmethod
    def of(
        cls,
        geometry: Geometry,
        frame_shape: tuple[int, int],
        *,
        slice_spacing_m: tuple[float, ...] = (),
        device: torch.device | str = "cpu",
    ) -> "Ptychography":
        """The model of a measurement; `slice_spacing_m` lists the gaps of a multislice object (none: thin sample)."""
        transfer = None
        if slice_spacing_m:
            pixel_m = geometry.object_pixel_m(frame_shape)
            transfer = torch.stack(
                [
                    angular_spectrum_transfer(frame_shape, pixel_m, geometry.wavelength_m, gap, device)
                    for gap in slice_spacing_m
                ]
            )
        return cls(propagator=propagator(geometry, frame_shape, device), gap_transfer=transfer)

    def exit_waves(self, x: PtychoEstimate, frames: Int[Tensor, " batch"]) -> Complex[Tensor, "batch mode y x"]:
        """The waves that leave the sample at these frames; differentiable in object, probe and positions."""
        gaps = 0 if self.gap_transfer is None else len(self.gap_transfer)
        if len(x.object) != gaps + 1:
            raise InputError(
                f"the object has {len(x.object)} slices but the model {gaps} gaps; give {len(x.object) - 1} spacings"
            )
        corners, rest = split_positions(x.positions_px[frames.to(x.positions_px.device)])
        patches = reference.gather(x.object, corners, (x.probe.shape[-2], x.probe.shape[-1]))
        return pass_through(shifted_probes(x.probe, rest), patches, self.gap_transfer)

    def propagate(self, waves: Complex[Tensor, "*batch y x"]) -> Complex[Tensor, "*batch y x"]:
        """Exit waves to waves at the detector, in detector order."""
        return self.propagator.propagate(waves)

    def backpropagate(self, waves: Complex[Tensor, "*batch y x"]) -> Complex[Tensor, "*batch y x"]:
        """Adjoint and inverse of `propagate`."""
        return self.propagator.backpropagate(waves)

    def arrange(self, frames: Tensor) -> Tensor:
        """Stored frames (beam at the centre) in detector order."""
        return self.propagator.arrange(frames)

    def intensity(self, x: PtychoEstimate, frames: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
        """Expected photons at the detector, in detector order."""
        return reference.intensity(self.propagate(self.exit_waves(x, frames)))
