"""The forward model of ptychography: interaction, propagation, detection."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.geometry import Geometry
from exitwave.physics.fourier import Waves, fourier_shift
from exitwave.physics.interaction import multislice, split_positions
from exitwave.physics.kernels import reference
from exitwave.physics.kernels.reference import FrameProbes, FrameWaves
from exitwave.physics.propagation import Propagator, angular_spectrum_transfer, propagator


@dataclass(frozen=True, kw_only=True, eq=False)
class Ptychography:
    """exit wave = probe x window of the object; detector = |propagated exit wave|^2, summed over incoherent modes."""

    propagator: Propagator = field(repr=False)
    pixel_m: tuple[float, float]
    """(y, x) of the object."""
    wavelength_m: float
    exposure_px: Float[Tensor, "frame point 2"] | None = None
    """Fly scan: where the probe stood during each exposure, relative to the frame's position; points weigh the same."""
    offset_photons: float = 0.0
    """Expected in every pixel besides the light, because as many were added to the counts: see `offset_amplitudes`."""

    @classmethod
    def of(
        cls,
        geometry: Geometry,
        frame_shape: tuple[int, int],
        *,
        exposure_px: Float[Tensor, "frame point 2"] | None = None,
        device: torch.device | str = "cpu",
    ) -> "Ptychography":
        """The model of a measurement."""
        return cls(
            propagator=propagator(geometry, frame_shape, device),
            pixel_m=geometry.object_pixel_m(frame_shape),
            wavelength_m=geometry.wavelength_m,
            exposure_px=exposure_px,
        )

    def of_frames(self, kept: Int[Tensor, " kept"]) -> "Ptychography":
        """The model of these frames only."""
        return self if self.exposure_px is None else replace(self, exposure_px=self.exposure_px[kept])

    def gap_transfers(self, x: PtychoEstimate) -> Complex[Tensor, "gap y x"] | None:
        """Transfer functions of the free space between the slices of a thick sample; None when it is thin."""
        if len(x.object) == 1:
            return None
        if x.slice_spacing_m is None:
            raise InputError(
                f"the object has {len(x.object)} slices but nothing says how far apart; give {len(x.object) - 1} spacings"
            )
        shape = (x.probe.shape[-2], x.probe.shape[-1])
        spacings: list[float] = x.slice_spacing_m.tolist()
        return torch.stack(
            [angular_spectrum_transfer(shape, self.pixel_m, self.wavelength_m, s, x.object.device) for s in spacings]
        )

    def has_one_probe(self, x: PtychoEstimate) -> bool:
        """Whether all frames share one probe, up to its sub-pixel place."""
        return x.variations is None and x.brightness is None and self.exposure_px is None

    def probes(self, x: PtychoEstimate, frames: Int[Tensor, " batch"]) -> FrameProbes:
        """The probe as it was in each frame: at its sub-pixel place, with its brightness and variations.

        One shared copy where nothing varies. During a fly-scan exposure every point on the way is a mode of its own.
        Linear in the probe and differentiable in all unknowns.
        """
        _, rest = split_positions(x.positions_px[frames.to(x.positions_px.device)])
        return self._placed(self._varied(x, frames), rest, frames)

    def probes_adjoint(
        self, x: PtychoEstimate, frames: Int[Tensor, " batch"], changes: Complex[Tensor, "batch modes y x"]
    ) -> Complex[Tensor, "mode y x"]:
        """What changes of the probes of these frames ask of the one probe they stem from; the adjoint of `probes`."""
        return self.unshifted(x, frames, changes).sum(dim=0)

    def unshifted(
        self, x: PtychoEstimate, frames: Int[Tensor, " batch"], changes: Complex[Tensor, "batch modes y x"]
    ) -> FrameWaves:
        """Changes of the probes of these frames, each moved back by its sub-pixel place and weighted with its brightness."""
        _, rest = split_positions(x.positions_px[frames.to(x.positions_px.device)])
        if self.exposure_px is not None:
            points = self._points(frames)
            parts = changes.unflatten(1, (points.shape[1], -1)) / points.shape[1] ** 0.5
            places = points if rest is None else points + rest[:, None]
            changes = torch.stack(
                [fourier_shift(parts[:, i], -places[:, i].to(changes.device)) for i in range(points.shape[1])]
            ).sum(dim=0)
        elif rest is not None:
            changes = fourier_shift(changes, -rest.to(changes.device))
        if x.brightness is not None:
            changes = changes * x.brightness[frames.to(changes.device)].to(torch.float32)[:, None, None, None]
        return changes

    def _varied(self, x: PtychoEstimate, frames: Tensor) -> FrameProbes:
        probes = x.probe[None]
        index = frames.to(x.probe.device)
        if x.variations is not None and x.weights is not None:
            first = torch.einsum("bc,cyx->byx", x.weights[index], x.variations)
            rest = x.probe[1:].expand(len(frames), -1, -1, -1)
            probes = torch.cat([(x.probe[0] + first)[:, None], rest], dim=1)
        if x.brightness is not None:
            probes = probes * x.brightness[index].to(torch.float32)[:, None, None, None]
        return probes

    def _placed(self, probes: Tensor, rest: Tensor | None, frames: Tensor) -> FrameProbes:
        # The probe, not the object, is moved: it falls off to zero at the edge of its window, so that the shift's
        # wrap-around does no harm, and the object keeps its sharpness, which interpolation would cost.
        if self.exposure_px is None:
            return probes if rest is None else fourier_shift(probes, rest.to(probes.device))
        points = self._points(frames)
        places = points if rest is None else points + rest[:, None]
        moved = [fourier_shift(probes, places[:, i].to(probes.device)) for i in range(points.shape[1])]
        return torch.stack(moved, dim=1).flatten(1, 2) / points.shape[1] ** 0.5

    def _points(self, frames: Tensor) -> Float[Tensor, "batch point 2"]:
        assert self.exposure_px is not None
        return self.exposure_px[frames.to(self.exposure_px.device)]

    def exit_waves(self, x: PtychoEstimate, frames: Int[Tensor, " batch"]) -> FrameWaves:
        """The waves that leave the sample at these frames; differentiable in object, probe and positions."""
        corners, _ = split_positions(x.positions_px[frames.to(x.positions_px.device)])
        return multislice(x.object, self.probes(x, frames), corners, self.gap_transfers(x))[0]

    def propagate(self, waves: Waves, out: Waves | None = None) -> Waves:
        """Exit waves to waves at the detector, in detector order; into `out` where it is given."""
        return self.propagator.propagate(waves, out)

    def backpropagate(self, waves: Waves, out: Waves | None = None) -> Waves:
        """Adjoint and inverse of `propagate`."""
        return self.propagator.backpropagate(waves, out)

    def to_detector_order(self, frames: Tensor) -> Tensor:
        """Stored frames (beam at the centre) in detector order."""
        return self.propagator.to_detector_order(frames)

    def background(self, x: PtychoEstimate) -> Float[Tensor, "y x"]:
        """Photons at the detector that did not come through the sample's window, in detector order."""
        if x.background is None:
            return torch.full(x.probe.shape[-2:], self.offset_photons, device=x.probe.device)
        return self.to_detector_order(x.background).contiguous() + self.offset_photons

    def intensity(self, x: PtychoEstimate, frames: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
        """Expected photons at the detector, in detector order."""
        at_detector = reference.intensity(self.propagate(self.exit_waves(x, frames)))
        return at_detector if x.background is None and not self.offset_photons else at_detector + self.background(x)
