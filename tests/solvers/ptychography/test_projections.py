"""DM, RAAR and AP: their laws, their limits, and problems with a known answer."""

import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.ptychography import Ptychography
from exitwave.problems.initial_guess import first_guess
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.solvers.base import Step
from exitwave.solvers.ptychography.projections import AP, DM, RAAR
from scans import known_scan, object_error, smooth_field


@pytest.fixture(scope="module")
def known():
    return known_scan()


def steps_of(solver, problem, start):
    return list(solver.solve(problem, Step(epoch=0, estimate=start)))


def last(solver, problem, start):
    return steps_of(solver, problem, start)[-1]


def with_true_probe(problem, truth):
    return PtychoEstimate(
        object=torch.ones(1, *problem.object_shape, dtype=torch.complex64),
        probe=truth.probe,
        positions_px=truth.positions_px,
    )


EACH = pytest.mark.parametrize(
    "solver", [DM(epochs=10), RAAR(epochs=10), AP(epochs=10)], ids=lambda solver: solver.name
)


@EACH
@pytest.mark.parametrize("whole", [True, False])
def test_started_at_the_truth_it_stays_there(solver, whole):
    made = known_scan(whole=whole, side=5, modes=2)
    step = last(solver, PtychographyProblem.of(made.scan), made.truth)
    assert object_error(step.estimate, made.truth) < 1e-3
    assert step.residual < 1e-6


def test_raar_with_beta_one_equals_the_difference_map_exactly(known):
    problem = PtychographyProblem.of(known.scan)
    start = first_guess(problem)
    same = {"epochs": 6, "relax": 0.0, "finish": 2}
    one, other = last(RAAR(beta=1, **same), problem, start), last(DM(alpha=1, **same), problem, start)
    assert torch.equal(one.estimate.object, other.estimate.object)
    assert torch.equal(one.estimate.probe, other.estimate.probe)


def test_difference_map_without_reflection_equals_alternating_projections(known):
    problem = PtychographyProblem.of(known.scan)
    start = with_true_probe(problem, known.truth)
    one = last(DM(epochs=5, alpha=0, relax=0, finish=0, update_probe=False), problem, start)
    other = last(AP(epochs=5, update_probe=False), problem, start)
    assert torch.allclose(one.estimate.object, other.estimate.object, atol=1e-5)


@pytest.mark.parametrize(
    ("solver", "a", "b", "c"), [(DM(epochs=2, alpha=0.95), -0.95, 1, 1.95), (RAAR(epochs=2, beta=0.75), -0.5, 0.75, 2)]
)
def test_two_epochs_follow_the_general_form_of_projection_methods(known, solver, a, b, c):
    """psi <- (1 - a - b) psi + a O psi + b M [(1 - c) psi + c O psi]."""
    problem = PtychographyProblem.of(known.scan)
    # No empty aperture here: where a wave is exactly zero its phase is anybody's guess.
    turned = torch.polar(
        torch.ones(problem.object_shape), torch.from_numpy(smooth_field(problem.object_shape, 9)).float()
    )
    start = replace(known.truth, object=turned[None])
    ours = last(replace(solver, relax=0, finish=0, update_probe=False, inertia=1e-3), problem, start)
    probe, obj = start.probe[0].numpy().astype(complex), turned.numpy().astype(complex)
    windows = [np.s_[y : y + 32, x : x + 32] for y, x in start.positions_px.round().to(torch.int64).tolist()]
    measured = [np.sqrt(np.fft.ifftshift(p) * 32 * 32) for p in known.scan.frames(slice(None)).numpy()]
    lit = np.zeros(obj.shape)
    for window in windows:
        lit[window] += np.abs(probe) ** 2
    waves = [probe * obj[window] for window in windows]
    for _ in range(2):
        for j, window in enumerate(windows):
            overlap = probe * obj[window]
            spectrum = np.fft.fft2((1 - c) * waves[j] + c * overlap)
            fitted = np.fft.ifft2(measured[j] * np.exp(1j * np.angle(spectrum)))
            waves[j] = (1 - a - b) * waves[j] + a * overlap + b * fitted
        total = 1e-3 * lit.max() * obj
        for window, psi in zip(windows, waves, strict=True):
            total[window] += probe.conj() * psi
        obj = total / (lit + 1e-3 * lit.max())
    assert np.allclose(ours.estimate.object[0].numpy(), obj, atol=2e-3)


@pytest.mark.parametrize("update_probe", [False, True])
def test_the_residual_of_alternating_projections_only_falls(known, update_probe):
    problem = PtychographyProblem.of(known.scan)
    start = first_guess(problem) if update_probe else with_true_probe(problem, known.truth)
    history = [step.residual for step in steps_of(AP(epochs=40, update_probe=update_probe), problem, start)]
    assert all(after <= before * (1 + 1e-6) for before, after in pairwise(history))


@pytest.mark.parametrize(
    ("solver", "most"), [(DM(epochs=100), 0.02), (RAAR(epochs=80), 0.02), (AP(epochs=200), 0.02)], ids=str
)
def test_noise_free_data_with_a_known_probe_give_the_object(known, solver, most):
    problem = PtychographyProblem.of(known.scan)
    step = last(replace(solver, update_probe=False), problem, with_true_probe(problem, known.truth))
    assert object_error(step.estimate, known.truth) < most


@pytest.mark.parametrize("solver", [DM(epochs=60), RAAR(epochs=60)], ids=lambda solver: solver.name)
def test_a_somewhat_wrong_probe_is_put_right_with_the_object(solver):
    made = known_scan(side=6, step=6.0)
    problem = PtychographyProblem.of(made.scan)
    wrong = made.truth.probe * torch.polar(
        0.8 + 0.4 * torch.from_numpy(smooth_field((32, 32), 5)).float(),
        0.6 * torch.from_numpy(smooth_field((32, 32), 6)).float(),
    )
    start = replace(with_true_probe(problem, made.truth), probe=wrong)
    known_wrong = last(replace(solver, update_probe=False), problem, start)
    found = last(solver, problem, start)
    assert found.residual < 1e-4
    assert found.residual < 0.01 * known_wrong.residual


def test_several_modes_explain_partly_coherent_light_that_one_mode_cannot():
    made = known_scan(modes=2)
    problem = PtychographyProblem.of(made.scan)
    solver = RAAR(epochs=60, beta=0.9)
    one = last(solver, problem, first_guess(problem))
    two = last(solver, problem, first_guess(problem, modes=2))
    assert two.residual < 0.75 * one.residual


def test_sub_pixel_positions_are_used_not_rounded():
    made = known_scan(whole=False)
    problem = PtychographyProblem.of(made.scan)
    start = with_true_probe(problem, made.truth)
    solver = RAAR(epochs=40, update_probe=False)
    blunt = last(solver, problem, replace(start, positions_px=start.positions_px.round()))
    assert last(solver, problem, start).residual < 0.1 * blunt.residual


def test_a_fly_scan_is_explained_by_the_way_of_the_probe(known):
    way = torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=torch.float64).expand(len(known.scan), -1, -1)
    model = Ptychography.of(known.scan.geometry, known.scan.frame_shape, exposure_px=way)
    problem = PtychographyProblem.of(known.scan, model=model)
    photons = problem.model.intensity(known.truth, torch.arange(len(problem)))
    smeared = replace(problem, _amplitudes=photons.sqrt())
    step = last(DM(epochs=3, relax=0), smeared, known.truth)
    assert step.residual < 1e-6


def test_tolerance_keeps_the_difference_map_at_rest_when_photons_are_few():
    made = known_scan(photons=3e3, side=9)
    problem = PtychographyProblem.of(made.scan)
    start = with_true_probe(problem, made.truth)
    options = {"epochs": 80, "alpha": 1.0, "update_probe": False}
    tolerant = last(DM(**options, relax=1.0), problem, start)
    exact = last(DM(**options, relax=0.0), problem, start)
    assert object_error(tolerant.estimate, made.truth) < 0.7 * object_error(exact.estimate, made.truth)


def test_a_frame_within_its_photon_noise_is_left_alone(known):
    noisy = known_scan(photons=1e4)
    problem = PtychographyProblem.of(noisy.scan)
    step = last(DM(epochs=1, relax=100, finish=0), problem, noisy.truth)
    assert torch.equal(step.estimate.object, noisy.truth.object)
    assert step.residual > 1e-3


def test_the_finish_makes_the_difference_map_usable():
    made = known_scan(photons=1e5)
    problem = PtychographyProblem.of(made.scan)
    start = with_true_probe(problem, made.truth)
    options = {"epochs": 60, "alpha": 1.0, "relax": 0.0, "update_probe": False}
    finished, raw = last(DM(**options, finish=20), problem, start), last(DM(**options, finish=0), problem, start)
    assert problem.residual(finished.estimate) < 0.5 * problem.residual(raw.estimate)


@pytest.mark.parametrize("update_probe", [False, True])
def test_exit_waves_on_disk_give_the_same_image(known, update_probe, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    problem = PtychographyProblem.of(known.scan)
    solver = DM(epochs=4, finish=1, update_probe=update_probe)
    inside = last(solver, problem, first_guess(problem))
    outside = last(solver, replace(problem, spare_bytes=0), first_guess(problem))
    assert problem.wave_store(1).in_memory
    assert not replace(problem, spare_bytes=0).wave_store(1).in_memory
    assert torch.equal(inside.estimate.object, outside.estimate.object)
    assert not list(Path(tmp_path).iterdir())


@EACH
def test_the_probe_rests_before_its_start_and_when_it_is_known(known, solver):
    problem = PtychographyProblem.of(known.scan)
    start = first_guess(problem)
    few = replace(solver, epochs=3)
    assert torch.equal(last(replace(few, probe_start=3), problem, start).estimate.probe, start.probe)
    assert torch.equal(last(replace(few, update_probe=False), problem, start).estimate.probe, start.probe)
    assert not torch.equal(last(replace(few, probe_start=2), problem, start).estimate.probe, start.probe)
