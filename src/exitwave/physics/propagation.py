"""Propagation to the detector, and through free space. All operators are unitary or, beyond the evanescent limit, damping."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.data.geometry import Geometry
from exitwave.physics.fourier import Waves, fft2, frequencies, ifft2, to_corner


@runtime_checkable
class Propagator(Protocol):
    """Sample plane to detector plane and back."""

    def propagate(self, waves: Waves, out: Waves | None = None) -> Waves:
        """Exit waves to the waves at the detector, in the order of `to_detector_order`; into `out` where it is given."""
        ...

    def backpropagate(self, waves: Waves, out: Waves | None = None) -> Waves:
        """Adjoint and inverse of `propagate`."""
        ...

    def to_detector_order(self, frames: Tensor) -> Tensor:
        """Put detector frames (beam at the centre) into the order in which `propagate` gives waves; done once, at load."""
        ...


@dataclass(frozen=True)
class FarField:
    """Fraunhofer diffraction: one unitary Fourier transform; detector order has zero frequency at index 0."""

    def propagate(self, waves: Waves, out: Waves | None = None) -> Waves:
        return fft2(waves, out)

    def backpropagate(self, waves: Waves, out: Waves | None = None) -> Waves:
        return ifft2(waves, out)

    def to_detector_order(self, frames: Tensor) -> Tensor:
        return to_corner(frames)


@dataclass(frozen=True, eq=False)
class NearField:
    """Fresnel diffraction over the effective distance; the wave at the detector keeps the layout of the sample plane."""

    transfer: Complex[Tensor, "y x"]

    def propagate(self, waves: Waves, out: Waves | None = None) -> Waves:
        return _through(waves, self.transfer, out)

    def backpropagate(self, waves: Waves, out: Waves | None = None) -> Waves:
        return _through(waves, self.transfer.conj(), out)

    def to_detector_order(self, frames: Tensor) -> Tensor:
        return frames


def _through(waves: Tensor, transfer: Tensor, out: Tensor | None) -> Tensor:
    if waves.requires_grad and torch.is_grad_enabled():
        return ifft2(fft2(waves) * transfer)
    return ifft2(fft2(waves).mul_(transfer), out)


def propagator(geometry: Geometry, frame_shape: tuple[int, int], device: torch.device | str = "cpu") -> Propagator:
    """The operator that leads from the sample to the detector of this measurement.

    Near field with a cone beam uses the Fresnel scaling theorem: magnified pixels, effective distance z1 z2 / (z1 + z2)
    (Paganin, Coherent X-Ray Optics, 2006, sec. 1.5 and appendix B).
    """
    if not geometry.near_field:
        return FarField()
    pixel_m = geometry.object_pixel_m(frame_shape)
    return NearField(
        fresnel_transfer(frame_shape, pixel_m, geometry.wavelength_m, geometry.effective_distance_m, device)
    )


def fresnel_transfer(
    shape: tuple[int, int],
    pixel_m: tuple[float, float],
    wavelength_m: float,
    distance_m: float,
    device: torch.device | str = "cpu",
) -> Complex[Tensor, "y x"]:
    """exp(-i pi wavelength distance f^2): paraxial free space without the constant phase, for a wave exp(+ikz)."""
    rows, columns = frequencies(shape, pixel_m, device)
    angle = -math.pi * wavelength_m * distance_m * (rows.square() + columns.square())
    return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)


def angular_spectrum_transfer(
    shape: tuple[int, int],
    pixel_m: tuple[float, float],
    wavelength_m: float,
    distance_m: float,
    device: torch.device | str = "cpu",
) -> Complex[Tensor, "y x"]:
    """exp(2 pi i distance (sqrt(1/wavelength^2 - f^2) - 1/wavelength)): exact free space, evanescent waves damped."""
    rows, columns = frequencies(shape, pixel_m, device)
    squared: Float[Tensor, "y x"] = 1 - wavelength_m**2 * (rows.square() + columns.square())
    # sqrt(s) - 1 = (s - 1) / (sqrt(s) + 1) keeps the digits that a difference of nearly equal numbers loses.
    longitudinal = (squared - 1) / (squared.clamp(min=0).sqrt() + 1)
    angle = 2 * math.pi * distance_m / wavelength_m * longitudinal
    decay = torch.exp(-2 * math.pi * abs(distance_m) / wavelength_m * (-squared).clamp(min=0).sqrt())
    return torch.polar(decay, angle).to(torch.complex64)


def free_space(waves: Waves, pixel_m: tuple[float, float], wavelength_m: float, distance_m: float) -> Waves:
    """Propagate a wave through `distance_m` of free space (negative: back); wraps at the edge of the array."""
    shape = (waves.shape[-2], waves.shape[-1])
    return ifft2(fft2(waves) * angular_spectrum_transfer(shape, pixel_m, wavelength_m, distance_m, waves.device))
