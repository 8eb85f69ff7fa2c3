"""Pages of estimates of every kind: the pictures that the kind has, none that it has not, and every size in its place."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from exitwave.data.estimate import Estimate, SupportEstimate
from exitwave.data.geometry import Geometry
from exitwave.data.result import Result
from exitwave.evaluation.comparison import Comparison, ComparisonEntry
from exitwave.evaluation.evaluate import evaluate
from exitwave.reports import compare
from exitwave.reports.page import render
from exitwave.reports.views import object_images, object_views

WHOLE = ("Amplitude of {}", "Phase of {}", "Complex image of {}")
CUTS = [f"the middle cut across {axis}" for axis in "zyx"]


def blob(*shape: int) -> torch.Tensor:
    """A smooth object in the middle of empty space, on any number of axes."""
    axes = np.meshgrid(*((np.arange(size) - size // 2) / (0.2 * size) for size in shape), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    return torch.from_numpy((radius < 1) * np.exp(1j * axes[0]) * (1 + 0.1 * axes[-1])).to(torch.complex64)


def isolated(*shape: int) -> SupportEstimate:
    obj = blob(*shape)
    return SupportEstimate(object=obj, support=obj.abs() > 0, beam_photons=torch.tensor(1e4))


def bare(*shape: int) -> Estimate:
    return Estimate(object=blob(*shape) + 0.5)


def result_of(estimate: Estimate) -> Result:
    deviation = torch.full_like(estimate.object, 0.02)
    return Result(
        estimate=estimate,
        spread=replace(estimate, object=deviation),
        geometry=Geometry.from_energy(8000.0, 2.0, (75e-6, 75e-6)),
        object_pixel_m=(3e-8, 2e-8, 1e-8)[-estimate.object.ndim :],
        spec={"name": "er", "epochs": 20},
        history=tuple(0.1 * 0.5**epoch + 0.003 for epoch in range(20)),
        residual=0.0042,
        frame_residual=torch.tensor([0.0042]),
        provenance={"epochs": 20, "ending": "finished"},
    )


KINDS = {
    "isolated object": (isolated(40, 48), ["the object"], True),
    "isolated volume": (isolated(20, 24, 28), CUTS, True),
    "isolated line": (isolated(64), ["the object"], True),
    "line": (bare(64), ["the object"], False),
    "image": (bare(40, 48), ["the object"], False),
    "volume": (bare(20, 24, 28), CUTS, False),
}


def pictures(text: str) -> list[str]:
    """What is said of each picture of a page to those who cannot see it, of those that show something."""
    found = re.findall(r'<svg\b[^>]*aria-label="([^"]*)"[^>]*>(.*?)</svg>', text, re.DOTALL)
    assert all("<path" in drawn or "<image" in drawn for _, drawn in found)
    return [label for label, _ in found]


@pytest.mark.parametrize("name", KINDS)
def test_a_page_has_the_pictures_of_its_kind(name):
    estimate, shown, has_support = KINDS[name]
    text = render(result_of(estimate))
    expected = [words.format(where) for where in shown for words in WHOLE]
    expected += [f"Standard deviation of {where}" for where in shown]
    expected += ["Support of the object"] * has_support
    found = pictures(text)
    assert sorted(label for label in found if not label.startswith("Residual over")) == sorted(expected)
    assert len(found) == len(expected) + 1
    assert estimate.title in text
    assert "nan" not in re.sub("<.*?>", " ", text.lower()).split()
    for word in ("probe", "Frames"):
        assert word not in re.sub(r"<(svg|style).*?</\1>|<.*?>", " ", text, flags=re.DOTALL)
    assert all(label.count("cut") == (estimate.object.ndim == 3) for label in found if "across" in label)
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", KINDS)
def test_a_judged_estimate_of_any_kind_makes_a_page(name):
    estimate, *_ = KINDS[name]
    result = result_of(estimate)
    text = render(result, evaluate(result, truth=estimate))
    assert "M-NRMSE" in text
    assert ("Fourier ring correlation" in text) == (name == "isolated object")


@pytest.mark.parametrize("name", KINDS)
def test_an_overview_and_a_comparison_can_be_drawn_of_any_kind(tmp_path, name):
    estimate, *_ = KINDS[name]
    result = result_of(estimate)
    for value in (result, estimate):
        value.plot().savefig(tmp_path / "overview.png")
        assert np.asarray(Image.open(tmp_path / "overview.png")).std() > 1
    entries = [ComparisonEntry(name=each, result=result, evaluation=evaluate(result)) for each in ("one", "other")]
    text = compare.render(Comparison(entries=entries, truth=estimate))
    assert any("mplitude" in label for label in pictures(text))
    assert "nan" not in re.sub("<.*?>", " ", text.lower()).split()


def test_cuts_of_a_volume_are_what_they_say_with_the_pixels_of_their_axes():
    estimate = isolated(20, 24, 28)
    cuts = {cut.name: cut for cut in object_images(estimate, (3e-8, 2e-8, 1e-8))}
    volume = estimate.object.numpy()
    for axis, (image, pixel_m) in {
        "z": (volume[10], (2e-8, 1e-8)),
        "y": (volume[:, 12], (3e-8, 1e-8)),
        "x": (volume[:, :, 14], (3e-8, 2e-8)),
    }.items():
        np.testing.assert_array_equal(cuts[f"the middle cut across {axis}"].image, image)
        assert cuts[f"the middle cut across {axis}"].pixel_m == pixel_m


def test_of_an_isolated_object_what_is_lit_is_shown_alone():
    for _, view in object_views(result_of(isolated(40, 48))):
        assert view.amplitude.shape[0] < 20
        assert np.nanmin(view.amplitude) > 0.1


@pytest.mark.parametrize("shape", [(20, 24, 28), (24, 24, 24)])
def test_every_cut_of_a_volume_is_cropped_to_what_it_shows(shape):
    estimate = isolated(*shape)
    # Longer along z than along x: each cut has an outline of its own.
    long = replace(estimate, object=estimate.object.clone())
    long.object[:, shape[1] // 2, shape[2] // 2] = 1
    long = replace(long, support=long.object.abs() > 0)
    seen = dict(object_views(result_of(long)))
    outlines = [tuple(view.amplitude.shape) for view in seen.values()]
    across = [int((long.support.sum(dim=tuple(o for o in range(3) if o != axis)) > 1).sum()) for axis in range(3)]
    assert outlines == [(across[1], across[2]), (shape[0], across[2]), (shape[0], across[1])]


def test_the_spread_of_a_volume_is_cut_as_the_volume_is():
    result = result_of(isolated(20, 24, 28))
    share = re.findall(r"its median is ([\d.]+) % of the median amplitude", render(result))
    assert len(share) == 3
    assert [float(part) for part in share] == pytest.approx([2.0] * 3, rel=0.1)
