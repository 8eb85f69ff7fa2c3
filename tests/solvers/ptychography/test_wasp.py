"""WASP: the paper's epoch for a known probe, fixed points, and problems with a known answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.simulation.measure import simulate
from exitwave.solvers.base import Step
from exitwave.solvers.ptychography.wasp import WASP
from scans import known_scan, object_error, smooth_field


@pytest.fixture(scope="module")
def known():
    return known_scan()


def last(solver, problem, start):
    return list(solver.solve(problem, Step(epoch=0, estimate=start)))[-1]


def with_true_probe(problem, truth):
    return PtychoEstimate(
        object=torch.ones(1, *problem.object_shape, dtype=torch.complex64),
        probe=truth.probe,
        positions_px=truth.positions_px,
    )


def test_two_epochs_with_a_known_probe_are_those_of_the_paper(known):
    problem = PtychographyProblem.of(known.scan, seed=4)
    turned = torch.polar(
        torch.ones(problem.object_shape), torch.from_numpy(smooth_field(problem.object_shape, 9)).float()
    )
    # Light everywhere in the window: what only a faint rim says depends on rounding.
    bright = known.truth.probe + 0.3 * known.truth.probe.abs().max()
    start = replace(known.truth, object=turned[None], probe=bright)
    probe, obj = start.probe[0].numpy().astype(complex), turned.numpy().astype(complex)
    patterns = known.scan.frames(slice(None)).numpy()
    power = np.abs(probe) ** 2
    for epoch in (1, 2):
        total, weight = np.zeros_like(obj), np.zeros(obj.shape)
        for batch in problem.batches(1, epoch):
            y, x = start.positions_px[int(batch)].round().to(torch.int64).tolist()
            window = np.s_[y : y + 32, x : x + 32]
            wave = probe * obj[window]
            amplitude = np.sqrt(np.fft.ifftshift(patterns[int(batch)]) * 32 * 32)
            fitted = np.fft.ifft2(amplitude * np.exp(1j * np.angle(np.fft.fft2(wave))))
            obj[window] += probe.conj() * (fitted - wave) / (power + 2 * power.mean())
            total[window] += probe.conj() * fitted
            weight[window] += power
        obj = np.where(weight > 0, total / np.maximum(weight, 1e-30), obj)
    solver = WASP(epochs=2, batch=1, update_probe=False, max_amplitude=100)
    ours = last(solver, problem, start).estimate.object[0].numpy()
    assert np.allclose(ours, obj, atol=2e-3)


@pytest.mark.parametrize("whole", [True, False])
def test_started_at_the_truth_it_stays_there(whole):
    made = known_scan(whole=whole, side=5, modes=2)
    step = last(WASP(epochs=10), PtychographyProblem.of(made.scan), made.truth)
    assert object_error(step.estimate, made.truth) < 1e-3
    assert step.residual < 1e-6


def test_noise_free_data_with_a_known_probe_give_the_object(known):
    problem = PtychographyProblem.of(known.scan)
    step = last(WASP(epochs=80, update_probe=False), problem, with_true_probe(problem, known.truth))
    assert object_error(step.estimate, known.truth) < 0.02


@pytest.mark.parametrize("batch", [1, 16])
def test_a_somewhat_wrong_probe_is_put_right_with_the_object(batch):
    made = known_scan(side=6, step=6.0)
    problem = PtychographyProblem.of(made.scan)
    wrong = made.truth.probe * torch.polar(
        0.8 + 0.4 * torch.from_numpy(smooth_field((32, 32), 5)).float(),
        0.6 * torch.from_numpy(smooth_field((32, 32), 6)).float(),
    )
    start = replace(with_true_probe(problem, made.truth), probe=wrong)
    solver = WASP(epochs=40, batch=batch)
    assert (
        last(solver, problem, start).residual
        < 0.02 * last(replace(solver, update_probe=False), problem, start).residual
    )


def test_a_probe_that_starts_beside_the_middle_is_brought_back(known):
    problem = PtychographyProblem.of(known.scan)
    aside = replace(
        known.truth, probe=known.truth.probe.roll((3, -2), (1, 2)), object=known.truth.object.roll((3, -2), (1, 2))
    )
    recentred = last(WASP(epochs=2, probe_start=0), problem, aside)
    assert object_error(recentred.estimate, known.truth) < 1e-3
    kept = last(WASP(epochs=2, probe_start=0, recentre=False), problem, aside)
    assert object_error(kept.estimate, aside) < 0.02
    assert object_error(kept.estimate, known.truth) > 0.1


def test_pixels_far_brighter_than_the_rest_are_cut_off(known):
    problem = PtychographyProblem.of(known.scan)
    start = with_true_probe(problem, known.truth)
    free = last(WASP(epochs=3, update_probe=False, max_amplitude=100), problem, start).estimate.object.abs()
    cut = last(WASP(epochs=3, update_probe=False, max_amplitude=1.2), problem, start).estimate.object.abs()
    assert float(cut.max()) < 0.95 * float(free.max())


def test_in_the_near_field_the_probe_keeps_its_place():
    made = simulate("grf", frame_px=32, frames=25, overlap=0.7, focus_distance_m=2e-3, distance_m=1.0, seed=1)
    problem = PtychographyProblem.of(made.scan)
    aside = replace(made.truth, probe=made.truth.probe.roll((3, -2), (1, 2)))
    seen = replace(problem, _amplitudes=problem.model.intensity(aside, torch.arange(len(problem))).sqrt())
    step = last(WASP(epochs=2, probe_start=0), seen, aside)
    assert step.residual < 1e-6


def test_variations_of_the_probe_move_along_with_it():
    made = known_scan(side=5)
    problem = PtychographyProblem.of(made.scan)
    axis = (torch.arange(32) - 16) / 10
    weights = 0.3 * torch.randn(len(problem), 1, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    varying = replace(made.truth, variations=made.truth.probe * axis, weights=weights)
    seen = replace(problem, _amplitudes=problem.model.intensity(varying, torch.arange(len(problem))).sqrt())
    aside = replace(
        varying,
        probe=varying.probe.roll((3, -2), (1, 2)),
        object=varying.object.roll((3, -2), (1, 2)),
        variations=varying.variations.roll((3, -2), (1, 2)),
    )
    assert last(WASP(epochs=2, probe_start=0), seen, aside).residual < 1e-3
