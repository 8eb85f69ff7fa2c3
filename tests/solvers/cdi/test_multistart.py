"""Several starts: the object is found, the mean is better than its parts, and what is asked of chance is kept."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

import exitwave as ew
from exitwave.data.estimate import SupportEstimate
from exitwave.evaluation.cdi_alignment import register_twin
from exitwave.physics.fourier import conjugate_inverse
from exitwave.problems.cdi import SupportProblem, pattern_problem
from exitwave.simulation.detection import Detection
from exitwave.simulation.isolated import Simulated, simulate_pattern
from exitwave.solvers.base import Solver, Step

SHORT = ew.CDI(starts=5, keep=3, cycles=2, hio=120, er=20, finish=20)


def measured(photons: float, seed: int = 1, **flaws) -> Simulated:
    return simulate_pattern(frame_px=56, seed=seed, detection=Detection(photons_per_frame=photons, **flaws))


def agreement(x: SupportEstimate, truth: SupportEstimate) -> float:
    return register_twin(x.object, truth.object).correlation


def last_of(method, problem) -> Step:
    *_, last = method.solve(problem, Step(epoch=0, estimate=problem.initial(None, ew.Setup())))
    return last


@cache
def run(photons: float) -> tuple[Simulated, Step]:
    made = measured(photons)
    return made, last_of(SHORT, pattern_problem(made.scan))


@pytest.mark.parametrize(("photons", "expected"), [(1e6, 0.98), (1e7, 0.99), (1e8, 0.999)])
def test_the_best_of_five_starts_is_the_object(photons, expected):
    made, last = run(photons)
    assert last.epoch == SHORT.epochs == 5 * (2 * 160 + 20)
    assert agreement(last.estimate, made.truth) > expected
    area = float(last.estimate.support.sum()) / float(made.truth.support.sum())
    assert 0.9 < area < 1.25


def test_the_mean_is_nearer_to_the_truth_than_any_of_its_parts():
    made, last = run(1e6)
    parts = [replace(last.estimate, object=last.state[f"best_of.found.{i}.object"]) for i in range(3)]
    alone = [agreement(part, made.truth) for part in parts]
    assert agreement(last.estimate, made.truth) > max(alone)
    assert min(alone) > 0.95
    kept = last.state["best_of.found.residuals"]
    assert torch.equal(kept, kept.sort().values)


def test_the_spread_tells_how_far_the_mean_is_off():
    made, last = run(1e6)
    laid = register_twin(last.estimate.object, made.truth.object)
    factor = torch.vdot(laid.image.flatten(), made.truth.object.flatten()) / laid.image.norm() ** 2
    inside = made.truth.support
    off = (laid.image * factor - made.truth.object)[inside].abs().square().mean().sqrt()
    told = last.spread.object[last.estimate.support].abs().square().mean().sqrt() * factor.abs()
    assert 0.2 < float(told / off) < 3


def test_a_beam_stop_is_overcome():
    made = measured(1e7, beam_stop_radius_px=1.5)
    assert not bool(made.scan.mask.all())
    assert agreement(last_of(SHORT, pattern_problem(made.scan)).estimate, made.truth) > 0.98


def test_the_free_residual_sees_a_support_that_is_too_loose_where_the_residual_does_not():
    made = measured(1e6)
    tight, loose = (
        ew.reconstruct(
            made.scan,
            ew.CDI(starts=2, keep=1, cycles=2, hio=100, threshold=threshold),
            setup=ew.Setup(free_fraction=0.05),
        )
        for threshold in (0.2, 0.04)
    )
    assert loose.residual < tight.residual
    assert loose.free_residual > 2 * tight.free_residual
    assert agreement(tight.estimate, made.truth) > 0.95 > agreement(loose.estimate, made.truth)


def test_twins_and_shifts_of_one_object_average_to_it():
    made = measured(1e8)
    problem = pattern_problem(made.scan)
    truth = problem.started(made.truth)

    class Posed(Solver[SupportEstimate]):
        """Gives the truth in another pose from each start."""

        name = "posed_for_a_test"
        solves = SupportProblem

        def solve(self, problem, start):
            number = (problem.seed // 1000) % 3
            moved = torch.roll(truth.object, (2 * number, -3 * number), (0, 1)) * 1j**number
            obj = conjugate_inverse(moved) if number == 1 else moved
            estimate = replace(truth, object=obj, support=obj.abs() > 0.05)
            yield Step(epoch=1, estimate=estimate, residual=0.0)

    last = last_of(ew.BestOf(member=Posed(), starts=3, keep=3), problem)
    assert agreement(last.estimate, made.truth) > 0.9999
    assert float(last.spread.object.abs().max()) < 0.01


def test_starts_that_found_something_else_are_left_out_of_the_mean():
    made = measured(1e8)
    problem = pattern_problem(made.scan)
    truth = problem.started(made.truth)

    class Lost(Solver[SupportEstimate]):
        """Finds the truth from the first start and nothing from the others."""

        name = "lost_for_a_test"
        solves = SupportProblem

        def solve(self, problem, start):
            yield Step(
                epoch=1, estimate=truth if problem.seed < 1000 else problem.initial(None, ew.Setup()), residual=0.0
            )

    last = last_of(ew.BestOf(member=Lost(), starts=3, keep=3), problem)
    assert agreement(last.estimate, made.truth) > 0.9999
    assert last.spread is None


def test_the_recipe_is_the_published_one():
    stages = ew.CDI(finish=0).recipe.member.stages
    assert [(stage.name, stage.epochs) for stage in stages] == 3 * [("er", 20), ("hio", 240), ("er", 20)]
    blurs = [sigma for stage in stages for sigma in (stage.sigma_start_px, stage.sigma_end_px)]
    assert blurs == sorted(blurs, reverse=True)
    assert (blurs[0], blurs[-1]) == (3.0, pytest.approx(1.0))


def test_a_good_start_is_the_first_of_the_starts():
    made = measured(1e7)
    problem = pattern_problem(made.scan)
    truth = problem.started(made.truth)
    *_, last = ew.BestOf(member=ew.ER(epochs=2, shrink_every=0), starts=2, keep=1).solve(
        problem, Step(epoch=0, estimate=truth)
    )
    assert agreement(last.estimate, made.truth) > 0.999


def test_an_ensemble_lays_its_members_onto_one_another_and_its_mean_is_no_blur():
    made = measured(1e7)
    member = ew.CDI(starts=3, keep=1, cycles=2, hio=80, er=20, finish=20)
    result = ew.reconstruct(made.scan, ew.ensemble(member, size=3))
    assert agreement(result.estimate, made.truth) > 0.9
    assert result.spread.object.shape == result.estimate.object.shape
    inside = result.estimate.support
    # Members that were not brought to one place and twin would differ as much as they are large.
    assert 0 < float(result.spread.object[inside].norm() / result.estimate.object[inside].norm()) < 0.3
    assert not bool(result.estimate.object[~inside].any())
    assert float(inside.sum()) < 2 * float(made.truth.support.sum())


def test_members_of_an_ensemble_have_starts_of_their_own():
    problem = pattern_problem(measured(1e7).scan, seed=4)
    begun: list[tuple[int, Tensor]] = []

    class Noted(Solver[SupportEstimate]):
        """Notes where it begins."""

        name = "noted_for_a_test"
        solves = SupportProblem

        def solve(self, problem, start):
            begun.append((problem.seed, start.estimate.object))
            yield Step(epoch=1, estimate=start.estimate, residual=0.0)

    last_of(ew.ensemble(ew.BestOf(member=Noted(), starts=3, keep=1), size=2), problem)
    assert [seed for seed, _ in begun] == [4 + 1000 * n for n in range(6)]
    assert len({float(start.abs().square().sum()) for _, start in begun}) == 6


def test_an_ensemble_goes_on_exactly_from_the_middle_of_any_member():
    problem = pattern_problem(measured(1e7).scan)
    solver = ew.ensemble(ew.chain(ew.HIO(epochs=2, shrink_every=2), ew.ER(epochs=1)), size=3)
    steps = list(solver.solve(problem, Step(epoch=0, estimate=problem.initial(None, ew.Setup()))))
    assert len(steps) == 9
    for number in range(8):
        *_, last = solver.solve(problem, steps[number])
        assert torch.equal(last.estimate.object, steps[-1].estimate.object)
        assert torch.equal(last.estimate.support, steps[-1].estimate.support)
        assert torch.equal(last.spread.object, steps[-1].spread.object)
