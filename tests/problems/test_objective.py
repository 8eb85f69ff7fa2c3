"""The objective of gradient methods: its direction is its gradient, under every noise model, with and without penalties."""

from dataclasses import replace

import pytest
import torch

from exitwave.physics.noise import Amplitude
from exitwave.physics.penalties import sparsity, total_variation
from exitwave.problems.initial_guess import first_guess
from exitwave.problems.objective import L1_SOFTNESS, TV_SOFTNESS, Objective, dose, noise_of
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.threads import Schedule
from scans import known_scan

NAMES = ("amplitude", "poisson", "gaussian", "smooth_l1")


def made(**options):
    made = known_scan(side=4, frame=24, step=5.0, photons=2e4, modes=2, **options)
    problem = PtychographyProblem.of(made.scan)
    x = first_guess(problem, modes=2)
    ripple = torch.randn(x.object.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    return problem, replace(x, object=x.object + 0.2 * ripple)


def differentiable(problem, x, name, tv, l1):
    noise, frames = noise_of(name, problem) or Amplitude(), torch.arange(len(problem))
    measured, expected = problem.amplitudes(frames).square(), problem.model.intensity(x, frames)
    value = 0.5 * problem.trusted.sum() * len(problem) * noise.loss(expected, measured, problem.trusted)
    variation, _ = total_variation(x.object, softness=TV_SOFTNESS * max(tv, 1e-6))
    distance, _ = sparsity(x.object, softness=L1_SOFTNESS * max(l1, 1e-6))
    return value + 2 * dose(problem, x) * (tv * variation + l1 * distance)


@pytest.fixture
def exact_shifts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sub-pixel shifts as the differentiable model has them, not interpolated."""
    monkeypatch.setattr("exitwave.problems.probe_shifts.LARGEST_ERROR", 0.0)


@pytest.mark.usefixtures("exact_shifts")
@pytest.mark.parametrize("penalties", [{}, {"tv": 0.02}, {"l1": 0.05}])
@pytest.mark.parametrize("name", NAMES)
def test_sums_hold_the_steepest_descent_direction_of_object_and_probe(name, penalties):
    problem, x = made(whole=False)
    weights = {"tv": 0.0, "l1": 0.0} | penalties
    _, sums = Objective(problem, x, noise_of(name, problem), **weights).everything()
    free = replace(x, object=x.object.clone().requires_grad_(), probe=x.probe.clone().requires_grad_())
    differentiable(problem, free, name, **weights).backward()
    for found, leaf in ((sums.object_descent, free.object), (sums.probe_descent, free.probe)):
        assert float((found + leaf.grad / 2).abs().max()) < 2e-4 * float(found.abs().max())


@pytest.mark.parametrize("name", NAMES)
def test_the_value_changes_along_a_direction_as_the_gradient_says(name):
    problem, x = made()
    objective = Objective(problem, x, noise_of(name, problem), tv=0.02, l1=0.01)
    _, sums = objective.everything()
    way = sums.object_descent / sums.illumination.max(), 0.5 * sums.probe_descent / sums.probe_weight.max()
    slope = -2 * float(
        (sums.object_descent.conj() * way[0]).real.sum() + (sums.probe_descent.conj() * way[1]).real.sum()
    )
    before = x.object.clone(), x.probe.clone()
    values = []
    for length in (-0.01, 0.01):
        x.object.copy_(before[0] + length * way[0])
        x.probe.copy_(before[1] + length * way[1])
        values.append(objective.everything()[0])
    assert (values[1] - values[0]) / 0.02 == pytest.approx(slope, rel=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_the_residual_is_that_of_the_amplitudes_whatever_the_noise_model(name):
    problem, x = made()
    objective = Objective(problem, x, noise_of(name, problem), tv=0.1)
    objective.everything()
    assert objective.residual == pytest.approx(problem.residual(x), rel=1e-4)


@pytest.mark.parametrize("name", ["poisson", "smooth_l1"])
def test_batches_add_up_to_the_whole_and_so_do_threads(name, monkeypatch):
    problem, x = made()
    whole, parts = (Objective(problem, x, noise_of(name, problem), tv=0.02, l1=0.02) for _ in range(2))
    value, sums = whole.everything()
    monkeypatch.setattr(parts.sweep, "_schedule", lambda frames: Schedule(min(frames, 3), frames))
    found, total = 0.0, torch.zeros_like(sums.object_descent)
    for frames in torch.randperm(len(problem), generator=torch.Generator().manual_seed(0)).split(5):
        part, its = parts.over(frames)
        found += part
        total += its.object_descent
    assert found == pytest.approx(value, rel=1e-5)
    assert parts.residual == pytest.approx(whole.residual, rel=1e-6)
    assert float((total - sums.object_descent).abs().max()) < 1e-5 * float(total.abs().max())
