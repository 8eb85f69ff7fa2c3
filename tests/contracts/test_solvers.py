"""What every registered solver must keep to, found through the registry: new solvers are tested without a line here."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import cast

import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.data.estimate import Estimate, PtychoEstimate
from exitwave.problems.base import Problem
from exitwave.problems.cdi import SupportProblem, pattern_problem
from exitwave.problems.initial_guess import first_guess, with_slices
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.refinement.background import with_background
from exitwave.problems.refinement.brightness import with_brightness
from exitwave.problems.refinement.variations import with_variations
from exitwave.problems.setup import Setup
from exitwave.running.reconstruct import reconstruct
from exitwave.running.train import train
from exitwave.simulation.isolated import simulate_pattern
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.cdi.multistart import CDI, BestOf
from exitwave.solvers.chain import Chain, chain
from exitwave.solvers.ensemble import Ensemble, ensemble
from exitwave.solvers.neural.network_solver import NetworkSolver
from exitwave.solvers.neural.trained_solver import TrainedSolver
from exitwave.solvers.neural.training_examples import TrainingExample
from exitwave.solvers.refined import Refined
from exitwave.solvers.registry import solvers
from exitwave.solvers.spec import from_spec, to_spec
from scans import known_particle, known_scan


def small(cls: type[Solver], epochs: int) -> Solver:
    if cls is Chain:
        return chain(from_spec({"name": "rpie", "epochs": 2}), from_spec({"name": "mpie", "epochs": epochs - 2}))
    if cls is Ensemble:
        return ensemble(from_spec({"name": "mpie", "epochs": epochs // 2, "batch": 4}), size=2)
    if cls is Refined:
        inner = from_spec({"name": "mpie", "epochs": epochs, "batch": 4})
        return Refined(
            solver=inner,
            refine_positions=True,
            variations=1,
            refine_brightness=True,
            refine_background=True,
            first_epoch=1,
        )
    if cls is BestOf:
        return BestOf(
            member=from_spec([{"name": "hio", "epochs": 1}, {"name": "er", "epochs": epochs // 2 - 1}]), starts=2
        )
    if cls is CDI:
        return CDI(starts=2, cycles=1, er=0, hio=epochs // 2 - 1, finish=1)
    return cls(epochs=epochs, stages=2, group=4) if issubclass(cls, NetworkSolver) else cls(epochs=epochs)


NETWORKS = sorted(name for name, cls in solvers().items() if issubclass(cls, NetworkSolver))
TAUGHT = sorted(name for name in NETWORKS if cast(type[NetworkSolver], solvers()[name]).learns_from_labels)
"""These have nothing to learn from in a scan at hand: they are trained first, below."""
ONE_PASS = {name for name, cls in solvers().items() if issubclass(cls, TrainedSolver)} - set(NETWORKS)
"""These come trained and have one epoch: tests/solvers/neural/test_autophasenn.py."""
NAMES = sorted(set(solvers()) - set(TAUGHT) - ONE_PASS)


VOLUME = " of a volume"
CASES = [*NAMES, *(name + VOLUME for name in NAMES if solvers()[name].solves is SupportProblem)]


def method(case: str) -> type[Solver]:
    return solvers()[case.removesuffix(VOLUME)]


@cache
def posed(kind: type[Problem], volume: bool) -> Problem:
    if volume:
        known = known_particle((24, 26, 28))
        return SupportProblem.from_intensity(known.pattern, known.intensity, seed=5)
    if kind is SupportProblem:
        return pattern_problem(simulate_pattern(frame_px=48, seed=2).scan, seed=5)
    return PtychographyProblem.of(known_scan(side=4, photons=1e5).scan, seed=5)


BEYOND: Mapping[str, Callable[[PtychographyProblem, PtychoEstimate], PtychoEstimate]] = {
    "slices": lambda problem, x: with_slices(x, Setup(slices=2, slice_spacing_m=1e-6)),
    "variations": lambda problem, x: with_variations(problem, x, 1),
    "brightness": with_brightness,
    "background": with_background,
}
"""Starts with more than object and probe."""


def guessed(problem: Problem) -> Estimate:
    return problem.initial(None, Setup())


@pytest.fixture
def problem(case):
    return posed(method(case).solves, case.endswith(VOLUME))


@pytest.fixture
def start(problem):
    return Step(epoch=0, estimate=guessed(problem))


def last_of(solver, problem, start, until=None):
    for step in solver.solve(problem, start):
        start = step
        if step.epoch == until:
            break
    return start


def assert_same(one: Estimate, other: Estimate) -> None:
    assert one.tensors().keys() == other.tensors().keys()
    for field, value in one.tensors().items():
        assert torch.equal(value, other.tensors()[field]), field


@pytest.mark.parametrize("case", CASES)
def test_residual_falls(case, problem, start):
    before = problem.residual(start.estimate)
    assert problem.residual(last_of(small(method(case), 6), problem, start).estimate) < 0.7 * before


@pytest.mark.parametrize("case", CASES)
def test_start_and_yielded_steps_are_left_alone(case, problem, start):
    kept = start.estimate.clone()
    steps = []
    copies = []
    for step in small(method(case), 4).solve(problem, start):
        steps.append(step)
        copies.append(step.estimate.clone())
    for was, now in zip([kept, *copies], [start.estimate, *(s.estimate for s in steps)], strict=True):
        assert_same(was, now)


@pytest.mark.parametrize("case", CASES)
def test_same_seed_same_image_other_seed_another_where_chance_plays_a_part(case, problem, start):
    solver = small(method(case), 4)
    one, again = (last_of(solver, problem, start).estimate.object for _ in range(2))
    assert torch.equal(one, again)
    other_problem = replace(problem, seed=6)
    # One pattern is worked on as a whole: chance only makes the start.
    begin = Step(epoch=0, estimate=guessed(other_problem)) if isinstance(problem, SupportProblem) else start
    other = last_of(solver, other_problem, begin).estimate.object
    assert torch.equal(one, other) != solver.seeded


@pytest.mark.parametrize("until", [1, 2, 3, 5])
@pytest.mark.parametrize("case", CASES)
def test_a_run_resumed_from_any_step_ends_exactly_as_one_that_never_stopped(case, until, problem, start):
    solver = small(method(case), 6)
    straight = last_of(solver, problem, start)
    resumed = last_of(solver, problem, last_of(solver, problem, start, until=until))
    assert resumed.epoch == straight.epoch == 6
    assert_same(straight.estimate, resumed.estimate)


@pytest.mark.parametrize(
    ("case", "what"), [(name, what) for name in NAMES for what in BEYOND if what in solvers()[name].unsupported]
)
def test_what_a_solver_cannot_do_it_refuses_by_name_without_the_driver_too(case, what, problem, start):
    more = replace(start, estimate=BEYOND[what](problem, start.estimate))
    with pytest.raises(InputError, match=f"{case} cannot reconstruct with {what} .*rpie.* can"):
        last_of(small(method(case), 4), problem, more)


@pytest.mark.parametrize("case", [case for case in CASES if case.endswith(VOLUME)])
def test_the_driver_takes_the_problem_of_a_volume(case, problem):
    result = reconstruct(problem, small(method(case), 6))
    assert result.estimate.object.shape == (24, 26, 28)
    assert result.residual == pytest.approx(problem.residual(result.estimate))


@pytest.mark.parametrize("name", sorted(solvers()))
def test_spec_round_trips_and_options_explain_themselves(name):
    solver = small(solvers()[name], 4)
    assert from_spec(to_spec(solver)) == solver
    assert (type(solver).__doc__ or "").strip()
    for option in type(solver).__pydantic_fields__.values():
        assert option.description, f"{name} has an option without a docstring"


KNOWN = known_scan(side=4, photons=1e5, jitter=0.1)
WARY = known_scan(side=4, photons=1e8, jitter=0.1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], NetworkSolver]:
    """The network of a solver after two epochs on one scan."""

    @cache
    def made(name: str) -> NetworkSolver:
        cls = cast(type[NetworkSolver], solvers()[name])
        folder = tmp_path_factory.mktemp(name)
        label = KNOWN.truth if cls.learns_from_labels else None
        example = TrainingExample(scan=KNOWN.scan, probe=KNOWN.truth.probe, label=label)
        return train(cls(epochs=2, group=4), [example], save=folder)

    return made


def begin(scan, solver, **more):
    problem = PtychographyProblem.of(scan, seed=5, margin_px=solver.margin_px)
    return problem, Step(epoch=0, estimate=first_guess(problem, probe=more.get("probe", KNOWN.truth.probe)))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_trained_network_predicts_the_same_image_every_time_and_leaves_the_start_alone(name, trained):
    problem, start = begin(KNOWN.scan, trained(name))
    kept = start.estimate.clone()
    (one,), (again,) = (list(trained(name).solve(problem, start)) for _ in range(2))
    assert one.epoch == 1
    assert_same(one.estimate, again.estimate)
    assert_same(kept, start.estimate)
    assert not torch.equal(one.estimate.object, kept.object)
    # Resumed after its one step it has nothing left to do.
    assert list(trained(name).solve(problem, one)) == []


@pytest.mark.parametrize("name", NETWORKS)
def test_a_trained_network_is_known_by_its_folder_and_round_trips(name, trained):
    solver = trained(name)
    assert from_spec(to_spec(solver)) == solver
    assert from_spec(solver.weights) == solver
    assert from_spec({"name": name, "weights": solver.weights}) == solver
    assert from_spec({"name": solver.weights, "frames_per_batch": 4}) == replace(solver, frames_per_batch=4)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_trained_network_is_a_stage_of_a_chain(name, trained):
    problem, start = begin(KNOWN.scan, trained(name))
    (alone,) = trained(name).solve(problem, start)
    first, *_, last = chain(trained(name), from_spec({"name": "rpie", "epochs": 3})).solve(problem, start)
    assert_same(first.estimate, alone.estimate)
    assert last.epoch == 4
    assert problem.residual(last.estimate) < problem.residual(alone.estimate)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_trained_network_doubts_only_what_is_unlike_its_training(name, trained):
    solver = trained(name)
    problem, start = begin(KNOWN.scan, solver)
    assert solver.warnings(problem, start.estimate) == ()
    problem, start = begin(WARY.scan, solver)
    (doubt,) = solver.warnings(problem, start.estimate)
    assert "frames hold 1e+08 photons" in doubt


@pytest.mark.parametrize("name", TAUGHT)
def test_what_learns_from_labels_refuses_a_scan_alone(name):
    problem, start = begin(KNOWN.scan, solvers()[name]())
    with pytest.raises(InputError, match="labels"):
        list(solvers()[name]().solve(problem, start))
