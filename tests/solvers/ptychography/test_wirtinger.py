"""Wirtinger flow: steps that cannot make the misfit rise, their limit, and momentum that starts anew."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from exitwave.problems.initial_guess import amplitude_guess, first_guess, with_slices
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.setup import Setup
from exitwave.problems.sweep import Sweep
from exitwave.solvers.base import Step
from exitwave.solvers.ptychography.wirtinger import AWF, WF
from scans import known_scan, object_error


@pytest.fixture(scope="module")
def known():
    return known_scan()


def steps(solver, problem, start):
    return list(solver.solve(problem, Step(epoch=0, estimate=start)))


def empty(problem, truth):
    return replace(truth, object=torch.ones(1, *problem.object_shape, dtype=torch.complex64))


@pytest.mark.parametrize("alpha", [1.0, 0.1, 0.0])
def test_the_misfit_never_rises_with_a_known_probe(known, alpha):
    problem = PtychographyProblem.of(known.scan)
    course = [
        s.residual for s in steps(WF(epochs=25, alpha=alpha, update_probe=False), problem, empty(problem, known.truth))
    ]
    assert all(after <= before * (1 + 1e-6) for before, after in pairwise(course))


@pytest.mark.parametrize("alpha", [1.0, 0.1])
def test_the_misfit_never_rises_with_the_probe_moving_too(alpha):
    problem = PtychographyProblem.of(known_scan(side=4, modes=2, whole=False).scan)
    course = [s.residual for s in steps(WF(epochs=25, alpha=alpha), problem, first_guess(problem, modes=2))]
    assert all(after <= before * (1 + 1e-6) for before, after in pairwise(course))


def test_a_step_is_the_gradient_over_the_largest_illumination(known):
    problem = PtychographyProblem.of(known.scan)
    start = empty(problem, known.truth)
    sums = Sweep(problem, start).everything()
    wanted = start.object + sums.object_descent / sums.illumination.max()
    found = steps(WF(epochs=1, update_probe=False), problem, start)[0].estimate.object
    assert torch.allclose(found, wanted, atol=1e-6)


def test_alpha_zero_is_the_overlap_projection(known):
    problem = PtychographyProblem.of(known.scan)
    start = empty(problem, known.truth)
    sums = Sweep(problem, start).everything()
    lit = sums.illumination > 0.1 * sums.illumination.max()
    # sum conj(P) psi' / sum |P|^2 with psi' = P q + d.
    projected = (sums.illumination * start.object + sums.object_descent) / sums.illumination
    found = steps(WF(epochs=1, alpha=0, update_probe=False), problem, start)[0].estimate.object
    assert torch.allclose(found[lit], projected[lit], atol=1e-4)


def test_momentum_needs_a_fraction_of_the_epochs(known):
    problem = PtychographyProblem.of(known.scan)
    start = empty(problem, known.truth)
    plain = steps(WF(epochs=150, update_probe=False), problem, start)[-1]
    quick = steps(AWF(epochs=150, alpha=1, update_probe=False), problem, start)[-1]
    assert quick.residual < 0.1 * plain.residual
    assert object_error(plain.estimate, known.truth) < 0.15
    assert object_error(quick.estimate, known.truth) < 0.02


def test_momentum_starts_anew_when_the_misfit_rises(known):
    problem = PtychographyProblem.of(known.scan)
    before = steps(AWF(epochs=20, update_probe=False), problem, empty(problem, known.truth))[-1]
    # A last step that went far astray: going on along it makes the misfit rise.
    astray = {
        **before.state,
        "last.object": before.estimate.object * torch.polar(torch.tensor(1.0), torch.tensor(0.3)),
    }
    ages, residuals = [], []
    for step in AWF(epochs=22, update_probe=False).solve(problem, replace(before, state=astray)):
        ages.append(int(step.state["age"]))
        residuals.append(step.residual)
    assert residuals[0] > before.residual
    assert ages == [0, 1]
    assert residuals[1] < residuals[0]
    kept = next(AWF(epochs=22, restart=False, update_probe=False).solve(problem, replace(before, state=astray)))
    assert int(kept.state["age"]) == 21


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("solver", [WF(epochs=10), AWF(epochs=10), AWF(epochs=10, alpha=0)])
def test_started_at_the_truth_it_stays_there(solver, whole):
    made = known_scan(whole=whole)
    last = steps(solver, PtychographyProblem.of(made.scan), made.truth)[-1]
    assert object_error(last.estimate, made.truth) < 1e-3
    assert last.residual < 1e-6


def test_unknown_probe_is_retrieved_with_the_object(known):
    problem = PtychographyProblem.of(known.scan)
    assert steps(AWF(epochs=60), problem, first_guess(problem))[-1].residual < 1e-3


def test_the_probe_rests_before_its_start_and_when_it_is_known(known):
    problem = PtychographyProblem.of(known.scan)
    start = first_guess(problem)
    for solver in (AWF(epochs=3, probe_start=3), WF(epochs=3, update_probe=False)):
        assert torch.equal(steps(solver, problem, start)[-1].estimate.probe, start.probe)
    assert not torch.equal(steps(AWF(epochs=3, probe_start=2), problem, start)[-1].estimate.probe, start.probe)


def test_two_slices_go_down_together(known):
    problem = PtychographyProblem.of(known.scan)
    start = with_slices(first_guess(problem), Setup(slices=2, slice_spacing_m=1e-6))
    course = [s.residual for s in steps(WF(epochs=15), problem, start)]
    assert all(after <= before * (1 + 1e-6) for before, after in pairwise(course))
    assert course[-1] < 0.7 * course[0]


def test_amplitude_guess_of_an_even_absorber_is_its_transmission():
    made = known_scan(side=4)
    grey = replace(made.truth, object=torch.full_like(made.truth.object, 0.6))
    problem = PtychographyProblem.of(made.scan)
    photons = problem.model.intensity(grey, torch.arange(len(problem)))
    even = replace(problem, _amplitudes=photons.sqrt())
    guess = amplitude_guess(even, made.truth)
    middle = guess[0, 14:-14, 14:-14]
    assert torch.allclose(middle, torch.full_like(middle, 0.6), atol=1e-3)
    found = next(WF(rms_start=True, update_probe=False).solve(even, Step(epoch=0, estimate=made.truth)))
    assert found.residual < 1e-3
