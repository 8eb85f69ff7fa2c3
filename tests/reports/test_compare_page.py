"""The page of a comparison: whole in itself, one row a solver, pictures in one gauge and one scale."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from exitwave.evaluation.comparison import Comparison, ComparisonEntry
from exitwave.evaluation.evaluate import evaluate
from exitwave.reports.compare import render
from exitwave.reports.compare_pictures import rows, samples
from exitwave.reports.page import report


@pytest.fixture
def comparison(make_result) -> Comparison:
    good, other = make_result(), make_result()
    turned = replace(other, estimate=replace(other.estimate, object=other.estimate.object * 3j), residual=0.3)
    entries = [
        ComparisonEntry(
            name="<good>", result=good, evaluation=evaluate(good), times_s=tuple(0.1 * n for n in range(1, 21))
        ),
        ComparisonEntry(
            name="turned", result=turned, evaluation=evaluate(turned), remark="diverged in epoch 20: too far; lower it"
        ),
        ComparisonEntry(name="refused", remark="wants another start"),
    ]
    return Comparison(entries=entries, truth=good.estimate)


def test_the_page_loads_nothing_and_tells_every_solver_its_figures_and_its_fate(comparison):
    text = render(comparison)
    assert "default-src 'none'" in text
    assert not re.search(r"<(script|link|iframe)|https?://(?!www\.w3\.org/)", text)
    assert "<good>" not in text
    table = text[text.index('<table class="figures">') : text.index("</table>")]
    assert [re.sub(r"<.*?>", "", row) for row in re.findall(r'<th scope="row">(.*?)</th>', table)] == [
        "&lt;good&gt;",
        "turned",
        "refused",
    ]
    assert re.findall(r"<td>(\w+|no result)</td></tr>", table) == ["finished", "diverged", "no result"]
    assert "<b>0.0042</b>" in table
    for words in ("turned: diverged in epoch 20: too far; lower it.", "refused: wants another start."):
        assert words in text
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids)), "ids of two figures collide"


def test_all_that_share_the_best_value_are_bold(comparison):
    first, other, _ = comparison.entries
    same = replace(other, result=first.result, evaluation=first.evaluation, remark="")
    table = render(Comparison(entries=[first, same])).partition("</table>")[0]
    assert table.count("<b>0.0042</b>") == 2


def test_what_differs_only_in_gauge_looks_the_same(comparison):
    shown = samples(comparison)
    assert [sample.name for sample in shown] == ["truth", "<good>", "turned"]
    for sample in shown[1:]:
        inside = np.isfinite(shown[0].view.amplitude)
        assert np.allclose(sample.view.image[inside], shown[0].view.image[inside], atol=1e-3)
    headings = [row.heading for row in rows(shown, comparison.entries[0].result)]
    assert headings == ["Amplitude", "Phase", "Difference from truth", "Probe, strongest mode"]


def test_without_truth_the_first_result_is_the_reference(comparison):
    shown = samples(replace(comparison, truth=None))
    assert [sample.name for sample in shown] == ["<good>", "turned"]


def test_a_comparison_without_any_result_still_makes_a_page(tmp_path):
    empty = Comparison(entries=[ComparisonEntry(name="rpie", remark="refused")], interrupted=True)
    report(empty, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "rpie: refused." in text
    assert "interrupted" in text


def test_an_estimate_that_cannot_be_laid_onto_the_reference_is_left_out_of_the_pictures_only(comparison):
    dark = comparison.entries[1].result
    dark = replace(dark, estimate=replace(dark.estimate, object=torch.full_like(dark.estimate.object, float("nan"))))
    text = render(replace(comparison, entries=[comparison.entries[0], ComparisonEntry(name="dark", result=dark)]))
    assert "dark" in text
