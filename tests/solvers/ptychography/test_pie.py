"""The PIE family against the paper's formulas, its limits, and on problems with a known answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.initial_guess import first_guess
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.solvers.base import Step
from exitwave.solvers.ptychography.pie import EPIE, MPIE, RPIE
from scans import known_scan, object_error, smooth_field


@pytest.fixture(scope="module")
def known():
    return known_scan()


def run(solver, problem, start, epochs=None):
    step = Step(epoch=0, estimate=start)
    for step in solver.solve(problem, step):  # noqa: B020
        if epochs and step.epoch == epochs:
            break
    return step


def with_true_probe(problem, truth):
    return PtychoEstimate(
        object=torch.ones(1, *problem.object_shape, dtype=torch.complex64),
        probe=truth.probe,
        positions_px=truth.positions_px,
    )


def test_one_frame_at_a_time_is_table_1_of_the_paper(known):
    problem = PtychographyProblem.of(known.scan, seed=4)
    # No empty aperture here: where a wave is exactly zero its phase is anybody's guess.
    turned = torch.polar(
        torch.ones(problem.object_shape), torch.from_numpy(smooth_field(problem.object_shape, 9)).float()
    )
    dimmed = known.truth.probe * torch.polar(torch.tensor(0.9), torch.tensor(0.1))
    start = PtychoEstimate(object=turned[None], probe=dimmed, positions_px=known.truth.positions_px)
    alpha, beta = 0.15, 0.4
    obj, probe = start.object[0].numpy().astype(complex), start.probe[0].numpy().astype(complex)
    patterns = known.scan.frames(slice(None)).numpy()
    for batch in problem.batches(1, 1):
        j = int(batch)
        y, x = (round(float(v)) for v in start.positions_px[j])
        window = (slice(y, y + 32), slice(x, x + 32))
        patch = obj[window].copy()
        wave = np.fft.fft2(probe * patch)
        change = (
            np.fft.ifft2(np.sqrt(np.fft.ifftshift(patterns[j]) * 32 * 32) * np.exp(1j * np.angle(wave))) - probe * patch
        )
        power = np.abs(probe) ** 2
        obj[window] += probe.conj() * change / ((1 - alpha) * power + alpha * power.max())
        seen = np.abs(patch) ** 2
        probe += patch.conj() * change / ((1 - beta) * seen + beta * seen.max())
    ours = run(RPIE(epochs=1, alpha=alpha, beta=beta, batch=1, probe_start=0), problem, start).estimate
    assert np.allclose(ours.object[0].numpy(), obj, atol=2e-3)
    assert np.allclose(ours.probe[0].numpy(), probe, atol=2e-3 * np.abs(probe).max())


@pytest.mark.parametrize("batch", [1, 16])
def test_rpie_with_alpha_one_equals_epie_exactly(known, batch):
    problem = PtychographyProblem.of(known.scan)
    start = first_guess(problem)
    one = run(RPIE(epochs=3, alpha=1, beta=1, batch=batch), problem, start)
    other = run(EPIE(epochs=3, batch=batch), problem, start)
    assert torch.equal(one.estimate.object, other.estimate.object)
    assert torch.equal(one.estimate.probe, other.estimate.probe)


def test_mpie_without_feedback_to_speak_of_equals_rpie(known):
    problem = PtychographyProblem.of(known.scan)
    start = first_guess(problem)
    one = run(MPIE(epochs=2, alpha=0.1, beta=0.5, object_gain=1, probe_gain=1, feedback=1e-9), problem, start)
    other = run(RPIE(epochs=2, alpha=0.1, beta=0.5), problem, start)
    assert torch.allclose(one.estimate.object, other.estimate.object, atol=1e-5)


@pytest.mark.parametrize("solver", [RPIE(epochs=150, update_probe=False), MPIE(epochs=150, update_probe=False)])
def test_noise_free_data_with_a_known_probe_give_the_object(known, solver):
    problem = PtychographyProblem.of(known.scan)
    step = run(solver, problem, with_true_probe(problem, known.truth))
    assert object_error(step.estimate, known.truth) < 0.02


def test_epie_with_a_known_probe_gives_the_object_within_two_hundred_epochs(known):
    problem = PtychographyProblem.of(known.scan)
    # Its steps are short where the probe is dim: slower than rPIE, which the limit allows for.
    step = run(EPIE(epochs=200, update_probe=False, batch=4), problem, with_true_probe(problem, known.truth))
    assert object_error(step.estimate, known.truth) < 0.03


@pytest.mark.parametrize("whole", [True, False])
def test_started_at_the_truth_it_stays_there(whole):
    made = known_scan(whole=whole)
    problem = PtychographyProblem.of(made.scan)
    for solver in (RPIE(epochs=10, probe_start=0), EPIE(epochs=10), MPIE(epochs=10)):
        step = run(solver, problem, made.truth)
        assert object_error(step.estimate, made.truth) < 1e-3
        assert step.residual < 1e-6


def test_sub_pixel_positions_are_used_not_rounded():
    made = known_scan(whole=False)
    problem = PtychographyProblem.of(made.scan)
    start = with_true_probe(problem, made.truth)
    exact = run(RPIE(epochs=60, update_probe=False), problem, start)
    rounded = PtychoEstimate(object=start.object, probe=start.probe, positions_px=start.positions_px.round())
    blunt = run(RPIE(epochs=60, update_probe=False), problem, rounded)
    assert exact.residual < 0.1 * blunt.residual


def test_unknown_probe_is_retrieved_with_the_object(known):
    problem = PtychographyProblem.of(known.scan)
    step = run(RPIE(epochs=100, alpha=0.05), problem, first_guess(problem))
    assert step.residual < 1e-3


def test_known_modes_explain_partly_coherent_light_that_one_mode_cannot():
    made = known_scan(modes=2)
    problem = PtychographyProblem.of(made.scan)
    one = run(RPIE(epochs=100), problem, first_guess(problem))
    two = run(RPIE(epochs=100), problem, first_guess(problem, modes=2))
    assert two.residual < 0.7 * one.residual


def test_the_probe_rests_before_its_start_and_when_it_is_known(known):
    problem = PtychographyProblem.of(known.scan)
    start = first_guess(problem)
    assert torch.equal(run(RPIE(epochs=3, probe_start=3), problem, start).estimate.probe, start.probe)
    assert torch.equal(run(MPIE(epochs=3, update_probe=False), problem, start).estimate.probe, start.probe)
    assert not torch.equal(run(RPIE(epochs=3, probe_start=2), problem, start).estimate.probe, start.probe)


def test_slices_without_spacing_are_refused(known):
    problem = PtychographyProblem.of(known.scan)
    start = first_guess(problem)
    with pytest.raises(InputError, match="nothing says how far apart"):
        run(RPIE(epochs=1), problem, replace(start, object=start.object.repeat(2, 1, 1)))


def test_settling_steps_average_noise_out():
    made = known_scan(photons=3e4, side=9)
    problem = PtychographyProblem.of(made.scan)
    start = with_true_probe(problem, made.truth)
    settled = run(RPIE(epochs=60, update_probe=False), problem, start)
    restless = run(RPIE(epochs=60, update_probe=False, settle=0), problem, start)
    assert object_error(settled.estimate, made.truth, border=20) < 0.92 * object_error(
        restless.estimate, made.truth, border=20
    )
