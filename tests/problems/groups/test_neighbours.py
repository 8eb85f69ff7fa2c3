import numpy as np
import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.problems.groups.neighbours import Neighbours, Singles, neighbour_groups, sampled_groups


def raster(side: int) -> torch.Tensor:
    rows, columns = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    return torch.from_numpy(np.stack([rows, columns], -1).reshape(-1, 2) * 5.0)


def spiral(count: int) -> torch.Tensor:
    turn = np.arange(count) * 2.4
    return torch.from_numpy(np.sqrt(np.arange(count))[:, None] * np.stack([np.sin(turn), np.cos(turn)], 1) * 4)


@pytest.mark.parametrize("positions", [raster(9), spiral(77), torch.rand(50, 2).double() * 100, raster(3) * 0])
@pytest.mark.parametrize(("size", "shared"), [(4, 0), (16, 0), (9, 4), (500, 0)])
def test_every_frame_is_in_a_group_and_no_group_has_one_twice(positions, size, shared):
    groups = neighbour_groups(positions, size, shared=shared)
    assert groups.shape[1] == min(size, len(positions))
    assert set(groups.flatten().tolist()) == set(range(len(positions)))
    assert all(len(set(group)) == len(group) for group in groups.tolist())


def test_groups_of_a_raster_are_squares():
    positions = raster(8)
    for group in neighbour_groups(positions, 4):
        assert (positions[group].amax(dim=0) - positions[group].amin(dim=0)).tolist() == [5.0, 5.0]


def test_groups_come_in_the_order_in_which_a_running_scan_completes_them():
    last = neighbour_groups(spiral(90), 9).amax(dim=1)
    assert last.tolist() == sorted(last.tolist())


def test_groups_are_compact():
    positions = spiral(400)
    groups = neighbour_groups(positions, 16)
    spread = (positions[groups] - positions[groups].mean(dim=1, keepdim=True)).norm(dim=2).amax(dim=1)
    # 16 of 400 points in a disc fill a square of a fifth of its diameter.
    assert float(spread.max()) < 0.4 * float(positions.norm(dim=1).max())


def test_sharing_all_frames_is_refused():
    with pytest.raises(InputError, match="to be shared"):
        neighbour_groups(raster(4), 4, shared=4)


def cloud(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 100


@pytest.mark.parametrize("positions", [raster(7), spiral(60), cloud(40)])
def test_a_sampled_group_is_a_frame_with_some_of_its_nearest_neighbours(positions):
    groups = sampled_groups(positions, 4, nearest=6, samples=3, seed=0)
    distance = torch.cdist(positions, positions).fill_diagonal_(torch.inf)
    reach = distance.sort(dim=1).values[:, 5] + 1e-6
    for group in groups:
        assert len(set(group.tolist())) == 4
        # One of the members has all others among its six nearest.
        assert any(all(distance[a, b] <= reach[a] for b in group if b != a) for a in group)


def test_every_frame_anchors_as_many_sampled_groups_as_asked_for():
    groups = sampled_groups(cloud(50), 4, nearest=12, samples=5, seed=3)
    # 5 of 220 choices of a frame rarely coincide.
    assert 240 <= len(groups) <= 250
    assert set(groups.flatten().tolist()) == set(range(50))


def test_no_choice_of_a_frame_comes_twice():
    assert len(sampled_groups(cloud(30), 4, nearest=4, samples=200, seed=0)) == 30 * 4
    assert len(sampled_groups(cloud(30), 4, nearest=3, samples=10, seed=0)) == 30


def test_all_neighbours_of_a_frame_are_drawn_about_equally_often():
    line = torch.stack([torch.zeros(5), torch.tensor([0.0, 1.0, -1.1, 1.2, -1.3])], dim=1).double()
    groups = [
        set(g.tolist()) for seed in range(400) for g in sampled_groups(line, 2, nearest=4, samples=1, seed=seed)[:1]
    ]
    counts = [sum(other in g for g in groups) for other in range(1, 5)]
    assert min(counts) > 70
    assert sum(counts) == 400


def test_members_of_sampled_groups_come_by_row_then_column_then_number():
    positions = raster(6)[torch.randperm(36, generator=torch.Generator().manual_seed(1))]
    positions = torch.cat([positions, positions[:5]])
    for group in sampled_groups(positions, 4, nearest=8, samples=4, seed=0).tolist():
        keys = [(*positions[frame].tolist(), frame) for frame in group]
        assert keys == sorted(keys)


def test_sampled_groups_depend_on_positions_and_seed_alone():
    def draw(seed):
        return sampled_groups(cloud(40), 4, nearest=7, samples=2, seed=seed)

    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    first = draw(0)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    assert torch.equal(first, draw(0))
    assert not torch.equal(first, draw(1))


def test_coincident_frames_are_neighbours_but_never_their_own():
    groups = sampled_groups(raster(3) * 0, 4, nearest=5, samples=6, seed=0)
    assert all(len(set(group)) == 4 for group in groups.tolist())


def test_groups_of_one_are_the_frames():
    assert sampled_groups(cloud(5), 1, nearest=4, samples=9, seed=0).tolist() == [[0], [1], [2], [3], [4]]


@pytest.mark.parametrize(
    ("count", "size", "nearest", "samples"), [(9, 4, 2, 1), (3, 4, 6, 1), (9, 0, 4, 1), (9, 4, 6, 0)]
)
def test_sampled_groups_that_cannot_be_are_refused(count, size, nearest, samples):
    with pytest.raises(InputError, match=r"expected at least|smaller groups"):
        sampled_groups(cloud(count), size, nearest=nearest, samples=samples, seed=0)


def test_singles_are_the_frames_in_training_and_in_the_image():
    for groups in (Singles().training(cloud(7), 3), Singles().covering(cloud(7))):
        assert groups.flatten().sort().values.tolist() == list(range(7))
        assert groups.shape == (7, 1)


def test_neighbours_are_sampled_for_training_and_cover_for_the_image():
    grouping = Neighbours(size=4, nearest=6, samples=2)
    assert torch.equal(grouping.training(cloud(40), 5), sampled_groups(cloud(40), 4, nearest=6, samples=2, seed=5))
    assert torch.equal(grouping.covering(cloud(40)), neighbour_groups(cloud(40), 4))
    assert grouping.arrangement(cloud(40)) is None
    assert grouping.strays(cloud(40)) == 0.0
