"""Fourier ring correlation against what is known about noise, filters and thresholds."""

import numpy as np
import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.evaluation.resolution import RingCorrelation, fourier_ring_correlation, information_threshold


def noise(shape, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128)


def low_pass(image: torch.Tensor, cutoff: float, pixel=(1.0, 1.0)) -> torch.Tensor:
    down, across = (torch.fft.fftfreq(n, d=p, dtype=torch.float64) for n, p in zip(image.shape, pixel, strict=True))
    radius = torch.hypot(down[:, None], across[None, :]) * 2 * max(pixel)
    return torch.fft.ifft2(torch.fft.fft2(image) * (radius < cutoff))


def test_identical_images_correlate_fully_up_to_nyquist(picture):
    curve = fourier_ring_correlation(picture().view(), picture().view())
    np.testing.assert_allclose(curve.correlation, 1.0, atol=1e-9)
    assert curve.crossing(curve.half_bit) == curve.crossing(0.5) == 1.0


def test_independent_noise_does_not_correlate():
    curve = fourier_ring_correlation(noise((200, 200), 1), noise((200, 200), 2))
    assert abs(float(curve.correlation[10:].mean())) < 0.02
    assert curve.crossing(curve.half_bit) < 0.05


def test_the_curve_does_not_depend_on_scale_or_common_phase():
    a, b = noise((64, 64), 1), noise((64, 64), 1) + noise((64, 64), 2)
    turn = complex(np.exp(0.7j))
    first, second = fourier_ring_correlation(a, b), fourier_ring_correlation(3 * turn * a, 5 * turn * b)
    np.testing.assert_allclose(first.correlation, second.correlation, atol=1e-12)


@pytest.mark.parametrize("cutoff", [0.2, 0.45, 0.8])
@pytest.mark.parametrize("power_law", [0.0, 1.5])
def test_a_low_pass_filter_is_found_within_two_rings(cutoff, power_law):
    shape = (160, 160)
    radius = (
        torch.hypot(torch.fft.fftfreq(160)[:, None], torch.fft.fftfreq(160)[None, :]).clamp(min=1 / 160).double() * 2
    )
    scene = low_pass(torch.fft.ifft2(torch.fft.fft2(noise(shape, 1)) * radius**-power_law), cutoff)
    # Noise at 0.3 of the signal where the filter cuts; edges inside the canvas, as a real image is not periodic.
    a, b = ((scene + 0.3 * cutoff**-power_law * noise(shape, seed))[10:-10, 10:-10] for seed in (2, 3))
    curve = fourier_ring_correlation(a, b)
    for threshold in (0.5, curve.half_bit):
        assert curve.crossing(threshold) == pytest.approx(cutoff, abs=2 / 70)


def test_equal_signal_and_noise_correlate_as_expected():
    # FRC = S / (S + N), Saxton & Baumeister: signal 1, noise power 1 gives one half.
    shared = noise((256, 256), 1)
    curve = fourier_ring_correlation(shared + noise((256, 256), 2), shared + noise((256, 256), 3))
    assert float(curve.correlation[20:].mean()) == pytest.approx(0.5, abs=0.02)


def test_non_square_images_and_pixels_keep_rings_round():
    shape, pixel = (120, 200), (2.0, 1.0)
    shared = low_pass(noise(shape, 1), 0.5, pixel)
    a, b = (shared + 0.3 * noise(shape, s) for s in (2, 3))
    curve = fourier_ring_correlation(a, b, pixel=pixel)
    assert curve.crossing(0.5) == pytest.approx(0.5, abs=0.03)
    assert curve.frequency[-1] == pytest.approx(1.0, abs=0.02)


def test_rings_of_a_square_image_are_fourier_shells():
    curve = fourier_ring_correlation(noise((64, 64), 1), noise((64, 64), 2))
    np.testing.assert_allclose(curve.frequency, np.arange(33) / 32)
    down, across = np.meshgrid(np.fft.fftfreq(64) * 64, np.fft.fftfreq(64) * 64)
    shell = np.rint(np.hypot(down, across)).astype(int)
    np.testing.assert_array_equal(curve.samples, np.bincount(shell.ravel())[:33])


def test_the_half_bit_threshold_is_the_published_formula_with_its_limits():
    samples = np.array([1, 8, 100, 10**6, 10**14])
    root = np.sqrt(samples)
    published = (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root)
    np.testing.assert_allclose(information_threshold(samples, 0.5), published, atol=1e-4)
    assert information_threshold(np.array([1]), 0.5)[0] == pytest.approx(1.0)
    assert information_threshold(np.array([10**14]), 0.5)[0] == pytest.approx(0.17157, abs=1e-4)
    one_bit = (0.5 + 2.4142 / root) / (1.5 + 1.4142 / root)
    np.testing.assert_allclose(information_threshold(samples, 1.0), one_bit, atol=1e-4)


def test_the_first_crossing_is_interpolated():
    curve = RingCorrelation(
        frequency=np.linspace(0, 1, 5),
        correlation=np.array([1, 1, 0.8, 0.2, 0.9]),
        samples=np.array([1, 8, 12, 20, 30]),
    )
    assert curve.crossing(0.5) == pytest.approx(0.625)
    assert curve.crossing(0.1) == 1.0
    assert curve.crossing(np.array([1, 1, 0.9, 0.9, 0.9])) < 0.5


def test_images_of_different_shape_are_refused():
    with pytest.raises(InputError, match="two equal ones"):
        fourier_ring_correlation(noise((8, 8), 1), noise((8, 9), 1))


@pytest.mark.parametrize("noise_to_signal", [0.0, 0.5, 2.0, 8.0, 1e6])
@pytest.mark.parametrize("power_law", [0.0, 1.5])
def test_where_signal_is_everywhere_all_rings_count(noise_to_signal: float, power_law: float):
    shape = (100, 100)
    radius = torch.hypot(torch.fft.fftfreq(100)[:, None], torch.fft.fftfreq(100)[None, :]).clamp(min=0.01).double() * 2
    for seed in range(10):
        scene = torch.fft.ifft2(torch.fft.fft2(noise(shape, seed)) * radius**-power_law)
        a, b = (scene + noise_to_signal * noise(shape, 100 * each + seed) for each in (1, 2))
        curve = fourier_ring_correlation(a, b)
        for threshold in (curve.half_bit, curve.one_bit, 0.5, 1 / 7):
            assert curve.crossing(threshold) == curve.first_crossing(threshold)
        assert curve.remark == ""


def atoms(cutoff: float, size: int = 128) -> torch.Tensor:
    """A lattice turned by 20 degrees, with reflections at 0.15 and 0.15 sqrt(2), 0.3 ... of Nyquist up to a cutoff."""
    y, x = torch.meshgrid(torch.arange(size).double(), torch.arange(size).double(), indexing="ij")
    cos, sin = np.cos(np.radians(20)), np.sin(np.radians(20))
    lattice = torch.zeros(size, size, dtype=torch.complex128)
    for h in range(-8, 9):
        for k in range(-8, 9):
            if 0 < 0.15 * np.hypot(h, k) < cutoff:
                lattice += torch.exp(1j * np.pi * 0.15 * ((h * cos - k * sin) * y + (h * sin + k * cos) * x))
    return lattice


@pytest.mark.parametrize(("cutoff", "last"), [(0.2, 0.15), (0.35, 0.1125**0.5), (0.62, 0.6)])
def test_a_lattice_is_resolved_up_to_its_last_reflection(cutoff: float, last: float):
    truth, seen = atoms(1.0), atoms(cutoff) + 4 * noise((128, 128), 1)
    for other in (truth, atoms(cutoff) + 4 * noise((128, 128), 2)):
        curve = fourier_ring_correlation(seen, other)
        assert curve.first_crossing(curve.half_bit) < 0.1
        # A tapered window widens a reflection by some rings.
        assert curve.crossing(curve.half_bit) == pytest.approx(last, abs=4 / 64)
        assert curve.remark.startswith("a lattice: ")


def test_a_lattice_that_is_not_found_is_not_resolved():
    curve = fourier_ring_correlation(0.5 * noise((128, 128), 1), atoms(1.0))
    assert curve.crossing(curve.half_bit) < 0.05
    assert curve.remark == ""
