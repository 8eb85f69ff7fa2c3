"""Propagation against closed forms and conservation laws."""

import math

import pytest
import torch

from exitwave.data.geometry import Geometry
from exitwave.physics import propagation

FAR = Geometry.from_energy(8000, 2.0, (75e-6, 50e-6))
NEAR = Geometry(wavelength_m=1e-10, distance_m=1.12, detector_pixel_m=(55e-6, 55e-6), focus_distance_m=3.65e-3)
PARALLEL = Geometry(wavelength_m=1e-10, distance_m=0.05, detector_pixel_m=(1e-6, 2e-6), focus_distance_m=math.inf)


def waves(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("geometry", [FAR, NEAR, PARALLEL])
def test_propagation_conserves_photons_and_backpropagation_is_adjoint_and_inverse(geometry):
    p = propagation.propagator(geometry, (16, 20))
    x, y = waves(3, 16, 20), waves(3, 16, 20, seed=1)
    assert torch.allclose(p.propagate(x).abs().square().sum(), x.abs().square().sum(), rtol=1e-5)
    assert torch.allclose(p.backpropagate(p.propagate(x)), x, atol=1e-5)
    forward = torch.vdot(p.propagate(x).flatten(), y.flatten())
    assert torch.allclose(forward, torch.vdot(x.flatten(), p.backpropagate(y).flatten()), rtol=1e-4)


def test_far_field_of_an_off_centre_point_is_flat():
    p = propagation.propagator(FAR, (16, 16))
    point = torch.zeros(1, 16, 16, dtype=torch.complex64)
    point[0, 3, 5] = 4
    assert torch.allclose(p.propagate(point).abs(), torch.full((1, 16, 16), 0.25))


def test_far_field_diffracts_a_ramp_to_the_side_that_the_phase_rises_to():
    # exp(+ikz) and exp(+i q y): a phase that rises with the row sends light to larger rows of the centred detector.
    p = propagation.propagator(FAR, (16, 16))
    rows = torch.arange(16.0)[:, None].expand(16, 16)
    seen = torch.fft.fftshift(p.propagate(torch.polar(torch.ones(16, 16), 2 * math.pi * 3 * rows / 16)[None]).abs()[0])
    assert tuple(int(i) for i in (seen == seen.max()).nonzero()[0]) == (8 + 3, 8)


def test_detector_order_puts_the_beam_at_the_corner_in_the_far_field_only():
    frame = torch.zeros(1, 6, 8)
    frame[0, 3, 4] = 1
    assert propagation.propagator(FAR, (6, 8)).to_detector_order(frame)[0, 0, 0] == 1
    assert propagation.propagator(NEAR, (6, 8)).to_detector_order(frame)[0, 3, 4] == 1


def test_gaussian_beam_spreads_as_its_closed_form():
    size, pixel, wavelength, waist = 128, 1e-6, 1e-9, 6e-6
    axis = (torch.arange(size) - size // 2).double() * pixel
    squared = axis[:, None] ** 2 + axis[None, :] ** 2
    beam = torch.exp(-squared / waist**2).to(torch.complex64)
    distance = 0.05
    spread = waist * math.sqrt(1 + (wavelength * distance / (math.pi * waist**2)) ** 2)
    expected = (waist / spread) ** 2 * torch.exp(-2 * squared / spread**2)
    for transfer in (propagation.fresnel_transfer, propagation.angular_spectrum_transfer):
        field = torch.fft.ifft2(torch.fft.fft2(beam) * transfer((size, size), (pixel, pixel), wavelength, distance))
        assert float((field.abs().square() - expected).abs().max()) < 2e-3


def test_fresnel_and_angular_spectrum_agree_for_small_angles_and_compose():
    beam = waves(1, 32, 32)
    args = ((32, 32), (1e-6, 1.5e-6), 1e-10)
    fresnel, exact = propagation.fresnel_transfer(*args, 0.01), propagation.angular_spectrum_transfer(*args, 0.01)
    assert float((fresnel - exact).abs().max()) < 1e-3
    there = propagation.free_space(beam, (1e-6, 1e-6), 1e-10, 0.01)
    twice = propagation.free_space(propagation.free_space(beam, (1e-6, 1e-6), 1e-10, 0.004), (1e-6, 1e-6), 1e-10, 0.006)
    assert torch.allclose(there, twice, atol=1e-4)
    assert torch.allclose(propagation.free_space(there, (1e-6, 1e-6), 1e-10, -0.01), beam, atol=1e-4)


def test_waves_finer_than_the_wavelength_die_out():
    transfer = propagation.angular_spectrum_transfer((8, 8), (0.3, 0.3), 1.0, 5.0)
    rows, columns = torch.fft.fftfreq(8, 0.3)[:, None], torch.fft.fftfreq(8, 0.3)[None, :]
    evanescent = (rows.square() + columns.square()) > 1
    assert bool(evanescent.any())
    assert float(transfer.abs()[evanescent].max()) < 1e-3
    assert torch.allclose(transfer.abs()[~evanescent], torch.tensor(1.0))


def test_cone_beam_equals_a_magnified_parallel_beam():
    magnified = NEAR.magnification
    parallel = Geometry(
        wavelength_m=NEAR.wavelength_m,
        distance_m=NEAR.effective_distance_m,
        detector_pixel_m=(55e-6 / magnified, 55e-6 / magnified),
        focus_distance_m=math.inf,
    )
    x = waves(1, 16, 16)
    one, other = (propagation.propagator(g, (16, 16)).propagate(x) for g in (NEAR, parallel))
    assert torch.allclose(one, other, atol=1e-5)
