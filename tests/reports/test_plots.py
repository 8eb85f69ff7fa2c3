"""Values show themselves: a few lines, figures that leave pyplot alone, and HTML for notebooks."""

import subprocess
import sys
import warnings

import matplotlib as mpl
import numpy as np
import pytest
import torch

import exitwave as ew
from exitwave.data.errors import InputError
from exitwave.evaluation.comparison import Comparison, ComparisonEntry
from exitwave.evaluation.evaluate import evaluate
from exitwave.evaluation.region import overlapped_region
from exitwave.reports.views import object_views


@pytest.fixture(scope="module")
def made():
    return ew.simulate("siemens", frames=36, frame_px=32, overlap=0.7)


@pytest.fixture(scope="module")
def values(made):
    result = ew.reconstruct(made.scan, ew.RPIE(epochs=3))
    judged = evaluate(result, truth=made.truth)
    entries = [ComparisonEntry(name=name, result=result, evaluation=judged) for name in ("one", "other")]
    return {
        "scan": made.scan,
        "pattern": made.scan.pattern(4),
        "estimate": result.estimate,
        "result": result,
        "evaluation": judged,
        "comparison": Comparison(entries=entries),
        "step": next(ew.iterate(made.scan, ew.RPIE(epochs=1))),
    }


NAMES = ("scan", "pattern", "estimate", "result", "evaluation", "comparison", "step")


@pytest.mark.parametrize("name", NAMES)
def test_a_value_prints_as_a_few_lines_and_never_as_a_tensor(values, name):
    text = repr(values[name])
    assert 2 <= len(text.splitlines()) <= 4
    assert all(len(line) < 160 for line in text.splitlines())
    assert "tensor" not in text


def test_an_inspection_prints_what_looks_wrong_and_has_html_without_a_picture(made):
    found = ew.inspect(made.scan)
    assert repr(found).splitlines()[-1] == "nothing looks wrong"
    assert "<pre" in found._repr_html_()


@pytest.mark.parametrize("name", NAMES)
def test_a_value_has_a_figure_and_html_with_it(values, name):
    before = dict(mpl.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = values[name].plot()
    assert len(figure.axes) >= 1
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert 'src="data:image/png;base64,' in values[name]._repr_html_()
    assert dict(mpl.rcParams) == before


def test_a_scan_is_shown_where_the_beam_stood(values):
    pattern, positions, *_ = values["scan"].show().axes
    assert pattern.get_title().startswith("mean pattern")
    scale = {"µm": 1e-6, "nm": 1e-9}[positions.get_xlabel().split("(")[1].split(")")[0]]
    offsets = np.asarray(positions.collections[0].get_offsets()) * scale
    np.testing.assert_allclose(offsets, values["scan"].positions_m.numpy()[:, ::-1])
    low, high = positions.get_ylim()
    assert low > high, "rows grow downwards, as in the object"


def test_drawing_imports_no_pyplot_and_printing_no_matplotlib():
    code = (
        "import sys, exitwave as ew\n"
        "scan = ew.simulate('siemens', frames=16, frame_px=32).scan\n"
        "repr(scan)\n"
        "assert 'matplotlib' not in sys.modules\n"
        "scan.plot()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_has_no_figure_says_so(values):
    with pytest.raises(InputError, match="no curve to draw"):
        evaluate(values["result"]).plot()
    assert "<img" not in evaluate(values["result"])._repr_html_()
    with pytest.raises(InputError, match="no figure of int"):
        ew.plot(3)


def test_phases_are_shown_only_where_frames_overlap(make_result):
    """Two windows that share half of their columns, and a third far away that shares none."""
    result = make_result(frame_px=16, side=3, step_px=8.0)
    probe = torch.ones(1, 16, 16, dtype=torch.complex64)
    positions = torch.tensor([[2.0, 2.0], [2.0, 10.0], [20.0, 2.0]], dtype=torch.float64)
    expected = np.zeros(result.estimate.object.shape[1:], dtype=bool)
    expected[2:18, 10:18] = True
    found = overlapped_region(probe, positions, result.estimate.object.shape[1:])
    np.testing.assert_array_equal(found.numpy(), expected)
    estimate = type(result.estimate)(object=result.estimate.object, probe=probe, positions_px=positions)
    _, view = object_views(type(result)(**{**vars(result), "estimate": estimate}))[0]
    assert np.isfinite(view.phase).sum() == expected.sum()
    assert np.isfinite(view.amplitude).sum() > 2 * expected.sum()
