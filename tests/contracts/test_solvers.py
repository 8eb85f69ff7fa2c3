"""What every registered solver must keep to, found through the registry: new solvers are tested without a line here."""

from dataclasses import fields, replace

import pytest
import torch

import exitwave.run  # noqa: F401  (registers all solvers)
from exitwave.physics.guess import first_guess
from exitwave.physics.problem import Problem
from exitwave.solver import Chain, Ensemble, Solver, Step, chain, ensemble, from_spec, solvers, to_spec
from scans import known_scan


def small(cls: type[Solver], epochs: int) -> Solver:
    if cls is Chain:
        return chain(from_spec({"name": "rpie", "epochs": 2}), from_spec({"name": "mpie", "epochs": epochs - 2}))
    if cls is Ensemble:
        return ensemble(from_spec({"name": "mpie", "epochs": epochs // 2, "batch": 4}), size=2)
    return cls(epochs=epochs)


NAMES = sorted(solvers())


@pytest.fixture(scope="module")
def problem():
    return Problem.of(known_scan(side=4, photons=1e5).scan, seed=5)


@pytest.fixture
def start(problem):
    return Step(epoch=0, estimate=first_guess(problem))


def last_of(solver, problem, start, until=None):
    for step in solver.solve(problem, start):
        start = step
        if step.epoch == until:
            break
    return start


@pytest.mark.parametrize("name", NAMES)
def test_residual_falls(name, problem, start):
    before = problem.residual(start.estimate)
    assert problem.residual(last_of(small(solvers()[name], 6), problem, start).estimate) < 0.7 * before


@pytest.mark.parametrize("name", NAMES)
def test_start_and_yielded_steps_are_left_alone(name, problem, start):
    kept = start.estimate.clone()
    steps = []
    copies = []
    for step in small(solvers()[name], 4).solve(problem, start):
        steps.append(step)
        copies.append(step.estimate.clone())
    for was, now in zip([kept, *copies], [start.estimate, *(s.estimate for s in steps)], strict=True):
        for field in fields(was):
            assert torch.equal(getattr(was, field.name), getattr(now, field.name))


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_image_other_seed_another(name, problem, start):
    solver = small(solvers()[name], 4)
    one, again = (last_of(solver, problem, start).estimate.object for _ in range(2))
    assert torch.equal(one, again)
    other = last_of(solver, replace(problem, seed=6), start).estimate.object
    assert not torch.equal(one, other)


@pytest.mark.parametrize("until", [1, 2, 3, 5])
@pytest.mark.parametrize("name", NAMES)
def test_a_run_resumed_from_any_step_ends_exactly_as_one_that_never_stopped(name, until, problem, start):
    solver = small(solvers()[name], 6)
    straight = last_of(solver, problem, start)
    resumed = last_of(solver, problem, last_of(solver, problem, start, until=until))
    assert resumed.epoch == straight.epoch == 6
    for field in fields(straight.estimate):
        assert torch.equal(getattr(straight.estimate, field.name), getattr(resumed.estimate, field.name))


@pytest.mark.parametrize("name", NAMES)
def test_spec_round_trips_and_options_explain_themselves(name):
    solver = small(solvers()[name], 4)
    assert from_spec(to_spec(solver)) == solver
    assert (type(solver).__doc__ or "").strip()
    for option in type(solver).__pydantic_fields__.values():
        assert option.description, f"{name} has an option without a docstring"
