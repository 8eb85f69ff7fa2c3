"""Solvers as values: specs, chains, ensembles, and errors that name what is wrong."""

import subprocess
import sys
from dataclasses import fields
from typing import Any, ClassVar, cast

import pytest
import torch

from exitwave.data.errors import InputError, RenamedOptionWarning
from exitwave.problems.initial_guess import first_guess
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.solvers.base import Step
from exitwave.solvers.chain import chain
from exitwave.solvers.ensemble import ensemble
from exitwave.solvers.nested_state import nested, unnested
from exitwave.solvers.neural.flat_options import WARM_START_EPOCHS
from exitwave.solvers.neural.network_solver import NetworkSolver
from exitwave.solvers.ptychography.pie import EPIE, MPIE, RPIE
from exitwave.solvers.ptychography.quasi_newton import QuasiNewton
from exitwave.solvers.refined import Refined
from exitwave.solvers.registry import solvers
from exitwave.solvers.spec import from_spec, renamed_options, to_spec
from scans import known_scan


class Options:
    """Stands for any class with options that were called otherwise."""

    renamed: ClassVar = {"approach": "warm_start"}


@pytest.fixture(scope="module")
def problem():
    return PtychographyProblem.of(known_scan(side=4).scan)


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


@pytest.mark.parametrize(
    "program",
    [
        "import exitwave as ew; print(ew.from_spec('rpie'))",
        "import exitwave as ew; print(ew.solvers()['rpie'])",
        "from exitwave.solvers.spec import from_spec; print(from_spec('rpie'))",
        "from exitwave.solvers.registry import solvers; print(solvers()['ptychopinn'])",
    ],
)
def test_all_solvers_are_known_by_name_whatever_is_asked_first(program):
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-500:]


def test_options_of_0_1_0_mean_the_same_and_are_named_in_a_warning():
    with pytest.warns(RenamedOptionWarning, match="newton: approach is now warm_start"):
        solver = from_spec({"name": "newton", "approach": 8})
    assert solver == QuasiNewton(warm_start=8)
    with pytest.warns(
        RenamedOptionWarning, match="refined: .*positions is now refine_positions.*every is now refine_every"
    ):
        solver = from_spec({"name": "refined", "solver": "rpie", "positions": True, "every": 2})
    assert solver == Refined(solver=RPIE(), refine_positions=True, refine_every=2)


def test_a_spec_in_names_of_today_is_taken_without_a_word(recwarn):
    from_spec(to_spec(Refined(solver=QuasiNewton(), refine_positions=True)))
    assert renamed_options(Options, {"approach": 1, "other": 2}) == {"warm_start": 1, "other": 2}
    assert not recwarn.list


def test_an_option_under_both_its_names_is_refused():
    with pytest.raises(InputError, match="approach and warm_start are one option"):
        renamed_options(Options, {"approach": 1, "warm_start": 1})


def test_new_names_are_options_and_old_ones_are_not():
    for cls in solvers().values():
        names = {option.name for option in fields(cast(Any, cls))}
        # Networks have theirs in one flat table, in which the warm start is a number of epochs.
        flat = {WARM_START_EPOCHS} if issubclass(cls, NetworkSolver) else set[str]()
        assert set(cls.renamed.values()) <= names | flat, cls.name
        assert not set(cls.renamed) & names, cls.name


def test_what_a_class_says_of_an_option_goes_before_what_all_say():
    said = {name: solvers()[name].__pydantic_fields__["probe_start"].description for name in ("rpie", "wasp")}
    assert (
        said["rpie"]
        == "Epochs before the probe is first updated; raise it when the first probe is good and the object still empty."
    )
    assert said["wasp"].startswith("Epochs before the probe is first updated; 2 is usual")


def test_an_ensemble_of_ensembles_goes_on_exactly_from_any_step(problem):
    solver = ensemble(ensemble(MPIE(epochs=2, batch=4), size=2), size=2)
    start = Step(epoch=0, estimate=first_guess(problem))
    steps = list(solver.solve(problem, start))
    assert [step.epoch for step in steps] == list(range(1, 9))
    for step in steps[:-1]:
        *_, last = solver.solve(problem, step)
        assert last.epoch == 8
        assert torch.equal(last.estimate.object, steps[-1].estimate.object)
        assert torch.equal(last.spread.object, steps[-1].spread.object)
    places = [solver.locate(step) for step in steps]
    assert [place for place, _, _ in places] == [(i, j) for i in range(2) for j in range(2) for _ in range(2)]
    assert [epochs for _, _, epochs in places] == 4 * [1, 2]
    assert all(method == MPIE(epochs=2, batch=4) for _, method, _ in places)


def test_nested_states_come_apart_again_also_inside_their_own_kind():
    own, inner = {"number": torch.tensor(1)}, {"velocity.object": torch.ones(3), "chain.number": torch.tensor(2)}
    state = nested("chain", own, nested("chain", own, inner))
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    outer, within = unnested("chain", state)
    assert outer == own
    assert unnested("chain", within) == (own, inner)


def test_flat_states_of_0_1_0_come_apart():
    state = {"chain.stage": torch.tensor(1), "chain.epoch": torch.tensor(2), "member.x": torch.tensor(3)}
    own, inner = chain(RPIE()).unnested(state)
    assert own == {"number": torch.tensor(1), "epoch": torch.tensor(2)}
    assert inner == {"member.x": torch.tensor(3)}
    own, inner = ensemble(RPIE()).unnested({"member.object": torch.tensor(1), "ensemble.member": torch.tensor(2)})
    assert own == {"member.object": torch.tensor(1), "number": torch.tensor(2)}
    assert not inner
