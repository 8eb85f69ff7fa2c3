"""Sparse objects with hard edges behind a beam stop: what `cdi` makes of them, and the means it has for it."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

import exitwave as ew
from exitwave.data.errors import DoubtfulImageWarning, InputError
from exitwave.evaluation.cdi_alignment import register_twin
from exitwave.problems.cdi import pattern_problem
from exitwave.simulation.isolated import simulate_pattern
from exitwave.solvers.base import Step
from scans import known_print

SHORT = ew.CDI(starts=4, hio=160)


def run(solver, problem):
    return list(solver.solve(problem, Step(epoch=0, estimate=problem.initial(None, ew.Setup()))))


def agreement(x, truth):
    return register_twin(x.object, truth).correlation


@pytest.mark.parametrize("centre_px", [(0.0, 0.0), (0.4, -1.3)])
def test_letters_behind_a_beam_stop_are_found_with_nothing_said(centre_px):
    made = known_print(centre_px=centre_px)
    problem = pattern_problem(made.pattern)
    last = run(SHORT, problem)[-1]
    assert last.epoch == SHORT.epochs
    assert agreement(last.estimate, made.object) > 0.98
    assert float(last.estimate.support.sum()) < 1.7 * float((made.object.abs() > 0).sum())
    assert problem.residual(last.estimate, held_out=True) < 3 * problem.residual(last.estimate)


def test_an_object_with_phases_needs_a_support_that_is_known(tmp_path):
    made = known_print(phase=3.0)
    np.save(tmp_path / "support.npy", (made.object.abs() > 0).numpy())
    problem = pattern_problem(made.pattern, support=str(tmp_path / "support.npy"))
    last = run(SHORT, problem)[-1]
    assert agreement(last.estimate, made.object) > 0.95
    assert not bool((last.estimate.support & ~problem.first_support).any())


def test_a_positive_object_stays_real_and_positive():
    problem = pattern_problem(known_print().pattern)
    for step in run(ew.chain(ew.HIO(epochs=4, positive=True), ew.ER(epochs=4, positive=True)), problem):
        assert not bool(step.estimate.object.imag.any())
        assert float(step.estimate.object.real.min()) == 0.0


def test_an_adaptive_threshold_needs_pixels_held_out():
    problem = pattern_problem(simulate_pattern(frame_px=48, seed=3).scan)
    with pytest.raises(InputError, match="state a free fraction"):
        run(ew.HIO(epochs=20, adaptive_threshold=True), problem)


def test_an_adaptive_support_takes_no_more_than_a_part_away_at_once():
    problem = pattern_problem(known_print().pattern)
    steps = run(ew.HIO(epochs=30, shrink_every=5, adaptive_threshold=True, positive=True), problem)
    sizes = [int(problem.first_support.sum()), *(int(step.estimate.support.sum()) for step in steps[4::5])]
    assert all(after >= 0.69 * before for before, after in pairwise(sizes))
    assert sizes[-1] < sizes[0]


def test_momentum_gets_further_in_as_many_epochs_and_goes_on_exactly():
    made = known_print()
    problem = pattern_problem(made.pattern)
    start = problem.estimate(torch.where(made.object.abs() > 0, 0.5 + 0j, 0.0), made.object.abs() > 0)
    ends = {}
    for momentum in (False, True):
        solver = ew.ER(epochs=40, shrink_every=0, momentum=momentum)
        steps = list(solver.solve(problem, Step(epoch=0, estimate=start)))
        ends[momentum] = problem.residual(steps[-1].estimate)
    assert ends[True] < ends[False]
    *_, again = solver.solve(problem, steps[17])
    assert torch.equal(again.estimate.object, steps[-1].estimate.object)


def test_partial_coherence_that_is_stated_is_no_misfit():
    made = known_print(blur_px=0.8, photons=1e9)
    misfits = {}
    for blur_px in (0.0, 0.8):
        problem = pattern_problem(made.pattern, blur_px=blur_px)
        scale = problem.amplitudes.norm() / (problem.seen(made.object) * (problem.trusted + problem.held_out)).norm()
        x = problem.estimate(made.object * scale, made.object.abs() > 0)
        misfits[blur_px] = problem.residual(x)
        better = run(ew.ER(epochs=10, shrink_every=0), problem)[-1]
        assert better.residual < 1
        fitting, misfit = problem.with_modulus(x.object)
        assert misfit == pytest.approx(misfits[blur_px] * problem.power, rel=1e-2)
        closer = problem.residual(replace(x, object=fitting))
        assert closer < misfits[blur_px]
    assert misfits[0.8] < 0.05 * misfits[0.0]


def test_a_symmetrised_pattern_is_said_to_be_one():
    with pytest.warns(DoubtfulImageWarning, match="it was symmetrised"):
        ew.reconstruct(known_print(symmetrised=True).pattern, ew.CDI(starts=1, cycles=1, er=0, hio=1, finish=0))


def test_cdi_is_the_default_for_one_pattern():
    assert isinstance(ew.default_solver(known_print().pattern), ew.CDI)
    assert not isinstance(ew.default_solver(), ew.CDI)
