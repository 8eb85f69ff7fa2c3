from dataclasses import replace

import pytest
import torch
from torch import nn

from exitwave.data.errors import InputError
from exitwave.problems.groups.canvases import Canvases
from exitwave.problems.groups.clusters import Clusters
from exitwave.problems.groups.neighbours import Neighbours, Singles, neighbour_groups, sampled_groups
from exitwave.solvers.neural.losses import LOSSES, labelled_loss
from exitwave.solvers.neural.prediction import predicted
from exitwave.solvers.neural.ptychopinn import PtychoPINN
from exitwave.solvers.neural.reconstruction_network import Prediction
from exitwave.solvers.neural.training_data import (
    GroupDataset,
    SelfSupervised,
    Supervised,
    group_batch,
    thinned,
    windows,
)

SEED = (0, 1, 0, 0)
FOUR = Neighbours(size=4, nearest=6)


def canvases_of(lesson, groups):
    problem = lesson.problem
    return Canvases.of(problem.model, problem.trusted, lesson.x, groups, problem.amplitudes(groups.flatten()))


class Oracle(nn.Module):
    """Sees the truth."""

    def __init__(self, truth):
        super().__init__()
        self.truth = truth

    def forward(self, batches):
        return [Prediction(windows(self.truth, batch.canvases)) for batch in batches]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("group", [1, 4, 16])
def test_truth_through_groups_and_stitching_is_truth(lesson_like, group, whole):
    lesson = lesson_like(whole=whole)
    image = predicted(
        Oracle(lesson.label),
        lesson.problem,
        lesson.x,
        grouping=Neighbours(size=group, nearest=group),
        together=64,
        begun=False,
    ).image
    lit = illumination(lesson) > 1e-4
    assert torch.allclose(image[lit], lesson.label[lit], atol=2e-5)


def illumination(lesson):
    groups = neighbour_groups(lesson.problem.positions_px, len(lesson.problem))
    canvases = canvases_of(lesson, groups)
    (row, column), (height, width) = canvases.origins[0].tolist(), canvases.illumination.shape[1:]
    light = torch.zeros(lesson.problem.object_shape)
    light[row : row + height, column : column + width] = canvases.illumination[0]
    return (light / light.max())[None]


@pytest.mark.parametrize("loss", list(LOSSES))
@pytest.mark.parametrize("photons", [None, 1e4, 1e7])
@pytest.mark.parametrize("group", [1, 4])
def test_loss_at_the_truth_is_below_that_of_any_flat_object(lesson_like, loss, photons, group):
    lesson = lesson_like(photons=photons)
    groups = neighbour_groups(lesson.problem.positions_px, group)
    canvases = canvases_of(lesson, groups)
    truth = LOSSES[loss](canvases, windows(lesson.label, canvases))
    shape = canvases.illumination.shape
    flat = [LOSSES[loss](canvases, torch.full(shape, value, dtype=torch.complex64)) for value in (0.3, 0.5, 0.7, 1.0)]
    assert truth < min(flat)
    if photons is None:
        assert truth < 1e-3


@pytest.mark.parametrize("loss", list(LOSSES))
def test_losses_do_not_change_when_data_and_probe_grow_alike(lesson_like, loss):
    values = []
    for brighter in (1.0, 100.0):
        lesson = lesson_like(photons=1e5, brighter=brighter)
        canvases = canvases_of(lesson, neighbour_groups(lesson.problem.positions_px, 4))
        values.append(float(LOSSES[loss](canvases, torch.full(canvases.illumination.shape, 0.6 + 0.1j))))
    assert values[1] == pytest.approx(values[0], rel=1e-3)


def test_poisson_loss_is_least_at_the_counted_rate(lesson):
    canvases = canvases_of(lesson, neighbour_groups(lesson.problem.positions_px, 4))
    truth = windows(lesson.label, canvases)
    values = [float(LOSSES["poisson"](canvases, truth * factor)) for factor in (0.9, 1.0, 1.1)]
    assert values[1] < min(values[0], values[2])
    assert values[1] == pytest.approx(0.0, abs=1e-5)


def test_labelled_loss_is_zero_at_the_label_and_counts_amplitude_and_phase(lesson):
    canvases = canvases_of(lesson, neighbour_groups(lesson.problem.positions_px, 4))
    label = windows(lesson.label, canvases)
    assert float(labelled_loss(canvases, label, label)) < 1e-5
    assert float(labelled_loss(canvases, label * 1.1, label)) > 0.02
    turned = float(labelled_loss(canvases, label * torch.exp(torch.tensor(0.1j)), label))
    assert turned == pytest.approx(0.1, rel=0.15)


def test_merged_back_projection_is_nearer_the_truth_than_a_flat_object(lesson):
    groups = neighbour_groups(lesson.problem.positions_px, 4)
    canvases = canvases_of(lesson, groups)
    truth = windows(lesson.label, canvases)
    light = canvases.illumination / canvases.illumination.max()

    def error(images):
        turn = (images.conj() * truth * light).sum(dim=(1, 2), keepdim=True)
        return float(((images * turn / turn.abs() - truth).abs().square() * light).sum())

    start = group_batch(lesson.problem, lesson.x, groups, begun=False).start
    assert error(start) < 0.75 * error(torch.ones_like(start))


def test_thinned_photons_add_up_and_keep_their_rate(lesson_like):
    problem = lesson_like(photons=1e4).problem
    kept, rest = thinned(problem, 0.25, seed=1)
    every = torch.arange(len(problem))
    counts = problem.amplitudes(every).double().square()
    parts = [part.amplitudes(every).double().square() for part in (kept, rest)]
    assert torch.allclose(0.75 * parts[0] + 0.25 * parts[1], counts, atol=1e-2)
    for part in parts:
        assert float(part.sum() / counts.sum()) == pytest.approx(1.0, rel=0.02)
    again, _ = thinned(problem, 0.25, seed=1)
    assert torch.equal(again.amplitudes(every), kept.amplitudes(every))
    assert kept.object_shape == problem.object_shape


def test_thinned_lessons_are_judged_by_the_photons_kept_back(lesson_like):
    made = lesson_like(photons=1e4)
    lesson = PtychoPINN(group=4, judge_photons=0.25).training_scan(made.problem, made.x, seed=2)
    scenes = GroupDataset([lesson], FOUR, begun=False, seed=0)
    ((scan, members),) = scenes.parts(torch.arange(2), held_out=False, seed=SEED)
    seen = scenes.scene(scan, members)
    judge = scenes.judge(scan, members, seen)
    assert not torch.equal(judge.amplitudes, seen.canvases.amplitudes)
    assert torch.equal(judge.amplitudes, lesson.judge.amplitudes(members.flatten()))


def test_a_network_that_begins_with_newton_starts_from_its_image(lesson_like):
    made = lesson_like(side=6)
    solver = PtychoPINN(group=4, warm_start_epochs=3)
    lesson = solver.training_scan(made.problem, made.x, seed=2)
    assert made.problem.residual(lesson.x) < 0.1 * made.problem.residual(made.x)
    scenes = solver.group_samples([lesson], seed=0)
    ((scan, members),) = scenes.parts(torch.arange(2), held_out=False, seed=SEED)
    seen = scenes.scene(scan, members)
    assert torch.equal(seen.start, windows(lesson.x.object, seen.canvases))


def test_the_phase_of_a_label_is_that_of_the_start(lesson):
    turned = [
        Supervised(
            GroupDataset(
                [replace(lesson, label=lesson.label * torch.exp(torch.tensor(angle * 1j)))], FOUR, begun=False, seed=0
            )
        )
        for angle in (0.0, 2.0)
    ]
    losses = [float(x.loss(Oracle(lesson.label), torch.arange(4), held_out=False, seed=(0,))[0]) for x in turned]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_frames_that_judge_are_never_trained_on(lesson_like):
    scenes = GroupDataset([lesson_like(side=12), lesson_like(side=11, seed=3)], FOUR, begun=False, seed=1)
    assert scenes.held_out > 0
    for number in (0, 1):
        trained = {
            int(frame)
            for scan, members in scenes.parts(torch.arange(len(scenes)), held_out=False, seed=SEED)
            if scan is scenes.lessons[number]
            for frame in members.flatten()
        }
        judging = {
            int(frame)
            for scan, members in scenes.parts(torch.arange(scenes.held_out), held_out=True, seed=SEED)
            if scan is scenes.lessons[number]
            for frame in members.flatten()
        }
        assert judging
        assert not trained & judging


class Watching(Oracle):
    """Sees the truth, and notes where the frames of its groups stand about their middle."""

    def __init__(self, truth, group):
        super().__init__(truth)
        self.group, self.seen = group, []

    def forward(self, batches):
        for batch in batches:
            places = batch.canvases.places_px.reshape(-1, self.group, 2)
            self.seen += list(places - places.mean(dim=1, keepdim=True))
        return super().forward(batches)


def test_the_encoder_sees_one_arrangement_in_training_held_out_loss_and_image(lesson_like):
    lesson = lesson_like(side=9, jitter=0.0)
    solver = PtychoPINN(network="encoder", group=4)
    lessons = solver.training_task([lesson], 0)
    network = Watching(lesson.label, 4)
    lessons.loss(network, torch.arange(len(lessons)), held_out=False, seed=(0,))
    lessons.loss(network, torch.arange(lessons.held_out), held_out=True, seed=(0,))
    predicted(network, lesson.problem, lesson.x, grouping=solver.groups, together=64, begun=False)
    assert lessons.held_out
    assert len(network.seen) > len(lessons) + lessons.held_out
    assert all(torch.allclose(places, network.seen[0], atol=1e-3) for places in network.seen)


@pytest.mark.parametrize(
    ("options", "grouping"),
    [
        ({"network": "encoder", "group": 4}, Clusters(size=4)),
        ({"network": "encoder", "group": 4, "grouping": "neighbours"}, Neighbours(size=4, nearest=6)),
        ({"network": "unet", "group": 4, "samples": 2}, Neighbours(size=4, nearest=6, samples=2)),
        ({"network": "unet", "group": 9, "grouping": "clusters"}, Clusters(size=9)),
        ({"network": "encoder", "group": 1}, Singles()),
        ({"network": "unet", "group": 1, "grouping": "clusters"}, Singles()),
    ],
)
def test_groups_are_those_that_the_network_can_tell_apart_unless_others_are_asked_for(options, grouping):
    assert PtychoPINN(**options).groups == grouping


def test_samples_of_several_scans_are_those_asked_for(lesson_like):
    scenes = GroupDataset([lesson_like(side=5), lesson_like(side=6, seed=3)], FOUR, begun=False, seed=1)
    everything = [members for _, members in scenes.parts(torch.arange(len(scenes)), held_out=False, seed=SEED)]
    first = len(everything[0])
    (one,) = scenes.parts(torch.tensor([first + 2]), held_out=False, seed=SEED)
    assert one[0] is scenes.lessons[1]
    assert torch.equal(one[1][0], everything[1][2])


def test_a_group_larger_than_the_scan_is_refused(lesson_like):
    with pytest.raises(InputError, match="less than one group of 30"):
        GroupDataset([lesson_like(side=5)], Neighbours(size=30, nearest=40), begun=False, seed=0)


@pytest.mark.parametrize("labels", [True, False])
def test_the_truth_is_the_best_answer_to_any_lesson(lesson, labels):
    scenes = GroupDataset([lesson], FOUR, begun=False, seed=0)
    lessons = Supervised(scenes) if labels else SelfSupervised(scenes, loss="amplitude")
    samples = torch.arange(6)
    mean = lesson.label.mean().conj() / lesson.label.mean().abs()
    best, images = lessons.loss(Oracle(lesson.label * mean), samples, held_out=False, seed=(0,))
    assert len(images) == 6
    worse, _ = lessons.loss(Oracle(lesson.label * 0.9), samples, held_out=False, seed=(0,))
    assert float(best) < 1e-3 < float(worse)


def test_groups_for_training_are_neighbours(lesson):
    groups = sampled_groups(lesson.problem.positions_px, 4, nearest=6, samples=1, seed=0)
    spread = lesson.problem.positions_px[groups]
    assert float((spread.amax(dim=1) - spread.amin(dim=1)).max()) < 3.5 * 8
