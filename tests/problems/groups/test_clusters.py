import numpy as np
import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.physics.scan_steps import scan_steps
from exitwave.problems.groups.clusters import LOOSE, Clusters
from exitwave.problems.groups.neighbours import Neighbours
from exitwave.simulation.trajectories import concentric, fermat_spiral, jittered_raster, raster

FOUR = Clusters(size=4)
STEP = 8.0


def turned(positions: torch.Tensor, degrees: float) -> torch.Tensor:
    angle = np.deg2rad(degrees)
    return positions @ torch.tensor([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def staggered() -> torch.Tensor:
    """Every other row half a step to the right: hexagons."""
    positions = raster((8, 9), STEP)
    positions[:, 1] += STEP / 2 * (torch.arange(72) // 9 % 2)
    return positions * torch.tensor([np.sqrt(3) / 2, 1.0])


def clusters_of(pitch: float, inner: float, count: int = 9) -> torch.Tensor:
    """Clusters of 2 x 2 frames, cluster after cluster: the scans of PtychoPINN."""
    corners = raster((count, count), pitch)
    return (corners[:, None] + raster((2, 2), inner)).flatten(0, 1)


EXACT = {
    "raster": raster((8, 10), STEP),
    "odd": raster((7, 9), STEP),
    "oblong": raster((8, 12), 3.0) * torch.tensor([3.0, 1.0]),
    "turned": turned(raster((9, 9), STEP), 20.0),
    "diagonal": turned(raster((9, 9), STEP), 45.0),
    "staggered": staggered(),
    "of clusters": clusters_of(9.0, 4.0),
    "of clusters far apart": clusters_of(30.0, 4.0),
}
NEARLY = {
    "jittered": jittered_raster((12, 12), STEP, seed=1),
    "measured": raster((9, 9), STEP) + torch.from_numpy(np.random.default_rng(0).normal(0, 0.3, (81, 2))),
    "with gaps": raster((12, 12), STEP)[torch.from_numpy(np.random.default_rng(0).permutation(144)[:130])],
    "round": raster((14, 14), STEP)[(raster((14, 14), STEP) - 52.0).norm(dim=1) < 50],
    "twice": raster((8, 8), STEP).repeat_interleave(2, dim=0),
    "fluctuating clusters": clusters_of(9.0, 4.0)
    + torch.from_numpy(np.random.default_rng(0).normal(0, 0.05, (324, 2))),
}


def away_px(positions: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """How far the worst member of each group is from where the arrangement has it."""
    there = positions[groups] - positions[groups].mean(dim=1, keepdim=True)
    return (there - FOUR.arrangement(positions)).norm(dim=2).amax(dim=1)


@pytest.mark.parametrize("name", EXACT)
def test_all_groups_of_a_regular_scan_have_one_arrangement(name):
    assert float(away_px(EXACT[name], FOUR.training(EXACT[name], 0)).max()) < 1e-6
    assert FOUR.strays(EXACT[name]) < 0.05


@pytest.mark.parametrize("name", NEARLY)
def test_groups_of_a_nearly_regular_scan_have_nearly_one_arrangement(name):
    positions = NEARLY[name]
    step = float(torch.pdist(FOUR.arrangement(positions)).min())
    groups = FOUR.training(positions, 0)
    assert float(away_px(positions, groups).max()) < 1.2 * LOOSE * step
    assert FOUR.strays(positions) < 0.05
    # Nearly every frame that has a place has it in several of them.
    assert len(groups.unique()) > 0.9 * len(positions)


@pytest.mark.parametrize("positions", [*EXACT.values(), *NEARLY.values()], ids=[*EXACT, *NEARLY])
@pytest.mark.parametrize("size", [2, 4, 6, 9])
def test_every_frame_is_in_a_group_and_no_group_has_one_twice(positions, size):
    grouping = Clusters(size=size)
    if size > 4 and positions is EXACT["of clusters far apart"]:
        pytest.skip("clusters of four hold no more")
    groups = grouping.covering(positions)
    assert set(groups.flatten().tolist()) == set(range(len(positions)))
    for found in (groups, grouping.training(positions, 0)):
        assert found.shape[1] == size
        assert all(len(set(group)) == size for group in found.tolist())


def test_an_even_raster_is_covered_without_overlap_and_trained_on_with_all_of_it():
    positions = raster((8, 10), STEP)
    assert FOUR.covering(positions).flatten().sort().values.tolist() == list(range(80))
    assert len(FOUR.training(positions, 0)) == 7 * 9
    assert len(FOUR.covering(jittered_raster((10, 10), STEP, jitter=0.08))) <= 28


@pytest.mark.parametrize("pitch", [9.0, 10.0, 30.0])
def test_a_scan_of_clusters_is_grouped_into_just_these(pitch):
    positions = clusters_of(pitch, 4.0)
    own = torch.arange(len(positions)).reshape(-1, 4).tolist()
    assert FOUR.covering(positions).sort(dim=0).values.tolist() == own
    assert FOUR.training(positions, 0).sort(dim=0).values.tolist() == own


def test_nearest_neighbours_in_a_scan_of_clusters_are_arranged_in_many_ways():
    positions = clusters_of(9.0, 4.0)
    for groups in (
        Neighbours(size=4, nearest=3).training(positions, 0),
        Neighbours(size=4, nearest=3).covering(positions),
    ):
        assert float((away_px(positions, groups) > 0.1).double().mean()) > 0.8


def test_one_missing_frame_changes_only_the_groups_around_it():
    positions = clusters_of(9.0, 4.0)
    left = torch.arange(len(positions)) != 5
    groups = FOUR.training(positions[left], 0)
    assert len(groups) == 80
    assert float(away_px(positions[left], groups).max()) < 1e-6


def test_members_come_by_row_then_column_of_the_scan():
    positions = turned(jittered_raster((10, 10), STEP, jitter=0.05), 10.0)
    for grouping, (rows, columns) in ((FOUR, (2, 2)), (Clusters(size=6), (2, 3))):
        place = grouping.arrangement(positions).reshape(rows, columns, 2)
        assert bool((place[1:, :, 0] - place[:-1, :, 0] > 0.8 * STEP).all())
        assert bool((place[:, 1:, 1] - place[:, :-1, 1] > 0.8 * STEP).all())


@pytest.mark.parametrize("positions", [EXACT["odd"], NEARLY["jittered"], NEARLY["with gaps"]])
def test_groups_are_of_the_same_frames_whatever_their_numbers(positions):
    order = torch.randperm(len(positions), generator=torch.Generator().manual_seed(2))
    for groups_of in (FOUR.covering, lambda scan: FOUR.training(scan, 0)):
        numbered = {tuple(group) for group in groups_of(positions).tolist()}
        shuffled = {tuple(order[torch.tensor(group)].tolist()) for group in groups_of(positions[order]).tolist()}
        assert shuffled == numbered


def test_groups_do_not_depend_on_where_the_scan_lies_or_how_large_its_pixels_are():
    positions = NEARLY["jittered"]
    groups = FOUR.covering(positions)
    assert torch.equal(FOUR.covering(positions + 1234.5), groups)
    assert torch.equal(FOUR.covering(positions * 0.25), groups)


@pytest.mark.parametrize(
    "positions",
    [
        torch.rand(400, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 160,
        jittered_raster((12, 12), STEP, jitter=0.4),
        raster((1, 30), STEP),
        raster((5, 5), STEP) * 0,
    ],
    ids=["random", "jittered too much", "a line", "one place"],
)
def test_a_scan_without_an_arrangement_is_refused_with_what_to_do(positions):
    with pytest.raises(InputError, match=r"\d+ % .* no group of 4 .* at most 75 %.*unet.*group 1.*grouping neighbours"):
        FOUR.covering(positions)


@pytest.mark.parametrize("positions", [concentric(400, STEP), fermat_spiral(400, STEP)], ids=["rings", "spiral"])
def test_scans_with_several_arrangements_are_doubtful_and_still_covered(positions):
    assert 0.05 < FOUR.strays(positions) < 0.6
    assert set(FOUR.covering(positions).flatten().tolist()) == set(range(len(positions)))
    step = float(torch.pdist(FOUR.arrangement(positions)).min())
    # What is learned from has one arrangement all the same.
    assert float(away_px(positions, FOUR.training(positions, 0)).max()) < 1.2 * LOOSE * step


def test_a_scan_of_fewer_frames_than_a_group_is_refused():
    with pytest.raises(InputError, match="3 frames has no group of 4"):
        FOUR.covering(raster((1, 3), STEP))


@pytest.mark.parametrize(("name", "down", "across"), [("oblong", (9, 0), (0, 3)), ("of clusters", (4, 0), (0, 4))])
def test_steps_of_a_scan_are_the_shortest_that_many_frames_have_in_common(name, down, across):
    assert np.allclose(scan_steps(EXACT[name].numpy()), [down, across])


def test_a_line_has_steps_along_itself_alone():
    line = raster((1, 30), STEP).numpy()
    assert scan_steps(line) is None
    assert np.allclose(scan_steps(line, along_one=True)[1], [0, STEP])
    assert Clusters(size=2).covering(raster((1, 30), STEP)).tolist() == [[i, i + 1] for i in range(0, 30, 2)]
