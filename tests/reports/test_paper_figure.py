"""Figures for papers: files of the right kind, with what was asked for and nothing that the data do not know."""

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

import exitwave as ew
from command import done, refused
from exitwave.data.errors import InputError
from exitwave.reports.paper_figure import paper_figure
from exitwave.reports.views import lit_regions

HEADS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.mark.parametrize("kind", HEADS)
def test_a_figure_is_a_file_of_its_kind_and_the_same_each_time(make_result, tmp_path, kind):
    before = dict(mpl.rcParams)
    for name in ("one", "two"):
        ew.save_figure(make_result(modes=2), tmp_path / f"{name}.{kind}", ew.FigureOptions(dpi=60))
    first, second = ((tmp_path / f"{name}.{kind}").read_bytes() for name in ("one", "two"))
    assert first.startswith(HEADS[kind])
    assert first == second
    assert dict(mpl.rcParams) == before


def test_dots_per_inch_are_kept(make_result, tmp_path):
    widths = []
    for dpi in (50, 100):
        ew.save_figure(make_result(), tmp_path / "figure.png", ew.FigureOptions(dpi=dpi))
        widths.append(Image.open(tmp_path / "figure.png").width)
    assert widths[1] == pytest.approx(2 * widths[0], abs=3)


def test_panels_are_drawn_in_order_with_a_row_for_each_slice(make_result):
    titles = [axes.get_title() for axes in paper_figure(make_result(), ew.FigureOptions()).axes]
    assert [title for title in titles if title] == ["amplitude", "phase", "probe"]
    chosen = ew.FigureOptions(panel=("complex", "phase"))
    titles = [axes.get_title() for axes in paper_figure(make_result(slices=2), chosen).axes]
    rows = [f"slice {n} of 2: {panel}" for n in (1, 2) for panel in ("complex", "phase")]
    assert [title for title in titles if title] == rows
    alone = paper_figure(make_result(), ew.FigureOptions(panel=("phase",)))
    assert not any(axes.get_title() for axes in alone.axes)


def test_the_rim_is_empty_and_the_range_is_that_of_the_well_lit_region(make_result):
    result = make_result()
    wild = result.estimate.object.clone()
    wild[0][~lit_regions_of(result)] = 50.0
    bright = type(result)(
        **{
            **vars(result),
            "estimate": type(result.estimate)(
                object=wild, probe=result.estimate.probe, positions_px=result.estimate.positions_px
            ),
        }
    )
    for each in (result, bright):
        image = paper_figure(each, ew.FigureOptions(panel=("amplitude",))).axes[0].images[0]
        low, high = image.get_clim()
        assert 0.65 < low < high < 0.95
        assert np.ma.getmaskarray(image.get_array())[0, 0] or np.isnan(np.asarray(image.get_array())[0, 0])


def lit_regions_of(result):
    import torch

    return torch.from_numpy(lit_regions(result.estimate)[0])


@pytest.mark.parametrize("squeeze", [1.0, 0.5])
def test_a_crop_is_as_large_as_it_says_and_lies_where_it_says(make_result, squeeze):
    result = make_result(squeeze=squeeze)
    height_m, width_m = (20 * size for size in result.object_pixel_m)
    crop = f"{height_m * 1e9}nmx{width_m * 1e6}um"
    image = paper_figure(result, ew.FigureOptions(panel=("amplitude",), crop=crop)).axes[0].images[0]
    assert image.get_array().shape == (20, 20)
    left, right, bottom, top = image.get_extent()
    assert right - left == pytest.approx(width_m, rel=1e-6)
    assert bottom - top == pytest.approx(height_m, rel=1e-6)
    moved = paper_figure(result, ew.FigureOptions(panel=("amplitude",), crop="20@6,-4")).axes[0].images[0]
    whole = paper_figure(result, ew.FigureOptions(panel=("amplitude",), crop="20")).axes[0].images[0]
    np.testing.assert_allclose(moved.get_array()[:14, 4:], whole.get_array()[6:, :16])


def test_what_cannot_be_drawn_is_refused_by_name(make_result, tmp_path):
    result = make_result()
    for options, told in (
        ({"colourmap": "virdis"}, "did you mean viridis"),
        ({"crop": "wide"}, "is no part of the object"),
        ({"crop": "5parsec"}, "is no unit of length"),
        ({"crop": "4@900,0"}, "nothing of the scanned region"),
    ):
        with pytest.raises(InputError, match=told):
            ew.save_figure(result, tmp_path / "figure.png", ew.FigureOptions(**options))
    with pytest.raises(InputError, match=r"end its name in \.png"):
        ew.save_figure(result, tmp_path / "figure.jpg")
    assert not list(tmp_path.iterdir())


def test_the_command_draws_figures_and_on_demand_the_pixels_alone(make_result, tmp_path):
    result = tmp_path / "out.h5"
    ew.write(make_result(), result)
    done("export", result, "-o", tmp_path / "figure.pdf", "--panel", "phase", "--crop", "20", "--colourmap", "magma")
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
    done("export", result, "-o", tmp_path / "plain.png", "--plain")
    assert {path.name for path in tmp_path.glob("plain*")} == {"plain.png", "plain_amplitude.png", "plain_phase.png"}
    assert Image.open(tmp_path / "plain.png").size == result_size(make_result())
    again = done("export", result, "-o", tmp_path / "plain.png", "--plain")
    assert "plain.png is there already and is replaced" in again.err
    assert "figures of a result" in refused(tmp_path, "export", result, "-o", tmp_path / "x.tif", "--dpi", "200")
    assert "--dpi" in refused(tmp_path, "export", result, "-o", tmp_path / "x.png", "--dpi", "1")


def result_size(result):
    height, width = result.estimate.object.shape[-2:]
    return width, height
