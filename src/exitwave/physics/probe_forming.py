"""The probe that a lens with known aberrations forms: the waves of an aperture, in closed form."""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.data.geometry import Geometry
from exitwave.data.optics import ProbeOptics
from exitwave.physics.fourier import ifft2, to_centre, to_corner


def aberration_phase(
    optics: ProbeOptics, wavelength_m: float, angle_y: Float[Tensor, "*a"], angle_x: Float[Tensor, "*a"]
) -> Float[Tensor, "*a"]:
    """Phase (rad) of the wave at angles (y, x) to the axis: -chi, chi = 2 pi / wavelength x sum of C_nm a^(n+1) cos m(f - f_nm) / (n + 1).

    For a wave exp(+ikz). Krivanek, Dellby & Lupini, Ultramicroscopy 78, 1 (1999), eq. 3.
    """
    angle, azimuth = torch.hypot(angle_y, angle_x), torch.atan2(-angle_y, angle_x)
    path = torch.zeros_like(angle)
    for a in optics.coefficients:
        turn = torch.cos(a.symmetry * (azimuth - a.angle_rad))
        path = path + a.coefficient_m * angle ** (a.order + 1) / (a.order + 1) * turn
    return -2 * math.pi / wavelength_m * path


def round_aperture(semi_angle_rad: float, geometry: Geometry, shape: tuple[int, int]) -> Float[Tensor, "y x"]:
    """Amplitude of an evenly lit round aperture on the far-field detector, centre at [h // 2, w // 2]; its edge is a pixel wide."""
    y, x = detector_angles(geometry, shape)
    edge = max(geometry.pixel_angle_rad)
    return ((semi_angle_rad - torch.hypot(y, x)) / edge + 0.5).clamp(0, 1)


def detector_angles(geometry: Geometry, shape: tuple[int, int]) -> tuple[Float[Tensor, "y x"], Float[Tensor, "y x"]]:
    """Angles (y, x), rad, of the pixels of the far-field detector to the beam, which meets it at [h // 2, w // 2]."""
    y, x = (
        (torch.arange(size, dtype=torch.float64) - size // 2) * angle
        for size, angle in zip(shape, geometry.pixel_angle_rad, strict=True)
    )
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return rows, columns


def formed_probe(amplitude: Float[Tensor, "y x"], optics: ProbeOptics, geometry: Geometry) -> Complex[Tensor, "y x"]:
    """The probe at the sample from the aperture's amplitude (centre at [h // 2, w // 2]) and the aberrations that are known."""
    y, x = detector_angles(geometry, (amplitude.shape[0], amplitude.shape[1]))
    phase = aberration_phase(optics, geometry.wavelength_m, y, x)
    wave = torch.polar(amplitude.to(torch.float64), phase)
    return to_centre(ifft2(to_corner(wave))).to(torch.complex64)
