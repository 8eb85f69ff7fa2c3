"""er, hio and cdi_raar keep to the laws their papers give them, and leave everything else alone."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

import exitwave as ew
from exitwave.data.errors import InputError
from exitwave.physics.support import shrink_wrap
from exitwave.problems.cdi import pattern_problem
from exitwave.running.checkpoints import Checkpoints
from exitwave.simulation.detection import Detection
from exitwave.simulation.isolated import simulate_pattern
from exitwave.solvers.base import Step
from scans import known_scan

SOLVERS = {"er": ew.ER, "hio": ew.HIO, "cdi_raar": ew.CDIRAAR}


def measured(photons=None, **flaws):
    noise = "poisson" if photons else "none"
    return simulate_pattern(
        frame_px=48, seed=3, detection=Detection(photons_per_frame=photons or 1e6, noise=noise, **flaws)
    )


@pytest.fixture(scope="module")
def made():
    return measured()


def steps(solver, problem, estimate):
    return list(solver.solve(problem, Step(epoch=0, estimate=estimate)))


@pytest.mark.parametrize("name", SOLVERS)
def test_the_truth_stays_the_truth(name, made):
    problem = pattern_problem(made.scan)
    truth = problem.started(replace(made.truth, support=made.truth.object.abs() > 0))
    last = steps(SOLVERS[name](epochs=20, shrink_every=0), problem, truth)[-1]
    assert float((last.estimate.object - truth.object).norm() / truth.object.norm()) < 1e-4
    assert last.residual < 1e-9


@pytest.mark.parametrize(
    ("name", "outside"),
    [
        ("er", lambda old, new: 0 * old),
        ("hio", lambda old, new: old - 0.8 * new),
        # Luke's reflections: beta / 2 (R_S R_M + 1) + (1 - beta) P_M, written out where the support is not.
        ("cdi_raar", lambda old, new: 0.8 / 2 * (-(2 * new - old) + old) + (1 - 0.8) * new),
    ],
)
def test_updates_are_those_of_the_papers_written_out_in_numpy(name, outside, made):
    problem = pattern_problem(made.scan)
    guess = problem.initial(None, ew.Setup())
    options = {} if name == "er" else {"beta": 0.8}
    last = steps(SOLVERS[name](epochs=5, shrink_every=0, **options), problem, guess)[-1]
    amplitude = np.sqrt(made.scan.frames(slice(None))[0].numpy().astype(float)) / problem.beam_photons**0.5
    support, obj = guess.support.numpy(), guess.object.numpy().astype(complex)
    for _ in range(5):
        wave = np.fft.fftshift(np.fft.fft2(obj, norm="ortho"))
        new = np.fft.ifft2(np.fft.ifftshift(amplitude * np.exp(1j * np.angle(wave))), norm="ortho")
        obj = np.where(support, new, outside(obj, new))
    assert np.allclose(last.state["iterate"].numpy(), obj, atol=2e-4)
    assert np.allclose(last.estimate.object.numpy(), np.where(support, new, 0), atol=2e-4)


def test_raar_without_relaxation_is_hio_with_full_feedback(made):
    problem = pattern_problem(made.scan)
    guess = problem.initial(None, ew.Setup())
    one = steps(ew.CDIRAAR(epochs=8, beta=1), problem, guess)[-1]
    other = steps(ew.HIO(epochs=8, beta=1), problem, guess)[-1]
    assert torch.equal(one.estimate.object, other.estimate.object)


def test_error_reduction_never_raises_the_residual_but_hio_does():
    problem = pattern_problem(measured(1e5).scan)
    guess = problem.initial(None, ew.Setup())
    falling = [step.residual for step in steps(ew.ER(epochs=60, shrink_every=0), problem, guess)]
    assert all(after <= before * (1 + 1e-5) for before, after in pairwise(falling))
    rising = [step.residual for step in steps(ew.HIO(epochs=60, shrink_every=0), problem, guess)]
    assert max(rising[10:]) > 2 * min(rising)


def test_a_rising_residual_of_hio_is_no_divergence(made):
    result = ew.reconstruct(made.scan, ew.chain(ew.ER(epochs=30), ew.HIO(epochs=60)))
    assert max(result.history[30:]) > 10 * min(result.history)
    assert result.provenance["ending"] == "finished"


def test_the_support_follows_the_object_with_a_falling_blur(made):
    problem = pattern_problem(made.scan)
    guess = problem.initial(None, ew.Setup())
    solver = ew.HIO(epochs=30, shrink_every=10, sigma_start_px=3, sigma_end_px=0.75, threshold=0.2)
    run = steps(solver, problem, guess)
    for epoch, step in enumerate(run, start=1):
        changed = not torch.equal(
            step.estimate.support, run[epoch - 2].estimate.support if epoch > 1 else guess.support
        )
        assert changed <= (epoch % 10 == 0)
        assert not bool(step.estimate.object[~step.estimate.support].any())
    for number, sigma in ((10, 3.0), (20, 1.5), (30, 0.75)):
        fitting, _ = problem.with_modulus(run[number - 2].state["iterate"])
        assert torch.equal(run[number - 1].estimate.support, shrink_wrap(fitting, sigma, 0.2))


def test_the_residual_reported_is_that_of_the_iterate(made):
    problem = pattern_problem(made.scan)
    first, second = steps(ew.ER(epochs=2, shrink_every=0), problem, problem.initial(None, ew.Setup()))
    assert second.residual == pytest.approx(problem.residual(first.estimate), rel=1e-4)


def test_a_checkpoint_in_the_middle_of_a_chain_goes_on_exactly(made, tmp_path):
    recipe = ew.chain(*(solver for _ in range(2) for solver in (ew.ER(epochs=4), ew.HIO(epochs=9), ew.ER(epochs=4))))
    straight = ew.reconstruct(made.scan, recipe)
    place = Checkpoints(path=tmp_path / "run.ckpt", every=1, resume=True)

    def interrupt(step, problem):
        if step.epoch == 9:
            raise KeyboardInterrupt

    ew.reconstruct(made.scan, recipe, checkpoints=place, watch=interrupt)
    resumed = ew.reconstruct(made.scan, recipe, checkpoints=place)
    assert resumed.history == straight.history
    assert torch.equal(resumed.estimate.object, straight.estimate.object)
    assert torch.equal(resumed.estimate.support, straight.estimate.support)


@pytest.mark.parametrize("name", [*SOLVERS, "cdi"])
def test_a_scan_is_refused_with_advice(name):
    with pytest.raises(
        InputError, match=r"is for one pattern of an isolated object, but this is a ptychography scan .* rpie"
    ):
        ew.reconstruct(known_scan(side=4).scan, ew.from_spec(name))


def test_methods_of_ptychography_refuse_one_pattern_with_advice(made):
    with pytest.raises(
        InputError, match=r"rpie is for a ptychography scan, but this is one pattern of an isolated object; cdi"
    ):
        ew.reconstruct(made.scan, ew.RPIE())
    with pytest.raises(InputError, match="mpie is for a ptychography scan"):
        ew.reconstruct(made.scan, ew.chain(ew.HIO(epochs=2), ew.MPIE(epochs=2)))


def test_modes_and_probes_are_refused(made):
    with pytest.raises(InputError, match="leave out modes"):
        ew.reconstruct(made.scan, ew.ER(), setup=ew.Setup(modes=2))
    with pytest.raises(InputError, match="leave out probe"):
        ew.reconstruct(made.scan, ew.ER(), probe=known_scan().truth.probe)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exposure_m": (1e-6, 0.0)}, "leave out exposure_m"),
        ({"slices": 2, "slice_spacing_m": 1e-6}, "leave out slices"),
    ],
)
def test_what_only_a_scan_can_have_is_refused(made, options, message):
    with pytest.raises(InputError, match=message):
        ew.reconstruct(made.scan, ew.ER(), setup=ew.Setup(**options))


def test_refinements_are_refused_by_name(made):
    with pytest.raises(
        InputError, match=r"refined \(brightness, positions\) is for a ptychography scan, but this is one pattern .* er"
    ):
        ew.reconstruct(made.scan, ew.Refined(solver=ew.ER(), refine_positions=True, refine_brightness=True))
