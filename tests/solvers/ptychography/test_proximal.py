"""APG: its proximal maps against numerical minimisation, its laws, and problems with a known answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.solvers.base import Step
from exitwave.solvers.ptychography.proximal import APG, amplitude_proximal, poisson_proximal
from scans import known_scan, object_error, smooth_field

NOISES = pytest.mark.parametrize("noise", ["amplitude", "poisson"])
LIKELIHOODS = {
    "amplitude": (amplitude_proximal, lambda r, a: 2 * (r - a) ** 2, lambda r, a: 4 * (r - a)),
    "poisson": (poisson_proximal, lambda r, a: r**2 - a**2 * np.log(r**2), lambda r, a: 2 * (r - a**2 / r)),
}


def last(solver, problem, start):
    return list(solver.solve(problem, Step(epoch=0, estimate=start)))[-1]


def with_true_probe(problem, truth):
    return PtychoEstimate(
        object=torch.ones(1, *problem.object_shape, dtype=torch.complex64),
        probe=truth.probe,
        positions_px=truth.positions_px,
    )


@NOISES
@pytest.mark.parametrize("weight", [0.1, 1.0, 30.0])
@pytest.mark.parametrize(("modulus", "measured"), [(0.3, 2.0), (5.0, 1.0), (40.0, 43.0), (1e-3, 1.0)])
def test_proximal_maps_are_what_scipy_finds(noise, weight, modulus, measured):
    proximal, likelihood, slope = LIKELIHOODS[noise]
    found = float(proximal(*(torch.tensor(v, dtype=torch.float64) for v in (modulus, measured)), weight))

    def cost(r):
        return weight * likelihood(r, measured) + (r - modulus) ** 2 / 2

    assert cost(found) <= minimize_scalar(cost, bounds=(1e-6, 100), method="bounded").fun + 1e-8

    def from_zero(r):
        return (weight * slope(r, measured) + r - modulus) ** 2

    # A minimum is flat: its place is known to the root of the precision only, that of the slope's zero better.
    near = minimize_scalar(from_zero, bounds=(1e-6, 100), method="bounded").x
    near = minimize_scalar(from_zero, bracket=(0.99 * near, near, 1.01 * near), method="golden", tol=1e-12)
    assert found == pytest.approx(near.x, abs=1e-8)


@NOISES
def test_proximal_maps_tend_to_the_measured_modulus_and_to_nothing(noise):
    proximal, *_ = LIKELIHOODS[noise]
    modulus, measured = torch.rand(50, dtype=torch.float64) + 0.1, torch.rand(50, dtype=torch.float64)
    assert torch.allclose(proximal(modulus, measured, 1e9), measured, atol=1e-6)
    assert torch.allclose(proximal(modulus, measured, 1e-9), modulus, atol=1e-6)
    assert torch.allclose(proximal(measured, measured, 0.7), measured)


@NOISES
@pytest.mark.parametrize("whole", [True, False])
def test_started_at_the_truth_it_stays_there(noise, whole):
    made = known_scan(whole=whole, side=5, modes=2)
    step = last(APG(epochs=10, noise=noise), PtychographyProblem.of(made.scan), made.truth)
    assert object_error(step.estimate, made.truth) < 1e-3
    assert step.residual < 1e-6


@NOISES
def test_extrapolating_the_object_is_extrapolating_the_exit_waves(known, noise):
    """Section 7.5's form: y from two sets of waves, overlap projection, proximal map."""
    proximal, *_ = LIKELIHOODS[noise]
    problem = PtychographyProblem.of(known.scan)
    turned = torch.polar(
        torch.ones(problem.object_shape), torch.from_numpy(smooth_field(problem.object_shape, 9)).float()
    )
    # Light everywhere in the window: what only a faint rim says depends on rounding.
    bright = known.truth.probe + 0.3 * known.truth.probe.abs().max()
    start = replace(known.truth, object=turned[None], probe=bright)
    solver = APG(epochs=3, noise=noise, weight=0.5, inertia=1e-6, update_probe=False)
    *_, ours = solver.solve(problem, Step(epoch=0, estimate=start))
    probe, obj = start.probe[0].numpy().astype(complex), turned.numpy().astype(complex)
    windows = [np.s_[y : y + 32, x : x + 32] for y, x in start.positions_px.round().to(torch.int64).tolist()]
    measured = [np.sqrt(np.fft.ifftshift(p) * 32 * 32) for p in known.scan.frames(slice(None)).numpy()]
    lit = np.zeros(obj.shape)
    for window in windows:
        lit[window] += np.abs(probe) ** 2

    def object_of(waves):
        total = 1e-6 * lit.max() * turned.numpy()
        for window, psi in zip(windows, waves, strict=True):
            total[window] = total[window] + probe.conj() * psi
        return total / (lit + 1e-6 * lit.max())

    before = now = [probe * obj[window] for window in windows]
    for epoch in range(3):
        share = epoch / (epoch + 3)
        ahead = object_of([a + share * (a - b) for a, b in zip(now, before, strict=True)])
        before, now = now, []
        for window, amplitude in zip(windows, measured, strict=True):
            spectrum = np.fft.fft2(probe * ahead[window]) / 32
            wished = proximal(torch.from_numpy(np.abs(spectrum)), torch.from_numpy(amplitude / 32), 0.5).numpy()
            now.append(np.fft.ifft2(32 * wished * np.exp(1j * np.angle(spectrum))))
    assert np.allclose(ours.estimate.object[0].numpy(), object_of(now), atol=2e-3)


@pytest.fixture(scope="module")
def known():
    return known_scan()


@NOISES
def test_noise_free_data_with_a_known_probe_give_the_object(known, noise):
    problem = PtychographyProblem.of(known.scan)
    step = last(APG(epochs=60, noise=noise, update_probe=False), problem, with_true_probe(problem, known.truth))
    assert object_error(step.estimate, known.truth) < 0.02


@NOISES
def test_a_somewhat_wrong_probe_is_put_right_with_the_object(noise):
    made = known_scan(side=8, step=6.0)
    problem = PtychographyProblem.of(made.scan)
    wrong = made.truth.probe * torch.polar(
        0.8 + 0.4 * torch.from_numpy(smooth_field((32, 32), 5)).float(),
        0.6 * torch.from_numpy(smooth_field((32, 32), 6)).float(),
    )
    start = replace(with_true_probe(problem, made.truth), probe=wrong)
    solver = APG(epochs=120, noise=noise)
    assert (
        last(solver, problem, start).residual
        < 0.02 * last(replace(solver, update_probe=False), problem, start).residual
    )


def test_the_likelihood_of_counts_helps_where_photons_are_few():
    made = known_scan(photons=500, side=9)
    problem = PtychographyProblem.of(made.scan)
    start = with_true_probe(problem, made.truth)
    errors = {
        noise: object_error(last(APG(epochs=60, noise=noise, update_probe=False), problem, start).estimate, made.truth)
        for noise in ("amplitude", "poisson")
    }
    assert errors["poisson"] < errors["amplitude"]
