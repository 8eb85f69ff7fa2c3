"""The sentence that says which of several reconstructions is best, and why."""

from dataclasses import replace

import pytest

from exitwave.data.verdict import Verdict
from exitwave.evaluation.comparison import Comparison, ComparisonEntry
from exitwave.evaluation.evaluation import Evaluation
from exitwave.reports.best import best_sentence


@pytest.fixture
def entry(make_result):
    def made(name, grade="sound", seconds=3.0, **metrics):
        result = make_result()
        provenance = {**result.provenance, "solver_seconds": seconds}
        result = replace(result, verdict=Verdict(grade=grade), provenance=provenance)
        figures = {name.replace("_", "-"): value for name, value in metrics.items()}
        return ComparisonEntry(name=name, result=result, evaluation=Evaluation(metrics=figures))

    return made


def told(*entries, truth=None):
    return best_sentence(Comparison(entries=entries, truth=truth))


def test_the_verdict_decides_first(entry):
    low = entry("low", "failed", residual=1e-6)
    assert told(low, entry("good", residual=0.1)) == "Best: good, whose verdict is sound; that of low is failed."


def test_then_pixels_that_no_solver_saw_then_the_time(entry):
    a, b = entry("a", residual=0.1, free_residual=0.2), entry("b", residual=0.09, free_residual=0.3)
    assert told(b, a) == "Best: a, with the smallest free residual: 0.2; next b with 0.3."
    # Without held-out pixels in one of them, all residuals are compared.
    assert told(replace(a, evaluation=Evaluation(metrics={"residual": 0.1})), b).startswith(
        "Best: b, with the smallest residual"
    )
    alike = entry("fast", seconds=1.0, residual=0.1, free_residual=0.201)
    unknown = entry("old", seconds=None, residual=0.1, free_residual=0.2)
    assert told(a, unknown) == "Best: a; old is as good (within 2 %)."
    assert told(a, alike) == "Best: fast; a is as good (within 2 %), and they took 1 s and 3 s."


def test_resolution_between_halves_is_told_as_a_length(entry):
    metrics = [{"residual": 0.1, "FRC_half_bit_split": share} for share in (0.5, 0.8)]
    sentence = told(*(entry(name, **each) for name, each in zip("ab", metrics, strict=True)))
    assert sentence.startswith("Best: b, with the smallest resolution between halves of the frames: ")
    assert "nm" in sentence


def test_where_the_truth_is_known_the_error_decides_and_doubts_are_told(entry, make_result):
    known = make_result().estimate
    a, b = entry("a", residual=0.1, M_NRMSE=0.3), entry("b", "doubtful", residual=0.2, M_NRMSE=0.05)
    assert told(a, b, truth=known) == (
        "Best: b, with the smallest error of the object: 5 %; next a with 30 %; its verdict is doubtful."
    )


def test_of_images_that_all_failed_none_is_recommended(entry):
    sentence = told(entry("a", "failed", residual=0.1), entry("b", "failed", residual=0.3))
    assert sentence.endswith("but its verdict is failed: none of these is an image of the sample.")
    assert told(ComparisonEntry(name="no")) == "None of them made an image."
    assert told(entry("a", residual=0.1)) == "Best: a, the only one that made an image."
