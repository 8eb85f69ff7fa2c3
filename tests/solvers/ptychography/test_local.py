from dataclasses import replace

import numpy as np
import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.live.local_stream import LocalStream
from exitwave.problems.initial_guess import first_guess
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.solvers.base import Step
from exitwave.solvers.chain import chain
from exitwave.solvers.ptychography.local import Local
from exitwave.solvers.ptychography.pie import RPIE
from scans import Known, known_scan, object_error

KNOWN = Local(update_probe=False)


def start_of(problem: PtychographyProblem, known: Known) -> PtychoEstimate:
    return replace(first_guess(problem, probe=known.truth.probe), probe=known.truth.probe)


def solved(solver, problem: PtychographyProblem, start: PtychoEstimate) -> Step:
    *_, last = solver.solve(problem, Step(epoch=0, estimate=start))
    return last


@pytest.fixture(scope="module")
def known():
    return known_scan(side=10, step=4, photons=1e6)


@pytest.fixture(scope="module")
def problem(known):
    return PtychographyProblem.of(known.scan, seed=1)


def stream(known: Known, options: Local = KNOWN, *, in_order: bool = True) -> LocalStream:
    return LocalStream(
        known.scan.positions_m, known.scan.geometry, known.truth.probe, options=options, in_order=in_order, seed=1
    )


def fed(made: LocalStream, known: Known, order: np.ndarray) -> LocalStream:
    for part in np.array_split(order, 13):
        numbers = torch.from_numpy(part)
        made.absorb(numbers, known.scan.frames(numbers))
    return made


@pytest.mark.parametrize(("group", "shared", "batch"), [(16, 0, 1), (9, 3, 1), (4, 0, 5)])
def test_one_sweep_with_a_known_probe_finds_the_object(problem, known, group, shared, batch):
    start = start_of(problem, known)
    step = solved(replace(KNOWN, group=group, shared=shared, batch=batch), problem, start)
    assert object_error(step.estimate, known.truth) < 0.1 * object_error(start, known.truth)
    assert step.residual < 1.2 * problem.residual(known.truth)


def test_more_iterations_find_more():
    known = known_scan(side=10, step=4)
    problem = PtychographyProblem.of(known.scan)
    start = start_of(problem, known)
    errors = [
        object_error(solved(replace(KNOWN, iterations=n), problem, start).estimate, known.truth) for n in (1, 5, 20)
    ]
    assert errors[2] < 0.5 * errors[1] < 0.25 * errors[0]


def test_groups_that_start_from_their_neighbours_do_better_than_alone():
    known = known_scan(side=10, step=4, seed=3)
    problem = PtychographyProblem.of(known.scan)
    start = start_of(problem, known)
    informed, alone = (replace(KNOWN, group=4, batch=batch, iterations=10) for batch in (1, 1000))
    found = [object_error(solved(solver, problem, start).estimate, known.truth) for solver in (informed, alone)]
    assert found[0] < 0.7 * found[1]


def test_sub_pixel_positions_and_modes():
    known = known_scan(side=8, step=4, whole=False, modes=2)
    problem = PtychographyProblem.of(known.scan)
    start = start_of(problem, known)
    assert object_error(solved(KNOWN, problem, start).estimate, known.truth) < 0.03


def test_an_imperfect_probe_gets_better():
    known = known_scan(side=10, step=4)
    problem = PtychographyProblem.of(known.scan)
    axis = torch.arange(32) - 16
    wrong = torch.polar(torch.ones(32, 32), 0.004 * (axis[:, None] ** 2 + axis[None, :] ** 2).float())
    start = replace(start_of(problem, known), probe=known.truth.probe * wrong)

    def distance(probe: torch.Tensor) -> float:
        a, b = probe.flatten(), known.truth.probe.flatten()
        return 1 - float(torch.vdot(a, b).abs() / (a.norm() * b.norm()))

    step = solved(Local(epochs=4), problem, start)
    assert distance(step.estimate.probe) < 0.2 * distance(start.probe)
    assert step.residual < 0.1 * solved(replace(KNOWN, epochs=4), problem, start).residual


def test_frames_in_any_order_give_exactly_what_the_finished_scan_gives(problem, known):
    offline = solved(KNOWN, problem, start_of(problem, known)).estimate
    order = np.random.default_rng(0).permutation(len(known.scan))
    for numbers in (np.arange(len(known.scan)), order):
        made = fed(stream(known), known, numbers)
        assert torch.equal(made.estimate().object, offline.object)


def test_looking_at_a_stream_does_not_change_it(known):
    order = np.random.default_rng(1).permutation(len(known.scan))
    looked, quiet = stream(known), stream(known)
    for part in np.array_split(order, 9):
        numbers = torch.from_numpy(part)
        for made in (looked, quiet):
            made.absorb(numbers, known.scan.frames(numbers))
        looked.estimate()
    assert torch.equal(looked.estimate().object, quiet.estimate().object)


def test_a_stream_shows_what_is_done(problem, known):
    made = stream(known)
    numbers = torch.arange(60)
    count = made.absorb(numbers, known.scan.frames(numbers))
    assert made.frames_here == 60
    assert 0 < count == made.groups_solved < 7
    half = made.estimate().object[0]
    done, open_ = (slice(16, 28), slice(16, 44)), (slice(70, 76), slice(4, 60))
    factor = known.truth.object[0][done] / half[done]
    assert float((factor / factor.mean() - 1).abs().mean()) < 0.05
    assert float((half[open_] - 1).abs().max()) < 1e-6


def test_groups_solved_as_they_complete_agree_in_the_end(problem, known):
    order = np.random.default_rng(0).permutation(len(known.scan))
    made = fed(stream(known, replace(KNOWN, iterations=40), in_order=False), known, order)
    assert made.finish() == 0
    assert object_error(made.estimate(), known.truth) < 0.015


def test_lost_frames_leave_the_rest_whole(known):
    order = np.setdiff1d(np.arange(len(known.scan)), [3, 44, 45, 71])
    made = fed(stream(known), known, order)
    assert made.finish() > 0
    assert made.frames_here == len(order)
    assert object_error(made.estimate(), known.truth) < 0.03


def test_its_result_starts_a_global_solver(problem, known):
    start = start_of(problem, known)
    polish = RPIE(epochs=5, update_probe=False)
    together = solved(chain(KNOWN, polish), problem, start)
    assert together.residual < 0.7 * solved(polish, problem, start).residual


@pytest.mark.parametrize(
    ("numbers", "size", "message"),
    [
        ([0, 200], 32, "the plan has frames 0 to 99"),
        ([-1], 32, "the plan has frames"),
        ([5, 5], 32, "came twice"),
        ([1], 48, "the size of the probe"),
    ],
)
def test_frames_that_cannot_belong_to_the_plan_are_refused(known, numbers, size, message):
    with pytest.raises(InputError, match=message):
        stream(known).absorb(torch.tensor(numbers), torch.ones(len(numbers), size, size))


def test_frames_sent_again_are_refused(known):
    made = stream(known)
    one = torch.tensor([4])
    made.absorb(one, known.scan.frames(one))
    with pytest.raises(InputError, match="came twice"):
        made.absorb(one, known.scan.frames(one))


def test_a_stream_of_several_epochs_is_refused(known):
    with pytest.raises(InputError, match="epochs is 3"):
        stream(known, Local(epochs=3))
