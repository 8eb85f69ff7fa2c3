"""LSQML: its step lengths are the least-squares ones, its batches what they say, and it converges where PIE crawls."""

from dataclasses import replace

import pytest
import torch

from exitwave.physics.kernels import reference
from exitwave.problems.initial_guess import first_guess, with_slices
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.setup import Setup
from exitwave.problems.sweep import Sweep
from exitwave.problems.window_updates import object_direction
from exitwave.solvers.base import Step
from exitwave.solvers.ptychography.lsqml import LSQML, _lengths
from exitwave.solvers.ptychography.pie import RPIE
from scans import known_scan, object_error


def last(solver, problem, estimate):
    return list(solver.solve(problem, Step(epoch=0, estimate=estimate)))[-1]


def test_step_lengths_minimise_the_linearised_misfit_of_the_batch():
    made = known_scan(side=4, modes=2)
    problem = PtychographyProblem.of(made.scan)
    x = first_guess(problem, modes=2)
    x.object.mul_(torch.polar(torch.ones_like(x.object.real), 0.3 * torch.rand_like(x.object.real)))
    frames = torch.tensor([1, 5, 6, 9])
    sweep = Sweep(problem, x)
    sums = sweep.over(frames)
    probe_step = sums.probe_descent / sums.probe_weight.max()
    slope_p = float((probe_step.conj() * sums.probe_descent).real.sum())
    curvature_p = float((probe_step.abs().square() * sums.probe_weight).sum())
    floor = 0.1 * sums.max_illumination
    curvature_o, slope_o, shared = object_direction(sweep, frames, probe_step, share=0.9, floor=floor)
    at_detector = problem.model.propagate(problem.model.exit_waves(x, frames))
    stack, index = problem.amplitude_stack(frames)
    reference.impose_modulus_(at_detector, stack, index, problem.trusted, torch.zeros_like(problem.trusted))
    wanted = problem.model.backpropagate(at_detector)
    by_object = problem.model.exit_waves(replace(x, object=sums.object_descent), frames).flatten()
    by_probe = problem.model.exit_waves(replace(x, probe=probe_step), frames).flatten()
    columns = torch.view_as_real(torch.stack([by_object, by_probe])).flatten(1).double().T
    best = torch.linalg.lstsq(columns, torch.view_as_real(wanted.flatten()).flatten().double()).solution
    found = _lengths(curvature_o, curvature_p, shared, slope_o, slope_p, damping=0.0)
    assert found == pytest.approx(best.tolist(), rel=1e-3)


def test_without_a_probe_direction_the_object_still_moves():
    assert _lengths(4.0, 0.0, 0.0, 2.0, 0.0, damping=0.0) == pytest.approx((0.5, 0.0))


@pytest.mark.parametrize("grouping", ["random", "sparse", "compact"])
def test_every_frame_is_in_exactly_one_batch_whatever_the_grouping(grouping):
    problem = PtychographyProblem.of(known_scan(side=7).scan)
    batches = list(LSQML(batch=8, grouping=grouping)._batches(problem, 3))
    assert sorted(torch.cat(batches).tolist()) == list(range(len(problem)))
    assert max(len(batch) for batch in batches) <= 8


def test_compact_batches_are_neighbours_and_sparse_ones_are_not():
    problem = PtychographyProblem.of(known_scan(side=10, frame=16, step=6.0).scan)

    def nearest(grouping: str) -> float:
        found = []
        for epoch in range(5):
            for batch in LSQML(batch=10, grouping=grouping)._batches(problem, epoch):
                places = problem.positions_px[batch]
                found.append(torch.cdist(places, places).fill_diagonal_(1e9).amin(dim=1).mean())
        return float(torch.stack(found).mean())

    assert nearest("compact") < 0.8 * nearest("random") < 0.8 * nearest("sparse")


def test_it_mends_large_slow_errors_in_fewer_epochs_than_rpie():
    made = known_scan(side=8)
    problem = PtychographyProblem.of(made.scan)
    start = replace(first_guess(problem), probe=made.truth.probe)
    solvers = (LSQML(epochs=30, update_probe=False, batch=16, regularisation=0.02), RPIE(epochs=30, update_probe=False))
    errors = [object_error(last(solver, problem, start).estimate, made.truth) for solver in solvers]
    assert errors[0] < 0.7 * errors[1]


def test_a_known_probe_without_noise_gives_the_object():
    made = known_scan(side=7)
    problem = PtychographyProblem.of(made.scan)
    start = replace(first_guess(problem), probe=made.truth.probe)
    result = last(LSQML(epochs=100, update_probe=False, batch=16), problem, start)
    assert object_error(result.estimate, made.truth) < 0.01
    assert torch.equal(result.estimate.probe, made.truth.probe)


def test_the_truth_stays():
    made = known_scan(side=5)
    problem = PtychographyProblem.of(made.scan)
    start = replace(made.truth, positions_px=problem.positions_px)
    result = last(LSQML(epochs=5), problem, start)
    assert object_error(result.estimate, made.truth) < 1e-3
    assert result.residual < 1e-8


def test_four_slices_go_down_together():
    problem = PtychographyProblem.of(known_scan(side=5).scan)
    start = with_slices(first_guess(problem), Setup(slices=4, slice_spacing_m=1e-7))
    course = [step.residual for step in LSQML(epochs=8, batch=16).solve(problem, Step(epoch=0, estimate=start))]
    assert course[-1] < 0.1 * course[0]
