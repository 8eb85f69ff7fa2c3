"""Verdicts on crystals: healthy rocking curves give sound ones, and what is wrong is never passed off as a crystal."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

import exitwave as ew
from exitwave.data.verdict import Verdict
from exitwave.evaluation.verdict.crystal import piece_shares
from rocked_crystals import SIZE, counts, curve, octahedron

RECIPE = ew.CDI(starts=3, keep=3, cycles=2, hio=80, er=15, finish=20, polish=20)


def judged(photons: np.ndarray, mask: np.ndarray | None = None) -> Verdict:
    result = ew.reconstruct(curve(photons, mask), RECIPE, setup=ew.Setup(as_is=True), progress=False)
    assert result.verdict is not None
    return result.verdict


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_crystal_is_sound(seed):
    found = judged(counts(octahedron(10 + seed, span_rad=1 + 0.4 * seed), peak=(1e5, 1e6)[seed % 2]))
    assert found.grade == "sound", found
    assert found.evidence["pieces"] == 1
    assert found.evidence["first-mode"] > 0.99
    assert 0.3 < found.evidence["free-llk"] < 6


def two_crystals() -> np.ndarray:
    return counts(octahedron(3, radius=4).roll((5, 5, 0), (0, 1, 2)) + octahedron(4, radius=3).roll((-5, -5), (0, 1)))


def another_grain() -> np.ndarray:
    return counts(octahedron(3)) + np.roll(counts(octahedron(5)), (9, 4), (0, 1))


def background() -> np.ndarray:
    return counts(octahedron(3), peak=1e5) + np.random.default_rng(1).poisson(20, (SIZE,) * 3).astype(np.float32)


def random() -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.poisson(generator.exponential(100, (SIZE,) * 3)).astype(np.float32)


def saturated() -> np.ndarray:
    return np.minimum(counts(octahedron(3)), 3000)


@pytest.mark.parametrize("spoilt", [two_crystals, another_grain, background, random, saturated])
def test_what_is_no_healthy_crystal_is_never_sound(spoilt: Callable[[], np.ndarray]):
    found = judged(spoilt())
    assert found.grade != "sound", found
    assert found.advice


def test_a_peak_behind_a_wrong_mask_is_not_sound():
    mask = np.ones((SIZE, SIZE), bool)
    mask[13:20, 13:20] = False
    assert judged(counts(octahedron(3)), mask).grade != "sound"


def test_two_crystals_are_counted_also_across_the_edge_of_the_array():
    first = torch.zeros(16, 16, 16, dtype=torch.complex64)
    first[14:, 5:9, 5:9] = first[:2, 5:9, 5:9] = 1
    assert piece_shares(first != 0, first) == [1.0]
    first[7:9, 13, 13] = 2
    assert piece_shares(first != 0, first) == pytest.approx([64 / 72, 8 / 72])
    nothing = torch.zeros(4, 4, 4, dtype=torch.bool)
    assert piece_shares(nothing, nothing.to(torch.complex64)) == []
