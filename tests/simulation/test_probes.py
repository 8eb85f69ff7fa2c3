"""Probes obey the optics that they are named after."""

import math

import pytest
import torch
from scipy.special import j1

from exitwave.data.errors import InputError
from exitwave.physics.fourier import fft2, ifft2, to_centre
from exitwave.physics.propagation import fresnel_transfer
from exitwave.simulation import probes
from exitwave.simulation.probes import PROBES, coherent_modes, zernike

SHAPE = (128, 128)


def radius(shape: tuple[int, int] = SHAPE) -> torch.Tensor:
    y, x = (torch.arange(n, dtype=torch.float64) - n // 2 for n in shape)
    return torch.hypot(y[:, None], x[None, :])


def intensity(probe: torch.Tensor) -> torch.Tensor:
    return probe.abs().double().square()


def overlap(a: torch.Tensor, b: torch.Tensor) -> float:
    """1 when the waves agree up to a global phase."""
    return float((a.conj() * b).sum().abs() / (a.norm() * b.norm()))


@pytest.mark.parametrize("name", sorted(PROBES))
@pytest.mark.parametrize("shape", [(128, 128), (96, 121)])
def test_every_probe_holds_its_photons_and_stands_in_the_centre(name: str, shape: tuple[int, int]):
    probe = PROBES[name](shape, diameter_px=30, photons=2500.0)
    assert probe.dtype == torch.complex64
    power = intensity(probe)
    assert float(power.sum()) == pytest.approx(2500, rel=1e-5)
    for axis, size in enumerate(shape):
        along = torch.arange(size, dtype=torch.float64)
        centre = float((power.sum(dim=1 - axis) * along).sum() / power.sum())
        assert centre == pytest.approx(size // 2, abs=0.5)


@pytest.mark.parametrize("name", ["disc", "gaussian", "zone_plate", "multilayer_laue"])
def test_most_photons_fall_within_the_stated_diameter(name: str):
    power = intensity(PROBES[name](SHAPE, diameter_px=60))
    half = 30 if name != "multilayer_laue" else 30 * math.sqrt(2)
    assert float(power[radius() <= half].sum()) > 0.8
    assert float(power[radius() <= 0.5 * half].sum()) < 0.65


def test_a_disc_is_even_within_its_diameter():
    power = intensity(probes.disc(SHAPE, diameter_px=40))
    assert float(power.sum() ** 2 / power.square().sum()) == pytest.approx(math.pi * 20**2, rel=0.02)


def test_a_gaussian_falls_to_one_over_e_squared_at_half_its_diameter():
    power = intensity(probes.gaussian(SHAPE, diameter_px=40))
    assert float(power[64, 84] / power[64, 64]) == pytest.approx(math.exp(-2), rel=1e-4)


def test_a_round_lens_focuses_to_an_airy_pattern():
    power = intensity(probes.airy(SHAPE, diameter_px=20))
    v = 3.8317 * radius() / 10
    airy = torch.where(v > 0, 2 * torch.from_numpy(j1(v.numpy())) / v, 1.0).square()
    torch.testing.assert_close(power / power.max(), airy, atol=0.01, rtol=0)


def test_mirrors_focus_to_a_product_of_two_sincs():
    power = intensity(probes.kb(SHAPE, diameter_px=20))
    along = torch.sinc((torch.arange(128, dtype=torch.float64) - 64) / 10).square()
    torch.testing.assert_close(power / power.max(), along[:, None] * along[None, :], atol=0.02, rtol=0)


def test_a_zone_plate_lights_a_ring_in_the_far_field():
    pattern = intensity(to_centre(fft2(probes.zone_plate(SHAPE, diameter_px=60, aperture=0.4, central_stop=0.3))))
    outer = 0.4 * 64
    ring = (radius() <= outer + 1) & (radius() >= 0.3 * outer - 1)
    assert float(pattern[ring].sum()) > 0.999
    assert float(pattern[64, 64]) < 1e-6


def test_a_defocused_zone_plate_has_the_median_radius_of_its_geometric_cone():
    for diameter in (40, 60):
        power = intensity(probes.zone_plate(SHAPE, diameter_px=diameter, central_stop=0.3))
        order = radius().flatten().argsort()
        held = power.flatten()[order].cumsum(0)
        median = float(radius().flatten()[order][int((held < 0.5).sum())])
        assert median == pytest.approx(diameter / 2 * math.sqrt((1 + 0.3**2) / 2), rel=0.12)


def test_more_defocus_is_free_space_downstream():
    near = probes.zone_plate(SHAPE, diameter_px=60, defocus_px2=50)
    far = probes.zone_plate(SHAPE, diameter_px=60, defocus_px2=90)
    transfer = fresnel_transfer(SHAPE, (1.0, 1.0), 1.0, 40.0)
    assert overlap(ifft2(fft2(near) * transfer), far) == pytest.approx(1, abs=1e-5)
    assert overlap(ifft2(fft2(near) * transfer.conj()), far) < 0.9


def test_aberrations_change_the_probe_but_not_its_far_field():
    plain = probes.zone_plate(SHAPE, diameter_px=50)
    aberrated = probes.zone_plate(SHAPE, diameter_px=50, aberrations={6: 0.2, 8: 0.1})
    torch.testing.assert_close(fft2(plain).abs(), fft2(aberrated).abs(), atol=1e-6, rtol=0)
    assert overlap(plain, aberrated) < 0.9


def test_zernike_defocus_equals_defocus():
    waves, reach = 0.3, 0.5 * 0.35
    by_zernike = probes.zone_plate(SHAPE, diameter_px=60, defocus_px2=0, aberrations={4: waves})
    by_distance = probes.zone_plate(SHAPE, diameter_px=60, defocus_px2=-4 * math.sqrt(3) * waves / reach**2)
    assert overlap(by_zernike, by_distance) == pytest.approx(1, abs=1e-5)


def test_zernike_polynomials_are_orthonormal_on_the_disc():
    axis = (torch.arange(400, dtype=torch.float64) + 0.5) / 200 - 1
    y, x = axis[:, None], axis[None, :]
    inside = torch.hypot(y, x) <= 1
    values = torch.stack([zernike(index, y, x)[inside] for index in range(1, 16)])
    torch.testing.assert_close(values @ values.T / inside.sum(), torch.eye(15, dtype=torch.float64), atol=0.02, rtol=0)


def test_zernike_indices_are_those_of_noll():
    y, x = torch.tensor([[0.3]], dtype=torch.float64), torch.tensor([[0.5]], dtype=torch.float64)
    squared = y**2 + x**2
    assert zernike(2, y, x) == pytest.approx(2 * float(x))
    assert zernike(3, y, x) == pytest.approx(2 * float(y))
    assert zernike(5, y, x) == pytest.approx(math.sqrt(6) * float(2 * x * y))
    assert zernike(6, y, x) == pytest.approx(math.sqrt(6) * float(x**2 - y**2))
    assert zernike(7, y, x) == pytest.approx(math.sqrt(8) * float((3 * squared - 2) * y))
    assert zernike(11, y, x) == pytest.approx(math.sqrt(5) * float(6 * squared**2 - 6 * squared + 1))


@pytest.mark.parametrize("name", ["disc", "zone_plate"])
def test_coherent_modes_are_orthogonal_and_share_the_photons(name: str):
    probe = PROBES[name]((96, 80), diameter_px=36, photons=1e4)
    modes = coherent_modes(probe, 4, fractions=[0.6, 0.2, 0.15, 0.05])
    flat = modes.flatten(1).to(torch.complex128)
    expected = 1e4 * torch.diag(torch.tensor([0.6, 0.2, 0.15, 0.05], dtype=torch.complex128))
    torch.testing.assert_close(flat @ flat.conj().T, expected, atol=0.05, rtol=0)
    assert overlap(modes[0], probe) == pytest.approx(1, abs=1e-5)


def test_modes_of_a_lens_stay_within_its_pupil():
    modes = coherent_modes(probes.zone_plate(SHAPE, diameter_px=60, aperture=0.35), 3)
    pattern = intensity(to_centre(fft2(modes))).sum(dim=0)
    assert float(pattern[radius() > 0.35 * 64 + 3].sum()) < 1e-3


def test_one_mode_is_the_probe_itself():
    probe = probes.gaussian(SHAPE, diameter_px=30, photons=7.0)
    torch.testing.assert_close(coherent_modes(probe, 1)[0], probe, atol=1e-6, rtol=0)


@pytest.mark.parametrize("diameter_px", [0.0, 200.0, float("nan")])
def test_probes_that_do_not_fit_their_frame_are_refused(diameter_px: float):
    for make in PROBES.values():
        with pytest.raises(InputError, match="probe of"):
            make(SHAPE, diameter_px=diameter_px)


def test_impossible_optics_are_refused():
    with pytest.raises(InputError, match="Noll"):
        probes.airy(SHAPE, diameter_px=20, aberrations={0: 1.0})
    with pytest.raises(InputError, match="aperture"):
        probes.zone_plate(SHAPE, diameter_px=20, aperture=1.5)
    with pytest.raises(InputError, match="share"):
        coherent_modes(probes.disc(SHAPE, diameter_px=20), 2, fractions=[1.0])
