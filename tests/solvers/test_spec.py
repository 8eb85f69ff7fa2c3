"""Solvers as values: specs, chains, ensembles, and errors that name what is wrong."""

import subprocess
import sys

import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.problems.initial_guess import first_guess
from exitwave.problems.ptychography import Problem
from exitwave.solvers.base import Step
from exitwave.solvers.chain import chain
from exitwave.solvers.ensemble import ensemble
from exitwave.solvers.ptychography.pie import EPIE, MPIE, RPIE
from exitwave.solvers.spec import from_spec, to_spec
from scans import known_scan


@pytest.fixture(scope="module")
def problem():
    return Problem.of(known_scan(side=4).scan)


@pytest.mark.parametrize(
    "value",
    [
        RPIE(alpha=0.3),
        chain(RPIE(epochs=2), MPIE(epochs=3)),
        ensemble(EPIE(epochs=2), size=3),
        ensemble(chain(RPIE(), EPIE()), 2),
    ],
)
def test_specs_round_trip_through_plain_values(value):
    import yaml

    assert from_spec(yaml.safe_load(yaml.safe_dump(to_spec(value)))) == value


def test_a_name_means_the_defaults_and_a_list_a_chain():
    assert from_spec("rpie") == RPIE()
    assert from_spec(["rpie", {"name": "epie", "epochs": 7}]) == chain(RPIE(), EPIE(epochs=7))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nosuch", "nosuch.*rpie"),
        ({"name": "rpie", "alpah": 1}, "'alpah'.*alpha"),
        ({"name": "rpie", "alpha": 3}, "alpha = 3.*less than or equal to 1"),
        ({"name": "rpie", "epochs": 0, "batch": -1}, "epochs.*batch"),
        ({"alpha": 1}, "name"),
        ([], "at least one"),
    ],
)
def test_wrong_specs_are_refused_by_name(spec, words):
    with pytest.raises(InputError, match=words):
        from_spec(spec)


def test_options_are_frozen():
    with pytest.raises(AttributeError):
        RPIE().alpha = 0.5


def test_a_chain_is_its_stages_one_after_another(problem):
    start = Step(epoch=0, estimate=first_guess(problem))
    steps = list(chain(RPIE(epochs=2), MPIE(epochs=3)).solve(problem, start))
    *_, first = RPIE(epochs=2).solve(problem, start)
    *_, second = MPIE(epochs=3).solve(problem, Step(epoch=0, estimate=first.estimate))
    assert [s.epoch for s in steps] == [1, 2, 3, 4, 5]
    assert torch.equal(steps[-1].estimate.object, second.estimate.object)


def test_an_ensemble_gives_the_mean_and_spread_of_its_members(problem):
    start = Step(epoch=0, estimate=first_guess(problem))
    *_, last = ensemble(RPIE(epochs=2, batch=4), size=3).solve(problem, start)
    from dataclasses import replace

    members = []
    for number in range(3):
        *_, step = RPIE(epochs=2, batch=4).solve(replace(problem, seed=problem.seed + 1000 * number), start)
        members.append(step.estimate.object)
    stack = torch.stack(members)
    # Members from one start differ by little phase, so that plain statistics are nearly those of aligned members.
    assert torch.allclose(last.estimate.object, stack.mean(dim=0), atol=2e-2)
    assert last.spread is not None
    assert float(last.spread.object.abs().max()) > 0
    assert torch.allclose(last.spread.object.real, stack.std(dim=0), atol=2e-2)


def test_identical_members_have_no_spread(problem):
    start = Step(epoch=0, estimate=first_guess(problem))
    # One batch of all frames: the order, hence the seed, plays no part.
    *_, last = ensemble(RPIE(epochs=2, batch=10_000), size=3).solve(problem, start)
    assert last.spread is not None
    assert float(last.spread.object.abs().max()) < 1e-4


@pytest.mark.parametrize("first", ["ew.from_spec('rpie')", "ew.solvers()['rpie']"])
def test_all_solvers_are_known_by_name_whatever_is_asked_first(first):
    program = f"import exitwave as ew; print({first})"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-500:]
