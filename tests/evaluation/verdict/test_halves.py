"""What halves add to a verdict, and that their difference is not hidden behind an even image."""

import torch

from exitwave.data.estimate import PtychoEstimate
from exitwave.data.verdict import Verdict
from exitwave.evaluation.ptychography import compare_halves
from exitwave.evaluation.verdict.halves import with_halves

SOUND = Verdict(grade="sound", reasons=("good",))


def even_but_for_noise(seed: int, noise: float = 1e-4) -> PtychoEstimate:
    drawn = torch.randn(1, 64, 64, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))
    places = torch.tensor([[row, column] for row in (4, 20, 36) for column in (4, 20, 36)], dtype=torch.float64)
    return PtychoEstimate(
        object=1 + noise * drawn, probe=torch.ones(1, 24, 24, dtype=torch.complex64), positions_px=places
    )


def test_halves_of_noise_on_an_even_image_do_not_agree():
    metrics = compare_halves(even_but_for_noise(1), even_but_for_noise(2)).metrics
    assert metrics["M-NRMSE-split-whole"] < 1e-3
    assert metrics["M-NRMSE-split"] > 0.9
    found = with_halves(SOUND, metrics)
    assert found is not None
    assert found.grade == "doubtful"


def test_halves_that_differ_in_slow_phase_alone_do_not_contradict_the_image():
    found = with_halves(SOUND, {"M-NRMSE-split": 1.0, "FRC-half-bit-split": 0.8})
    assert found is not None
    assert found.grade == "sound"


def test_halves_that_differ_make_a_sound_image_doubtful():
    found = with_halves(SOUND, {"M-NRMSE-split": 1.2, "FRC-half-bit-split": 0.05})
    assert found is not None
    assert found.grade == "doubtful"
    assert found.evidence["halves-difference"] == 1.2


def test_halves_that_agree_are_told_and_change_nothing():
    found = with_halves(SOUND, {"M-NRMSE-split": 0.2})
    assert found is not None
    assert found.grade == "sound"
    assert with_halves(SOUND, {}) is SOUND
    assert with_halves(None, {"M-NRMSE-split": 0.2}) is None
