"""Patterns of crystals on the grid of a network: the same crystal whatever the sampling, and back where it came from."""

import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.data.untrusted_pixels import filled_from_neighbours
from exitwave.solvers.neural.crystal_grid import continued, gridded_counts, oversampling
from exitwave.solvers.neural.crystal_views import ORIENTATIONS, seen_by_network, turned, turned_back

RANGE = (2.5, 4.0)


def crystal(shape, extent, *, slope=0.0):
    """A box with round edges and a bent phase, its middle at n // 2."""
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) - n // 2 for n in shape), indexing="ij")
    amplitude = torch.ones(shape, dtype=torch.float64)
    phase = torch.zeros(shape, dtype=torch.float64)
    for place, length in zip(axes, extent, strict=True):
        amplitude = amplitude * (0.5 + (length / 2 - place.abs())).clamp(0, 1)
        phase = phase + 2.0 * (place / length).square() + slope * place
    return torch.polar(amplitude, phase).to(torch.complex64)


def counts(obj, photons=1e9):
    intensity = torch.fft.fftshift(torch.fft.fftn(obj).abs().square())
    return intensity * (photons / intensity.sum())


def alike(one, other):
    return float(torch.vdot(one.flatten(), other.flatten()).abs() / (one.norm() * other.norm()))


def test_a_pattern_that_suits_the_network_is_taken_as_it_is() -> None:
    obj = crystal((32, 32, 32), (10, 11, 9))
    pattern = gridded_counts(counts(obj), 32, RANGE)
    assert not pattern.resampled
    assert torch.allclose(pattern.amplitudes.square(), torch.fft.ifftshift(counts(obj)), rtol=1e-4, atol=1e-3)
    assert torch.equal(pattern.crystal(obj), obj)


def test_the_oversampling_is_told_of_each_axis() -> None:
    found = oversampling(counts(crystal((32, 48, 64), (8, 16, 10))))
    assert found == pytest.approx((4.0, 3.0, 6.4), rel=0.3)


def test_a_coarser_step_of_q_is_the_pattern_of_the_same_crystal_in_a_shorter_period() -> None:
    shape, extent = (72, 80, 64), (10, 11, 9)
    pattern = gridded_counts(counts(crystal(shape, extent)), 32, RANGE)
    assert pattern.resampled
    period = pattern.period
    assert all(2 * length <= n < full for length, n, full in zip(extent, period, shape, strict=True))
    expected = counts(crystal(period, extent))
    cut = [slice(n // 2 - 16, n // 2 + 16) for n in period]
    found = torch.fft.fftshift(pattern.amplitudes.square())
    assert torch.allclose(found, expected[tuple(cut)].float(), rtol=1e-3, atol=1e-6 * float(expected.max()))


@pytest.mark.parametrize("peak", [(0, 0, 0), (3, -4, 2)])
def test_a_crystal_comes_back_to_the_voxels_of_the_measured_pattern(peak) -> None:
    shape, extent = (72, 80, 64), (20, 22, 18)
    slopes = [2 * torch.pi * k / n for k, n in zip(peak, shape, strict=True)]
    axes = torch.meshgrid(*(torch.arange(n) - n // 2 for n in shape), indexing="ij")
    ramp = sum(s * a for s, a in zip(slopes, axes, strict=True))
    obj = crystal(shape, extent) * torch.polar(torch.ones(shape), torch.as_tensor(ramp).float())
    pattern = gridded_counts(counts(obj), 32, RANGE)
    scales = [32 / n for n in pattern.period]
    seen = crystal((32, 32, 32), [length * scale for length, scale in zip(extent, scales, strict=True)])
    expected = pattern.amplitudes / pattern.amplitudes.norm()
    modulus = torch.fft.fftn(seen).abs()
    assert float((modulus / modulus.norm() * expected).sum()) > 0.99
    assert alike(pattern.crystal(seen), obj) > 0.98


def test_gaps_are_filled_as_the_pattern_around_them_wants() -> None:
    pattern = counts(crystal((32, 32, 32), (10, 11, 9))).float()
    known = torch.ones(32, 32, 32, dtype=torch.bool)
    known[14:17, 19:22, 10:13] = known[:, 20:22] = known[17:20, 14:17, 12:15] = False
    found = continued(torch.where(known, pattern, 0.0), known)
    missed = ((found.sqrt() - pattern.sqrt()).square().sum() / pattern[~known].sum()).sqrt()
    nearest = filled_from_neighbours(torch.where(known, pattern, 0.0), known)
    before = ((nearest.sqrt() - pattern.sqrt()).square().sum() / pattern[~known].sum()).sqrt()
    assert missed < 0.7 * before
    assert torch.equal(found[known], pattern[known])


def test_what_cannot_be_brought_to_the_grid_is_refused_with_words() -> None:
    with pytest.raises(InputError, match=r"finely as its crystal needs .* finer steps"):
        gridded_counts(counts(crystal((32, 32, 32), (24, 10, 10))), 32, RANGE)
    with pytest.raises(InputError, match=r"must reach at least .* in q: crop it less"):
        gridded_counts(counts(crystal((10, 64, 64), (3.2, 20, 20))), 64, RANGE)


def test_a_turned_pattern_is_that_of_the_turned_crystal() -> None:
    drawn = torch.Generator().manual_seed(0)
    obj = torch.zeros(8, 8, 8, dtype=torch.complex64)
    obj[2:6, 3:6, 2:7] = torch.view_as_complex(torch.randn(4, 3, 5, 2, generator=drawn))
    amplitudes = torch.fft.fftn(obj).abs()
    found = set()
    for way in range(ORIENTATIONS):
        other = turned(obj, way)
        assert torch.allclose(torch.fft.fftn(other).abs(), turned(amplitudes, way), atol=1e-4)
        assert torch.equal(turned_back(other, way), obj)
        found.add(tuple(torch.view_as_real(other.resolve_conj()).flatten().tolist()))
    assert len(found) == ORIENTATIONS


@pytest.mark.parametrize("features", [1, 5])
def test_a_network_sees_the_same_whatever_the_photons(features) -> None:
    pattern = torch.fft.ifftshift(counts(crystal((16, 16, 16), (5, 6, 4)))).sqrt()[None].float()
    one, other = (seen_by_network(pattern * factor, features) for factor in (1.0, 30.0))
    assert one.shape == (1, features, 16, 16, 16)
    assert torch.allclose(one, other, atol=1e-5)
    assert one.abs().max() < 100
