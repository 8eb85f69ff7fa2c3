"""The probe of a microscope against closed forms."""

import math

import pytest
import torch

from exitwave.data.geometry import Geometry, electron_wavelength_m
from exitwave.data.optics import Aberration, ProbeOptics
from exitwave.physics.fourier import fft2, to_centre, to_corner
from exitwave.physics.probe_forming import aberration_phase, formed_probe, round_aperture
from exitwave.physics.propagation import free_space

WAVELENGTH = electron_wavelength_m(300e3)
GEOMETRY = Geometry(
    wavelength_m=WAVELENGTH, distance_m=1.0, detector_pixel_m=(1e-3, 1e-3), particle="electron", angles_only=True
)
SHAPE = (128, 128)
PIXEL = GEOMETRY.object_pixel_m(SHAPE)


def phase_at(optics: ProbeOptics, angle_rad: float, azimuth_rad: float) -> float:
    y, x = -angle_rad * math.sin(azimuth_rad), angle_rad * math.cos(azimuth_rad)
    at = torch.tensor(y, dtype=torch.float64), torch.tensor(x, dtype=torch.float64)
    return float(aberration_phase(optics, WAVELENGTH, *at))


def aberrated(n: int, m: int, metres: float, angle_rad: float = 0.0) -> ProbeOptics:
    return ProbeOptics(aberrations=(Aberration(order=n, symmetry=m, coefficient_m=metres, angle_rad=angle_rad),))


def test_defocus_and_spherical_aberration_are_the_textbook_function() -> None:
    # chi = pi / lambda (C10 a^2 + C30 a^4 / 2), the wave is exp(-i chi); Kirkland, Advanced Computing in EM, eq. 2.10.
    a = 0.012
    optics = ProbeOptics(defocus_m=30e-9, aberrations=aberrated(3, 0, 1e-3).aberrations)
    chi = math.pi / WAVELENGTH * (-30e-9 * a**2 + 0.5 * 1e-3 * a**4)
    assert phase_at(optics, a, 1.3) == pytest.approx(-chi, rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 1), (2, 3), (3, 2), (3, 4)])
def test_an_aberration_is_largest_at_its_angle_and_repeats_m_times(n: int, m: int) -> None:
    a, angle, metres = 0.015, 0.4, 20e-9
    peak = -2 * math.pi / WAVELENGTH * metres * a ** (n + 1) / (n + 1)
    optics = aberrated(n, m, metres, angle)
    assert phase_at(optics, a, angle) == pytest.approx(peak, rel=1e-9)
    assert phase_at(optics, a, angle + 2 * math.pi / m) == pytest.approx(peak, rel=1e-9)
    assert phase_at(optics, a, angle + math.pi / m) == pytest.approx(-peak, rel=1e-9)
    assert phase_at(optics, 2 * a, angle) == pytest.approx(2 ** (n + 1) * peak, rel=1e-9)


def test_the_aperture_has_the_area_and_radius_of_its_disc() -> None:
    aperture = round_aperture(0.02, GEOMETRY, SHAPE)
    assert float(aperture.sum()) == pytest.approx(math.pi * 20**2, rel=2e-3)
    assert float(aperture[64, 64 + 19]) == 1
    assert float(aperture[64, 64 + 21]) == 0
    assert float(aperture[64 - 20, 64]) == 0.5


def test_an_ideal_probe_in_focus_is_an_airy_disc() -> None:
    aperture = round_aperture(0.02, GEOMETRY, SHAPE)
    probe = formed_probe(aperture, ProbeOptics(semi_angle_rad=0.02), GEOMETRY)
    power = probe.abs().square().double()
    first_dark = 0.6098 * WAVELENGTH / 0.02 / PIXEL[0]
    rows = torch.arange(128, dtype=torch.float64)[:, None] - 64
    radius = torch.hypot(rows, rows.T)
    # Born & Wolf 8.5.2: the first dark ring holds 83.8 % of the light.
    assert float(power[radius < first_dark].sum() / power.sum()) == pytest.approx(0.838, abs=0.03)
    assert float(power.sum()) == pytest.approx(float(aperture.square().sum()), rel=1e-5)


def test_out_of_focus_the_probe_is_as_wide_as_its_cone() -> None:
    defocus = 40e-9
    probe = formed_probe(round_aperture(0.02, GEOMETRY, SHAPE), ProbeOptics(defocus_m=defocus), GEOMETRY)
    power = probe.abs().square().double()
    rows = torch.arange(128, dtype=torch.float64)[:, None] - 64
    square = rows.square() + rows.T.square()
    # An even disc of radius R has a mean squared radius of R^2 / 2.
    seen = math.sqrt(2 * float((power * square).sum() / power.sum())) * PIXEL[0]
    assert seen == pytest.approx(0.02 * defocus, rel=0.1)


@pytest.mark.parametrize("defocus_m", [25e-9, -25e-9])
def test_the_focus_lies_behind_the_sample_where_the_defocus_is_positive(defocus_m: float) -> None:
    aperture = round_aperture(0.02, GEOMETRY, SHAPE)
    probe = formed_probe(aperture, ProbeOptics(defocus_m=defocus_m), GEOMETRY)
    focus = free_space(probe[None].to(torch.complex128), PIXEL, WAVELENGTH, defocus_m)[0]
    ideal = formed_probe(aperture, ProbeOptics(), GEOMETRY).to(torch.complex128)
    overlap = (focus.conj() * ideal).sum().abs() / (focus.norm() * ideal.norm())
    assert float(overlap) == pytest.approx(1, abs=1e-4)


def test_aberrations_leave_the_disc_on_the_detector_as_it_is() -> None:
    aperture = round_aperture(0.02, GEOMETRY, SHAPE)
    probe = formed_probe(aperture, aberrated(2, 1, 200e-9, 1.0), GEOMETRY)
    torch.testing.assert_close(to_centre(fft2(to_corner(probe))).abs().double(), aperture, atol=1e-4, rtol=1e-4)
