"""Adam and L-BFGS against torch's own, their laws, and what noise models and penalties are for."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from exitwave.data.scan import Scan
from exitwave.physics.noise import Amplitude
from exitwave.problems.initial_guess import first_guess
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.simulation.detection import Detection
from exitwave.simulation.measure import simulate
from exitwave.solvers.base import Step
from exitwave.solvers.ptychography.adam import Adam
from exitwave.solvers.ptychography.lbfgs import LBFGS, _Curvature, _dot
from exitwave.solvers.ptychography.pie import RPIE
from scans import known_scan, object_error


@pytest.fixture(scope="module")
def known():
    return known_scan()


def last(solver, problem, start):
    for step in solver.solve(problem, Step(epoch=0, estimate=start)):
        final = step
    return final


def empty(problem, truth):
    return replace(truth, object=torch.ones(1, *problem.object_shape, dtype=torch.complex64))


def test_adam_walks_as_that_of_torch_does():
    made = known_scan(side=4, photons=1e5)
    problem = PtychographyProblem.of(made.scan, seed=3)
    ripple = torch.randn(1, *problem.object_shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(2))
    # No dark pixels: the phase of an empty wave is that of rounding.
    start = replace(made.truth, object=1 + 0.3 * ripple)
    rates = {
        "object": 0.01 * float(start.object.abs().square().mean().sqrt()),
        "probe": 0.01 * float(start.probe.abs().max()),
    }
    x = replace(start, object=start.object.clone().requires_grad_(), probe=start.probe.clone().requires_grad_())
    theirs = torch.optim.Adam([{"params": [getattr(x, name)], "lr": rate} for name, rate in rates.items()])
    for epoch in (1, 2):
        for frames in problem.batches(5, epoch):
            theirs.zero_grad()
            expected, measured = problem.model.intensity(x, frames), problem.amplitudes(frames).square()
            # Torch's gradient is twice the slope by conj(z), the likelihood twice the objective; both matter little to Adam.
            (len(frames) * 32 * 32 / 4 * Amplitude().loss(expected, measured, problem.trusted)).backward()
            theirs.step()
    ours = last(Adam(epochs=2, batch=5, object_rate=0.01, probe_rate=0.01, settle=0), problem, start).estimate
    x = x.clone()
    assert object_error(ours, x) < 1e-4
    assert float((ours.probe - x.probe).norm() / x.probe.norm()) < 1e-4


def test_curvature_learnt_from_a_step_is_met_again():
    g = torch.Generator().manual_seed(0)
    moved = [
        (torch.randn(5, dtype=torch.complex64, generator=g), torch.randn(3, dtype=torch.complex64, generator=g))
        for _ in range(3)
    ]
    stiff = torch.rand(5, generator=g) + 0.5, torch.rand(3, generator=g) + 0.5
    turned = [tuple(m * s for m, s in zip(pair, stiff, strict=True)) for pair in moved]
    curvature = _Curvature(tuple(moved), tuple(turned))
    even = torch.ones(5), torch.ones(3)
    # The secant equation: the inverse curvature takes the last change of gradient to the last step.
    for found, wanted in zip(curvature.newton(turned[-1], even), moved[-1], strict=True):
        assert torch.allclose(found, wanted, atol=1e-5)
    other = tuple(torch.randn(len(s), dtype=torch.complex64, generator=g) for s in stiff)
    assert _dot(curvature.newton(other, even), other) > 0


@pytest.mark.parametrize("options", [{}, {"noise": "poisson"}, {"tv": 0.02}, {"probe_start": 4}, {"pairs": 1}])
def test_lbfgs_never_goes_uphill(options):
    problem = PtychographyProblem.of(known_scan(side=4, photons=1e5).scan)
    solver = LBFGS(epochs=25, **options)
    from exitwave.problems.objective import Objective, noise_of

    heights = []
    for step in solver.solve(problem, Step(epoch=0, estimate=first_guess(problem))):
        objective = Objective(problem, step.estimate, noise_of(solver.noise, problem), tv=solver.tv)
        heights.append(objective.everything()[0])
    assert all(after <= before * (1 + 1e-6) for before, after in pairwise(heights))


@pytest.mark.parametrize("solver", [LBFGS(epochs=60, update_probe=False), Adam(epochs=150, update_probe=False)])
def test_noise_free_data_with_a_known_probe_give_the_object(known, solver):
    problem = PtychographyProblem.of(known.scan)
    assert object_error(last(solver, problem, empty(problem, known.truth)).estimate, known.truth) < 0.02


@pytest.mark.parametrize("solver", [LBFGS(epochs=50), Adam(epochs=60)])
def test_unknown_probe_is_retrieved_with_the_object(known, solver):
    problem = PtychographyProblem.of(known.scan)
    assert last(solver, problem, first_guess(problem)).residual < 1e-3


@pytest.mark.parametrize("solver", [LBFGS(epochs=10), LBFGS(epochs=10, noise="poisson")])
def test_started_at_the_truth_it_stays_there(known, solver):
    step = last(solver, PtychographyProblem.of(known.scan), known.truth)
    assert object_error(step.estimate, known.truth) < 1e-3
    assert step.residual < 1e-6


def test_a_probe_in_focus_where_rpie_stalls():
    detection = Detection(noise="none")
    made = simulate("textured", probe_name="airy", overlap=0.75, frames=64, frame_px=32, seed=3, detection=detection)
    problem = PtychographyProblem.of(made.scan)
    start = first_guess(problem, probe=made.truth.probe)
    quick = last(LBFGS(epochs=150, alpha=0.001, update_probe=False), problem, start)
    slow = last(RPIE(epochs=150, update_probe=False), problem, start)
    assert quick.residual < 0.01 * slow.residual


@pytest.mark.parametrize("cls", [Adam, LBFGS])
def test_the_probe_rests_before_its_start_and_when_it_is_known(known, cls):
    problem = PtychographyProblem.of(known.scan)
    start = first_guess(problem)
    assert torch.equal(last(cls(epochs=3, probe_start=3), problem, start).estimate.probe, start.probe)
    assert torch.equal(last(cls(epochs=3, update_probe=False), problem, start).estimate.probe, start.probe)
    assert not torch.equal(last(cls(epochs=3, probe_start=2), problem, start).estimate.probe, start.probe)


def test_with_very_few_photons_poisson_explains_them_all_and_amplitudes_fewer():
    made = known_scan(photons=300)
    problem = PtychographyProblem.of(made.scan)
    start = empty(problem, made.truth)
    explained = {}
    for noise in ("poisson", "amplitude"):
        x = last(LBFGS(epochs=40, noise=noise, update_probe=False), problem, start).estimate
        explained[noise] = float(problem.model.intensity(x, torch.arange(len(problem))).sum()) / problem.power
    # At the maximum of the likelihood expected and measured photons agree; roots of small counts are too low on average.
    assert explained["poisson"] == pytest.approx(1, abs=0.02)
    assert explained["amplitude"] < 0.97


def test_smooth_l1_bears_wrong_pixels(known):
    frames = known.scan.frames(slice(None)).clone()
    wrong = torch.rand(frames.shape, generator=torch.Generator().manual_seed(4)) < 0.002
    frames[wrong] = 20 * frames.mean()
    spoiled = Scan(patterns=frames, positions_m=known.scan.positions_m, geometry=known.scan.geometry)
    problem = PtychographyProblem.of(spoiled)
    start = empty(problem, known.truth)
    errors = {}
    for noise in ("smooth_l1", "amplitude"):
        x = last(LBFGS(epochs=60, noise=noise, update_probe=False), problem, start).estimate
        errors[noise] = object_error(x, known.truth)
    assert errors["smooth_l1"] < 0.5 * errors["amplitude"]


def noisy_grey(level):
    """Problem and start whose sample is an even grey, with 1e4 photons a frame."""
    made = known_scan(side=5, photons=1e4)
    grey = replace(made.truth, object=torch.full_like(made.truth.object, level))
    problem = PtychographyProblem.of(made.scan)
    photons = problem.model.intensity(grey, torch.arange(len(problem)))
    noisy = torch.poisson(photons, generator=torch.Generator().manual_seed(1)).sqrt()
    return replace(problem, _amplitudes=noisy), grey


def deviation(solver, problem, grey):
    found = last(solver, problem, grey).estimate.object[0, 14:-14, 14:-14]
    return float((found - found.mean()).abs().square().mean().sqrt())


@pytest.mark.parametrize("cls", [Adam, LBFGS])
@pytest.mark.parametrize("isotropic", [True, False])
def test_total_variation_takes_noise_out_of_flat_areas(cls, isotropic):
    problem, grey = noisy_grey(0.6)
    plain, smooth = (
        deviation(cls(epochs=25, tv=tv, isotropic=isotropic, update_probe=False), problem, grey) for tv in (0.0, 0.05)
    )
    assert smooth < 0.7 * plain


def test_l1_empties_what_the_data_do_not_hold():
    problem, vacuum = noisy_grey(1.0)
    plain, sparse = (deviation(LBFGS(epochs=25, l1=l1, update_probe=False), problem, vacuum) for l1 in (0.0, 0.1))
    assert sparse < 0.5 * plain
