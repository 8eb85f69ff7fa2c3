"""Verdicts on single patterns: starts that found different objects have failed."""

import pytest
import torch

from exitwave.data.verdict import Verdict
from exitwave.evaluation.verdict.cdi import agreements, said
from exitwave.problems.setup import Setup
from exitwave.running.reconstruct import reconstruct
from exitwave.simulation.detection import Detection
from exitwave.simulation.isolated import simulate_pattern
from exitwave.solvers.cdi.multistart import CDI
from exitwave.solvers.cdi.phase_retrieval import ER

FEW = CDI(starts=2, cycles=1, hio=10, er=2, finish=2)


def drawn(seed: int) -> torch.Tensor:
    return torch.randn(32, 32, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def test_other_starts_are_compared_after_shift_and_twin():
    first, other = drawn(1), drawn(2)
    turned = first.roll((3, -2), (0, 1)).flip(0, 1).conj().resolve_conj() * 1j
    state = {"best_of.found.0.object": first, "best_of.found.1.object": turned, "best_of:iterate": other}
    assert agreements(state) == pytest.approx([1.0], abs=1e-3)
    assert agreements({**state, "best_of.found.2.object": other})[1] < 0.3


@pytest.mark.parametrize(
    ("changed", "grade"),
    [
        ({}, "sound"),
        ({"starts-correlation": 0.6}, "failed"),
        ({"starts-correlation": 0.84}, "doubtful"),
        ({"starts-correlation": 0.9}, "sound"),
        ({"starts-correlation": 0.9, "noise-ratio": 100.0}, "doubtful"),
        ({"free-beyond-noise": 0.4, "free-ratio": 50.0}, "failed"),
        ({"free-beyond-noise": 0.15, "free-ratio": 50.0}, "doubtful"),
        ({"free-beyond-noise": 0.4, "free-ratio": 50.0, "free-noise": 0.5}, "sound"),
        ({"support-share": 0.5}, "doubtful"),
        ({"beam-off": 0.5}, "doubtful"),
    ],
)
def test_each_piece_of_evidence_speaks(changed: dict[str, float], grade: str):
    good = {
        "noise-ratio": 2.0,
        "starts-correlation": 0.99,
        "free-beyond-noise": 0.02,
        "free-residual": 0.03,
        "free-ratio": 8.0,
        "free-noise": 0.01,
        "beam-off": 0.0,
        "support-share": 0.1,
    }
    told = list(said({**good, **changed}))
    gravest = max(told, key=lambda one: ("sound", "doubtful", "failed").index(one.grade))
    assert gravest.grade == grade
    assert grade == "sound" or gravest.advice


def test_one_start_proves_nothing():
    pattern = simulate_pattern(frame_px=32, detection=Detection(photons_per_frame=1e6)).scan
    verdict = reconstruct(pattern, ER(epochs=5), setup=Setup(free_fraction=0.05)).verdict
    assert isinstance(verdict, Verdict)
    assert verdict.grade != "sound"
    assert any("one start" in reason for reason in verdict.reasons)


def test_unlike_images_of_a_run_that_was_far_too_short_have_failed():
    pattern = simulate_pattern(frame_px=48, detection=Detection(photons_per_frame=1e6)).scan
    verdict = reconstruct(pattern, FEW).verdict
    assert verdict is not None
    assert verdict.grade == "failed", verdict
