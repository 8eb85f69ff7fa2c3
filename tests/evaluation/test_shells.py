"""Shells of a crystal's transform are round in the laboratory, however oblique the array is."""

import numpy as np
import pytest
import torch

import exitwave as ew
import made_crystals as made
from exitwave.data.bragg_geometry import rotation
from exitwave.evaluation.shells import fourier_shell_correlation, phase_retrieval_transfer, shells

CURVE = made.curve()
BASIS = torch.from_numpy(CURVE.direct_basis_m)


def noise(seed: int, shape=(32, 32, 32)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def lengths_of_q(shape, basis) -> np.ndarray:
    """|q| of the samples of a transform, from the dual basis, 1/m."""
    dual = 2 * np.pi * np.linalg.inv(basis).T
    axes = np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")
    return np.linalg.norm(np.stack(axes, axis=-1) @ dual.T, axis=-1)


@pytest.mark.parametrize("beamline", ["34-ID-C", "ID01", "P10"])
@pytest.mark.parametrize("half_period_m", [16e-9, 25e-9])
def test_detail_shared_down_to_a_length_in_the_laboratory_is_found_to_that_length(beamline, half_period_m):
    basis = made.curve(beamline).direct_basis_m
    shared = lengths_of_q((32, 32, 32), basis) < np.pi / half_period_m
    spectra = [np.where(shared, noise(0), noise(seed)) for seed in (1, 2)]
    curve = fourier_shell_correlation(*(torch.from_numpy(np.fft.ifftn(s)) for s in spectra), torch.from_numpy(basis))
    found_m = np.linalg.norm(basis, axis=0).max() / curve.crossing(0.5)
    # To the width of a shell.
    assert found_m == pytest.approx(half_period_m, rel=0.12)


def test_shells_do_not_change_when_the_laboratory_turns():
    a, b = (torch.from_numpy(noise(0) + noise(seed)) for seed in (1, 2))
    turn = torch.from_numpy(rotation(np.array([0.6, 0.0, 0.8]), 0.9))
    here, there = (fourier_shell_correlation(a, b, basis) for basis in (BASIS, turn @ BASIS))
    np.testing.assert_array_equal(here.samples, there.samples)
    np.testing.assert_allclose(here.correlation, there.correlation, atol=1e-12)


def test_equal_noise_halves_the_correlation_in_every_shell():
    a, b = (torch.from_numpy(noise(0) + noise(seed)) for seed in (1, 2))
    curve = fourier_shell_correlation(a, b, BASIS)
    many = curve.samples > 100
    assert np.abs(curve.correlation[many] - 0.5).max() < 4 / np.sqrt(100)
    assert np.average(curve.correlation, weights=curve.samples) == pytest.approx(0.5, abs=0.02)


def test_every_shell_within_nyquist_is_whole():
    index, frequency = shells((32, 32, 32), CURVE.direct_basis_m)
    assert frequency[-1] <= 1
    nyquist = np.pi / np.linalg.norm(CURVE.direct_basis_m, axis=0).max()
    radius = lengths_of_q((32, 32, 32), CURVE.direct_basis_m) / nyquist
    assert np.abs(radius - frequency[1] * index).max() <= frequency[1] / 2 + 1e-9
    # A sample on the faces of the array lies beyond: none of a shell is cut off.
    assert radius[16].min() > frequency[-1] - frequency[1]


def test_empty_space_around_a_crystal_is_no_information():
    density, _ = made.soft_ball(60e-9, 5e-9)
    crystal = made.sampled(CURVE, lambda r: density(np.linalg.norm(r, axis=-1))).object.to(torch.complex128)
    small = fourier_shell_correlation(crystal, crystal, BASIS)
    padded = torch.nn.functional.pad(crystal, (16, 16, 16, 16, 16, 16))
    large = fourier_shell_correlation(padded, padded, BASIS)
    np.testing.assert_array_equal(small.samples, large.samples)
    assert small.crossing(small.half_bit) == 1


def test_phases_that_agree_transfer_fully_and_random_ones_hardly():
    wave = torch.from_numpy(noise(0))
    assert phase_retrieval_transfer([wave, wave, wave], BASIS).correlation == pytest.approx(1)
    moduli = np.abs(np.fft.fftn(noise(0), norm="ortho"))
    drawn = [moduli * np.exp(1j * np.angle(noise(seed))) for seed in range(1, 17)]
    crystals = [torch.from_numpy(np.fft.ifftn(spectrum, norm="ortho")) for spectrum in drawn]
    curve = phase_retrieval_transfer(crystals, BASIS)
    # A walk of n random steps of length 1: sqrt(pi n) / 2 away on average.
    assert np.average(curve.correlation, weights=curve.samples) == pytest.approx(np.sqrt(np.pi / 16) / 2, rel=0.03)


def test_the_transfer_is_relative_to_what_was_measured_where_that_is_given():
    crystals = [torch.from_numpy(noise(seed)) for seed in (1, 2, 3)]
    mean = sum(np.fft.fftn(c.numpy(), norm="ortho") for c in crystals) / 3
    measured = torch.from_numpy(np.fft.fftshift(np.abs(mean))) * 7
    measured[0] = 0
    curve = phase_retrieval_transfer(crystals, BASIS, amplitudes=measured)
    assert curve.correlation[curve.samples > 0] == pytest.approx(1)
    index, _ = shells((32, 32, 32), CURVE.direct_basis_m)
    assert curve.samples.sum() < np.count_nonzero(index < len(curve.frequency))


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ew.InputError, match="two equal ones"):
        fourier_shell_correlation(torch.zeros(8, 8, 8) + 0j, torch.zeros(8, 8, 9) + 0j, BASIS)
    with pytest.raises(ew.InputError, match="two or more"):
        phase_retrieval_transfer([torch.zeros(8, 8, 8) + 0j], BASIS)
