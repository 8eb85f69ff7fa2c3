import re

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.offsetbox import AuxTransformBox
from PIL import Image

from exitwave.data.errors import InputError
from exitwave.reports import figures, panels
from exitwave.reports.axes import image_figure
from exitwave.reports.kinds import reported
from exitwave.reports.views import object_views


@pytest.mark.parametrize("squeeze", [1.0, 0.5, 2.0])
def test_the_scale_bar_is_as_long_on_screen_as_it_says(make_result, squeeze):
    result = make_result(squeeze=squeeze)
    _, view = object_views(result)[0]
    figure, axes = image_figure(view.size_m, 4.0)
    panels.draw_amplitude(axes, view)
    FigureCanvasAgg(figure).draw()
    (bar,) = axes.findobj(lambda artist: type(artist) is AuxTransformBox)
    bar_px = bar.get_children()[0].get_window_extent().width
    image_px = axes.images[0].get_window_extent().width
    words = axes.artists[0].txt_label.get_text()
    value, unit = words.split()
    stated_m = float(value) * {"nm": 1e-9, "µm": 1e-6}[unit]
    assert bar_px / image_px == pytest.approx(stated_m / view.size_m[1], rel=0.01)


def test_images_have_the_proportions_of_the_sample(make_result):
    result = make_result(squeeze=0.5)
    _, view = object_views(result)[0]
    figure, axes = image_figure(view.size_m, 4.0)
    panels.draw_phase(axes, view)
    FigureCanvasAgg(figure).draw()
    box = axes.images[0].get_window_extent()
    assert box.height / box.width == pytest.approx(view.size_m[0] / view.size_m[1], rel=0.01)


def test_positions_are_drawn_at_the_centres_of_their_windows(make_result):
    result = make_result()
    _, view = object_views(result)[0]
    _figure, axes = image_figure(view.size_m, 4.0)
    panels.draw_positions(axes, result.estimate, result.object_pixel_m, result.frame_residual, view)
    (points,) = [artist for artist in axes.collections if isinstance(artist, PathCollection)]
    expected = (result.estimate.positions_px.numpy() + 16) * np.array(result.object_pixel_m)
    np.testing.assert_allclose(points.get_offsets(), expected[:, ::-1])
    np.testing.assert_allclose(points.get_array(), result.frame_residual)


def test_shares_of_the_modes_add_up_and_follow_their_photons(make_result):
    result = make_result(modes=3)
    headings = [row.heading for row in reported(result.estimate, result).rows()]
    shares = [float(re.fullmatch(r"Mode \d: ([\d.]+) % of the photons", heading)[1]) / 100 for heading in headings]
    photons = result.estimate.probe.abs().square().sum(dim=(1, 2)).numpy()
    assert sum(shares) == pytest.approx(1, abs=2e-3)
    np.testing.assert_allclose(shares, photons / photons.sum(), rtol=5e-3)


def test_a_preview_is_one_picture_on_white(make_result, tmp_path):
    path = tmp_path / "preview.png"
    figures.save_preview(make_result(modes=2), path, [(0.3, 0.4), (0.2, 0.3)])
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.shape[1] > 1200
    assert (picture[0, 0] == 255).all()
    assert list(tmp_path.iterdir()) == [path]


def test_a_preview_that_cannot_be_written_is_refused(make_result, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        figures.save_preview(make_result(), tmp_path / "nowhere" / "preview.png", [])
