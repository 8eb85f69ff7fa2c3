import numpy as np
import pytest
import torch

from exitwave.problems.groups.stitching import Patchwork, aligned
from scans import smooth_field

SIZE = 24


def truth() -> torch.Tensor:
    amplitude, phase = smooth_field((80, 80), 1), smooth_field((80, 80), 2)
    return torch.from_numpy((0.5 + amplitude) * np.exp(3j * phase)).to(torch.complex64)


def light() -> torch.Tensor:
    axis = torch.arange(SIZE) - SIZE // 2
    return 100 * torch.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / 100)


def cut(obj: torch.Tensor, corner: tuple[int, int]) -> torch.Tensor:
    return obj[corner[0] : corner[0] + SIZE, corner[1] : corner[1] + SIZE]


def filled(obj: torch.Tensor, corners: list[tuple[int, int]], factors: np.ndarray) -> Patchwork:
    work = Patchwork(torch.ones_like(obj))
    for corner, factor in zip(corners, factors, strict=True):
        work.add(corner, cut(obj, corner) * complex(factor), light())
    return work


GRID = [(row, column) for row in range(0, 56, 8) for column in range(0, 56, 8)]


@pytest.mark.parametrize("order", ["forward", "shuffled"])
def test_canvases_of_the_truth_in_any_phase_and_scale_give_the_truth_up_to_one_factor(order):
    rng = np.random.default_rng(0)
    corners = GRID if order == "forward" else [GRID[i] for i in rng.permutation(len(GRID))]
    factors = np.exp(1j * rng.uniform(-np.pi, np.pi, len(GRID))) * rng.uniform(0.98, 1.02, len(GRID))
    obj = truth()
    made = filled(obj, corners, factors).stitched()
    inside = (slice(12, 60), slice(12, 60))
    ratio = made[inside] / obj[inside]
    assert float((ratio / ratio.mean() - 1).abs().max()) < 2e-3


def test_a_mismatch_around_a_ring_is_shared_by_all_of_it():
    count = 12
    pairs = [(a, (a + 1) % count) for a in range(count)]
    # Every neighbour says: turn by 0.01 more. The turns of a ring must add up to nothing.
    overlaps = [(complex(np.exp(0.01j)), 1.0, 1.0)] * count
    phases = np.angle(aligned(pairs, overlaps, count))
    assert np.abs(phases - phases[0]).max() < 1e-6


def test_parts_that_do_not_touch_keep_their_phase():
    pairs, overlaps = [(0, 1), (2, 3)], [(1j, 1.0, 1.0), (complex(np.exp(0.5j)), 1.0, 1.0)]
    factors = aligned(pairs, overlaps, 5)
    assert factors[4] == pytest.approx(1.0)
    # s_a a = s_b b with <a, b> = i: s_a / s_b = i.
    assert factors[0] / factors[1] == pytest.approx(1j, abs=1e-6)
    for a, b in pairs:
        assert np.angle(factors[a] + factors[b]) == pytest.approx(0, abs=1e-9)


def test_asking_for_the_image_changes_nothing():
    rng = np.random.default_rng(1)
    work = filled(truth(), GRID[:10], np.exp(1j * rng.uniform(-3, 3, 10)))
    corner = GRID[11]
    before = work.window(corner, light())
    first = work.stitched()
    assert torch.equal(work.stitched(), first)
    assert torch.equal(work.window(corner, light()), before)


def test_a_window_shows_what_neighbours_know_and_the_start_in_their_phase_elsewhere():
    obj = truth()
    work = filled(obj, [(0, 0)], np.array([1.0]))
    seen = work.window((4, 4), light())
    assert float((seen[:8, :8] / obj[4:12, 4:12] - 1).abs().max()) < 0.2
    assert float((work.window((50, 50), light()) - 1).abs().max()) < 1e-6
    turned = filled(obj, [(0, 0)], np.array([1j])).window((4, 4), light())
    assert float((turned - 1j * seen).abs().max()) < 1e-4


def test_where_no_canvas_is_the_start_stays():
    made = filled(truth(), [(0, 0)], np.array([1.0])).stitched()
    assert torch.equal(made[SIZE:, SIZE:], torch.ones(80 - SIZE, 80 - SIZE, dtype=torch.complex64))
