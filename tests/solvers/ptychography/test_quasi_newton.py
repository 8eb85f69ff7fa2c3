"""The quasi-Newton solver: its slow phase against finite differences, its steps against dense BFGS, its promises on known scans."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from exitwave.data import prepare
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.scan import Scan
from exitwave.problems.coarse_phase import SlowPhase, modulus_slopes, ramp_sensitivity
from exitwave.problems.frame_pulls import FramePulls
from exitwave.problems.initial_guess import first_guess, with_slices
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.setup import Setup
from exitwave.problems.sweep import Sweep
from exitwave.solvers.base import Step
from exitwave.solvers.ptychography.pie import RPIE
from exitwave.solvers.ptychography.quasi_newton import Descent, QuasiNewton, dot
from scans import known_scan, object_error


@pytest.fixture(scope="module")
def known():
    return known_scan()


@pytest.fixture(scope="module")
def problem(known):
    return PtychographyProblem.of(known.scan)


def steps(solver, problem, start):
    return list(solver.solve(problem, Step(epoch=0, estimate=start)))


def rough(problem, truth):
    """Truth bent by a wave of phase across the whole scan, and a slightly wrong probe."""
    y = torch.linspace(-1, 1, problem.object_shape[0])[:, None]
    bent = truth.object * torch.polar(torch.ones(()), 0.6 * torch.cos(3 * y))
    return replace(truth, object=bent, probe=truth.probe * 0.97)


def test_modulus_slopes_are_derivatives(known, problem):
    frames, small = torch.arange(3), 1e-3
    slopes = modulus_slopes(problem, known.truth, frames)
    for axis in (0, 1):
        found = []
        for sign in (1, -1):
            pixel = torch.arange(32) - 16
            ramp = torch.exp(1j * sign * small * (pixel[:, None] if axis == 0 else pixel[None, :]))
            x = replace(known.truth, probe=known.truth.probe * ramp)
            found.append(problem.model.intensity(x, frames).sqrt())
        by_difference = (found[0] - found[1]) / (2 * small)
        assert (slopes[axis] - by_difference).norm() < 0.01 * by_difference.norm()


def test_ramp_sensitivity_is_the_curvature_of_the_misfit_at_the_truth(known, problem):
    small = 1e-3
    ramp = torch.exp(1j * small * (torch.arange(32) - 16)[:, None])
    bent = replace(known.truth, probe=known.truth.probe * ramp)
    misfit = problem.residual(bent) * problem.power / len(problem)
    expected = ramp_sensitivity(problem, known.truth)[0, 0] * small**2
    # 32 of the 49 frames are asked.
    assert misfit == pytest.approx(float(expected), rel=0.1)


def test_slow_phase_is_a_symmetric_positive_preconditioner(known, problem):
    slow = SlowPhase.of(problem, known.truth, ramp_sensitivity(problem, known.truth))
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(1, *problem.object_shape, dtype=torch.complex64, generator=generator) for _ in range(2))

    def inner(u, v):
        return float(torch.vdot(u.flatten(), v.flatten()).real)

    obj = known.truth.object
    assert inner(slow.of_gradient(obj, a), b) == pytest.approx(inner(a, slow.of_gradient(obj, b)), rel=1e-3)
    assert inner(slow.of_gradient(obj, a), a) > 0


def test_pulls_of_frames_ask_for_the_phase_that_the_gradient_asks_for(known, problem):
    x = rough(problem, known.truth)
    slow = SlowPhase.of(problem, x, ramp_sensitivity(problem, x))
    pulls = FramePulls(problem, x)
    sums = Sweep(problem, x).everything(observer=pulls)
    from_frames = slow.of_frames(pulls)
    from_gradient = (slow.of_gradient(x.object, sums.object_descent) / (1j * x.object)).real[0]
    assert (from_frames - from_gradient).norm() < 0.15 * from_gradient.norm()


def test_one_step_of_slow_phase_mends_most_of_a_wave_across_the_scan():
    made = known_scan(side=12, step=6.0)
    problem = PtychographyProblem.of(made.scan)
    bent = replace(rough(problem, made.truth), probe=made.truth.probe)
    slow = SlowPhase.of(problem, bent, ramp_sensitivity(problem, bent))
    down = Sweep(problem, bent).everything().object_descent
    mended = replace(bent, object=bent.object + slow.of_gradient(bent.object, down))
    plain = replace(bent, object=bent.object + down / (Sweep(problem, bent).everything().illumination + 1e3))
    assert object_error(mended, made.truth) < 0.6 * object_error(bent, made.truth)
    assert object_error(mended, made.truth) < 0.7 * object_error(plain, made.truth)


def asked(problem, x):
    """Slow phase and what frames ask of it, from one pass."""
    slow, pulls = SlowPhase.of(problem, x, ramp_sensitivity(problem, x)), FramePulls(problem, x)
    Sweep(problem, x).everything(observer=pulls)
    return slow, pulls


def without_shrinkage(monkeypatch, slow, pulls):
    with monkeypatch.context() as patch:
        patch.setattr("exitwave.problems.coarse_phase.SIGNIFICANCE", 0.0)
        return slow.of_frames(pulls)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_slow_phase_that_only_noise_asks_for_is_left_alone(seed, monkeypatch):
    made = known_scan(side=12, step=6.0, photons=1e3, seed=seed)
    slow, pulls = asked(PtychographyProblem.of(made.scan), made.truth)
    assert slow.of_frames(pulls).norm() < 0.3 * without_shrinkage(monkeypatch, slow, pulls).norm()


def test_slow_phase_that_the_photons_tell_is_followed(monkeypatch):
    made = known_scan(side=12, step=6.0, photons=1e5)
    problem = PtychographyProblem.of(made.scan)
    slow, pulls = asked(problem, replace(rough(problem, made.truth), probe=made.truth.probe))
    whole = without_shrinkage(monkeypatch, slow, pulls)
    assert (slow.of_frames(pulls) - whole).norm() < 0.2 * whole.norm()


def test_what_all_frames_ask_alike_is_left_to_the_probe(known, problem):
    slow, pulls = asked(problem, rough(problem, known.truth))
    before = slow.of_frames(pulls)
    pulls.leave_common_to_probe()
    after = slow.of_frames(pulls)
    pulls.pulls += torch.linspace(-1, 1, 9)[:, None] * pulls.pulls.abs().max()
    pulls.leave_common_to_probe()
    assert torch.allclose(slow.of_frames(pulls), after, atol=1e-3 * float(after.abs().max()))
    assert (after - before).norm() > 0


def test_the_preconditioner_is_symmetric_and_takes_only_the_slow_phase_that_was_told(known, problem):
    slow, _ = asked(problem, known.truth)
    obj = known.truth.object
    lit = Sweep(problem, known.truth).everything().illumination + 1.0
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(1, *problem.object_shape, dtype=torch.complex64, generator=generator) for _ in range(2))
    none, all_of_it = torch.zeros_like(slow.steps), torch.ones_like(slow.steps)

    def inner(u, v):
        return float(torch.vdot(u.flatten(), v.flatten()).real)

    for told in (none, all_of_it, 0.5 * all_of_it):
        step = slow.preconditioned(obj, a, lit, told, newton=0.3)
        assert inner(step, b) == pytest.approx(inner(a, slow.preconditioned(obj, b, lit, told, newton=0.3)), rel=1e-3)
        assert inner(step, a) > 0
    expected = a / lit + 0.3 * slow.of_gradient(obj, a)
    assert torch.allclose(slow.preconditioned(obj, a, lit, all_of_it, newton=0.3), expected, rtol=1e-4, atol=1e-5)
    wave = 1j * obj * slow.rows[:, 1:2]
    left = slow.preconditioned(obj, lit * wave, lit, none, newton=0.3)
    assert (lit.sqrt() * left).norm() < 0.5 * (lit.sqrt() * wave).norm()


def test_the_slope_of_a_slow_phase_is_left_to_the_probe(known, problem):
    slow = SlowPhase.of(problem, known.truth, ramp_sensitivity(problem, known.truth))
    y, x = (torch.arange(n).float() for n in problem.object_shape)
    bowl = torch.cos(2 * math.pi * (y[:, None] - y.mean()) / len(y)) * torch.ones(len(x))
    tilted = slow.without_ramp(bowl + 0.3 * y[:, None] - 0.1 * x + 2)
    assert torch.allclose(tilted - tilted.mean(), slow.without_ramp(bowl) - slow.without_ramp(bowl).mean(), atol=1e-4)
    assert torch.allclose(slow.without_ramp(tilted), tilted, atol=1e-4)


@pytest.mark.parametrize("probe_is_known", [False, True])
def test_what_shifts_all_patterns_turns_the_probe_and_not_the_object_unless_the_probe_is_known(known, probe_is_known):
    patterns = known.scan.frames(torch.arange(len(known.scan))).roll(1, dims=2)
    shifted = PtychographyProblem.of(
        Scan(patterns=patterns, positions_m=known.scan.positions_m, geometry=known.scan.geometry)
    )
    plain, mended = (
        steps(
            QuasiNewton(epochs=1, warm_start=1, slow_gain=gain, update_probe=not probe_is_known), shifted, known.truth
        )[-1].estimate.object[0]
        for gain in (0, 0.8)
    )
    turned = (mended * plain.conj())[24:-24, 24:-24]
    ramp = float(torch.angle((turned[:, 1:] * turned[:, :-1].conj()).sum()))
    shift = 2 * math.pi / 32
    assert abs(ramp) > 0.3 * shift if probe_is_known else abs(ramp) < 0.03 * shift


def test_newton_direction_is_that_of_dense_bfgs(known, problem):
    x = rough(problem, known.truth).clone()
    descent = Descent.resumed(QuasiNewton(slow_gain=0, history=3), problem, x, {})
    for _ in range(3):
        descent.go_on()

    def flat(pair):
        return torch.cat([torch.view_as_real(part).flatten() for part in pair]).double()

    # Nocedal & Wright, eq. 7.16, applied from the right: V^T ( ... V^T (H0 V v) ... ) + rho s s^T v.
    def dense(moves, bends, v, scale):
        if not moves:
            pair = descent.conditioned(v)
            return (scale * pair[0], scale * pair[1])
        s, y = moves[-1], bends[-1]
        rho = 1 / dot(s, y)
        inner = dense(moves[:-1], bends[:-1], tuple(p - rho * dot(s, v) * q for p, q in zip(v, y, strict=True)), scale)
        return tuple(p - rho * dot(y, inner) * q + rho * dot(s, v) * q for p, q in zip(inner, s, strict=True))

    s, y = descent.moves[-1], descent.bends[-1]
    scale = dot(s, y) / dot(y, descent.conditioned(y))
    ours, theirs = (
        flat(descent.newton(descent.at.down)),
        flat(dense(descent.moves, descent.bends, descent.at.down, scale)),
    )
    assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))
    # The secant equation: the inverse Hessian turns the last change of the gradient into the last move.
    assert torch.allclose(flat(descent.newton(y)), flat(s), rtol=1e-3, atol=1e-4 * float(flat(s).abs().max()))


def test_the_misfit_never_rises_after_the_approach(known, problem):
    run = steps(QuasiNewton(epochs=20, warm_start=2), problem, first_guess(problem))
    falling = [step.residual for step in run[2:]]
    assert all(after <= before for before, after in pairwise(falling))
    assert run[-1].residual == pytest.approx(problem.residual(run[-1].estimate), rel=1e-3)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("approach", [0, 8])
def test_started_at_the_truth_it_stays_there(whole, approach):
    made = known_scan(whole=whole)
    step = steps(QuasiNewton(epochs=10, warm_start=approach), PtychographyProblem.of(made.scan), made.truth)[-1]
    assert object_error(step.estimate, made.truth) < 2e-3
    assert step.residual < 1e-6


@pytest.mark.parametrize("whole", [True, False])
def test_noise_free_data_with_a_known_probe_give_the_object(whole):
    made = known_scan(whole=whole)
    problem = PtychographyProblem.of(made.scan)
    start = replace(made.truth, object=torch.ones_like(made.truth.object))
    step = steps(QuasiNewton(epochs=40, warm_start=8, update_probe=False), problem, start)[-1]
    assert torch.equal(step.estimate.probe, made.truth.probe)
    assert object_error(step.estimate, made.truth) < 0.01


def test_several_probe_modes_explain_what_one_cannot():
    made = known_scan(modes=2)
    problem = PtychographyProblem.of(made.scan)
    both = replace(made.truth, object=torch.ones_like(made.truth.object))
    one = replace(both, probe=both.probe[:1])
    known_probe = QuasiNewton(epochs=24, warm_start=8, update_probe=False)
    fits = [steps(known_probe, problem, start)[-1] for start in (one, both)]
    assert fits[1].residual < 0.05 * fits[0].residual
    assert object_error(fits[1].estimate, made.truth) < 0.03


def test_untrusted_pixels_do_not_matter(known):
    mask = torch.ones_like(known.scan.mask)
    mask[10:13, 5:9] = False
    clean = known.scan.frames(slice(None))
    spoilt = clean.clone()
    spoilt[:, 10:13, 5:9] = 7e4
    runs = [
        steps(
            QuasiNewton(epochs=4, warm_start=2),
            PtychographyProblem.of(replace(known.scan, patterns=p, mask=mask)),
            known.truth,
        )
        for p in (clean, spoilt)
    ]
    assert torch.equal(runs[0][-1].estimate.object, runs[1][-1].estimate.object)


def test_fewer_epochs_than_rpie_where_the_scan_is_wide():
    made = known_scan(side=14, step=7.0, photons=1e6)
    problem = PtychographyProblem.of(made.scan)
    axis = torch.arange(32) - 16
    bent = made.truth.probe * torch.exp(0.004j * (axis[:, None] ** 2 + axis[None, :] ** 2))
    start = PtychoEstimate(object=torch.ones_like(made.truth.object), probe=bent, positions_px=made.truth.positions_px)
    ours = steps(QuasiNewton(epochs=16, warm_start=8), problem, start)[-1]
    theirs = steps(RPIE(epochs=48), problem, start)[-1]
    assert ours.residual < theirs.residual


def test_few_frames_make_several_steps_an_epoch(known):
    few = PtychographyProblem.of(prepare.select(known.scan, torch.arange(14)))
    start = first_guess(few)
    together, apart = (
        steps(QuasiNewton(epochs=3, warm_start=2, batch=batch), few, start)[-1].estimate for batch in (16, 2)
    )
    assert torch.equal(together.object, apart.object)


@pytest.mark.parametrize("until", [1, 3, 5, 7])
@pytest.mark.parametrize("probe_start", [0, 4])
def test_resumed_anywhere_it_ends_exactly_the_same(until, probe_start, problem):
    solver = QuasiNewton(epochs=8, warm_start=3, probe_start=probe_start)
    straight = steps(solver, problem, first_guess(problem))
    resumed = list(solver.solve(problem, straight[until - 1]))
    assert resumed[-1].epoch == straight[-1].epoch == 8
    assert torch.equal(resumed[-1].estimate.object, straight[-1].estimate.object)
    assert torch.equal(resumed[-1].estimate.probe, straight[-1].estimate.probe)


def test_four_slices_go_down_together(problem):
    start = with_slices(first_guess(problem), Setup(slices=4, slice_spacing_m=1e-7))
    course = [step.residual for step in steps(QuasiNewton(epochs=8), problem, start)]
    assert course[-1] < 0.1 * course[0]


def test_an_estimate_changed_between_epochs_is_gone_on_from_as_it_is_now(problem):
    """As refinements and constraints change it: what was known of the estimate before says nothing of this one."""
    solver = QuasiNewton(epochs=8, warm_start=3)
    before = steps(solver, problem, first_guess(problem))[5]
    darker = replace(before.estimate, object=before.estimate.object * 0.7)
    after = next(solver.solve(problem, replace(before, estimate=darker)))
    assert after.residual == pytest.approx(problem.residual(after.estimate), rel=1e-3)
    assert after.residual < 0.9 * problem.residual(darker)


def test_the_last_quarter_of_a_short_run_takes_all_frames_together(problem):
    assert QuasiNewton().warm_start_epochs == 20
    assert QuasiNewton(epochs=200).warm_start_epochs == 20
    run = steps(QuasiNewton(epochs=8), problem, first_guess(problem))
    assert ["history" in step.state for step in run] == 6 * [False] + 2 * [True]
