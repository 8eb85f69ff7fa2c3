import numpy as np
import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.physics.groups import neighbour_groups


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
