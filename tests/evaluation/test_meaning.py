"""Every figure has a name, a meaning, a unit and a direction, also those that a plug-in brings."""

import pytest

from exitwave.evaluation import meaning
from exitwave.evaluation.meaning import GROUPS, OWN, meaning_of
from exitwave.evaluation.metrics import METRICS, Metric
from exitwave.reports.formatting import quantity


def test_every_metric_says_what_it_is():
    for name in [*METRICS, *OWN, "M-PSNR255-phase"]:
        told = meaning_of(name)
        assert told.title
        assert told.text
        assert told.group in GROUPS


def test_metrics_know_which_way_is_better():
    higher = ("FRC-half-bit-split", "M-SSIM-phase", "M-PSNR255-amplitude", "M-FRChalf-amplitude")
    assert all(meaning_of(name).higher_is_better for name in higher)
    lower = ("residual", "free-residual", "M-NRMSE", "M-NRMSE-split", "NRMSE-low", "position-error")
    assert not any(meaning_of(name).higher_is_better for name in lower)


def test_a_metric_of_a_plug_in_brings_its_meaning_along(monkeypatch):
    mine = Metric(lambda estimate, truth: {}, "how far mine are", False, title="My error", unit="share", group="truth")
    monkeypatch.setattr(meaning, "METRICS", {**METRICS, "M-mine": mine})
    told = meaning_of("M-mine-phase")
    assert (told.title, told.text, told.unit, told.group) == ("My error, phase", "how far mine are", "share", "truth")
    assert meaning_of("M-nobody-knows").title == "M-nobody-knows"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.5, "nyquist", "100 nm"),
        (1.0, "nyquist", "50 nm or finer"),
        (0.0, "nyquist", "unresolved"),
        (0.0271, "share", "2.71 %"),
        (0.5, "px", "0.5 px (25 nm)"),
        (7e-16, "px", "0 px"),
        (38.21, "dB", "38.2 dB"),
        (1e-15, "", "0"),
        (float("nan"), "dB", "–"),
    ],
)
def test_figures_are_told_with_their_unit(value, unit, text):
    assert quantity(value, unit, (40e-9, 50e-9)) == text
