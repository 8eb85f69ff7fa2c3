"""Rocking curves phased in three dimensions: the crystal is found, by guided starts, too, and with it what blurs the pattern."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import exitwave as ew
from exitwave.data.estimate import BraggEstimate
from exitwave.evaluation.cdi_alignment import register_twin
from exitwave.problems.bragg import BraggProblem, rocking_problem
from exitwave.solvers.base import Step
from exitwave.solvers.cdi.multistart import BestOf
from rocked_crystals import SIZE, counts, curve, octahedron

SHORT = ew.CDI(starts=3, cycles=2, hio=80, er=10, finish=20, polish=10)


def begun(problem: BraggProblem) -> Step:
    return Step(epoch=0, estimate=problem.initial(None, ew.Setup()))


def last_of(solver, problem) -> Step:
    *_, last = solver.solve(problem, begun(problem))
    return last


def test_the_recipe_finds_a_strained_crystal_and_says_how_far_it_is_off():
    truth = octahedron(seed=1, span_rad=2.0)
    last = last_of(SHORT, rocking_problem(curve(counts(truth))))
    assert register_twin(last.estimate.object, truth).correlation > 0.99
    assert 0.9 < float(last.estimate.support.sum() / (truth != 0).sum()) < 1.3
    assert last.spread is not None
    assert last.epoch == SHORT.epochs


def test_a_crystal_has_a_lower_threshold_than_an_image_where_none_is_stated():
    problem = rocking_problem(curve(counts(octahedron())))
    assert {stage.threshold for stage in ew.CDI().recipe_for(problem).member.leaf_solvers()} == {0.12}
    assert {stage.threshold for stage in ew.CDI(threshold=0.3).recipe_for(problem).member.leaf_solvers()} == {0.3}
    assert {stage.threshold for stage in ew.CDI().recipe.member.leaf_solvers()} == {0.2}


def test_some_voxels_are_always_held_out():
    assert 0.02 < float(rocking_problem(curve(counts(octahedron()))).held_out.double().mean()) < 0.04


GUIDED = BestOf(
    member=ew.chain(ew.HIO(epochs=6, shrink_every=3, threshold=0.12), ew.ER(epochs=3, threshold=0.12)),
    starts=2,
    generations=2,
    polish=3,
)


def test_guided_starts_begin_at_what_they_found_drawn_to_the_best():
    problem = rocking_problem(curve(counts(octahedron())))
    steps = list(GUIDED.solve(problem, begun(problem)))
    assert len(steps) == GUIDED.total_epochs == 2 * 2 * 9 + 3
    first, last = steps[17].state, steps[-1].state
    ((correlation, worse),) = last["best_of.found.first"].tolist()
    best, other = (first[f"best_of.found.{i}.object"] for i in range(2))
    # What they agree by themselves, before they were drawn together.
    assert correlation == pytest.approx(register_twin(other, best).correlation, abs=1e-4)
    assert worse >= 1
    drawn = [last[f"best_of.found.{i}.object"] for i in range(2)]
    assert register_twin(drawn[1], drawn[0]).correlation > correlation


@pytest.mark.parametrize("at", [5, 17, 18, 24, 35, 37])
def test_guided_starts_go_on_as_if_they_had_never_stopped(at):
    problem = rocking_problem(curve(counts(octahedron())))
    steps = list(GUIDED.solve(problem, begun(problem)))
    rest = list(GUIDED.solve(problem, steps[at - 1]))
    assert [step.epoch for step in rest] == [step.epoch for step in steps[at:]]
    assert torch.equal(rest[-1].estimate.object, steps[-1].estimate.object)


@pytest.mark.parametrize("wide", [(1.2, 0.7, 0.7), (0.8, 1.2, 0.6)])
def test_a_blur_by_partial_coherence_is_found_to_a_tenth(wide):
    truth = octahedron(seed=1)
    problem = rocking_problem(curve(counts(truth, blur_px=wide)))
    x = problem.estimate(truth, truth != 0)
    for _ in range(8):
        x = replace(x, coherence=problem.refitted_blur(x, 9))
    ruler = torch.arange(9) - 4.0
    lines = (x.coherence.sum(dim=[a for a in range(3) if a != axis]) for axis in range(3))
    widths = [float((line * ruler.square()).sum().sqrt()) for line in lines]
    assert widths == pytest.approx(wide, rel=0.1)


def test_partial_coherence_found_with_the_crystal_makes_it_better():
    truth = octahedron(seed=2)
    problem = rocking_problem(curve(counts(truth, blur_px=(1.2, 0.7, 0.7))))
    coherent, found = (last_of(replace(SHORT, starts=1, coherence_every=every), problem) for every in (0, 10))
    off = [1 - register_twin(step.estimate.object, truth).correlation for step in (coherent, found)]
    assert off[1] < off[0] / 2
    assert problem.residual(found.estimate) < problem.residual(coherent.estimate) / 2


def test_the_kernel_of_coherence_stays_in_results_and_starts(tmp_path):
    measured = curve(counts(octahedron(), blur_px=(1, 1, 1)))
    solver = ew.ER(epochs=4, coherence_every=2)
    result = ew.reconstruct(measured, solver, setup=ew.Setup(as_is=True), progress=False)
    ew.write(result, tmp_path / "crystal.h5")
    read = ew.read_result(tmp_path / "crystal.h5").estimate
    assert isinstance(read, BraggEstimate)
    assert torch.equal(read.coherence, result.estimate.coherence)
    problem = rocking_problem(measured)
    assert problem.residual(problem.started(read)) == pytest.approx(result.residual, rel=1e-4)


@pytest.mark.parametrize("kind", ["npy", "h5", "sphere"])
def test_a_stated_support_holds_on_three_axes(tmp_path, kind):
    import h5py

    ball = np.square(np.indices((SIZE,) * 3) - SIZE // 2).sum(axis=0) <= 8**2
    path = tmp_path / f"support.{kind}"
    stated = {"npy": str(path), "h5": f"{path}:/crystal/support", "sphere": "sphere:8"}[kind]
    if kind == "npy":
        np.save(path, ball)
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["crystal/support"] = ball.astype(np.uint8)
    problem = rocking_problem(curve(counts(octahedron())), support=stated)
    assert problem.support_is_known
    assert torch.equal(problem.first_support, torch.from_numpy(ball))
    found = last_of(ew.ER(epochs=20, shrink_every=5, threshold=0.05), problem).estimate.support
    assert not bool((found & ~problem.first_support).any())
