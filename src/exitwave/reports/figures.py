"""Figures of a reconstruction, for the report page and to stand alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from exitwave.data.result import Result
from exitwave.io.atomic import replacing
from exitwave.reports import panels
from exitwave.reports.svg import drawing
from exitwave.reports.views import View, contrast, object_views

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STRIP_IN = 0.9
"""Width of the strip beside an image for the colour bar and its labels, inches."""


def image_figure(size_m: tuple[float, float], width_in: float) -> tuple[Figure, Axes]:
    """An empty figure with axes for an image of this size (y, x) and room for a colour bar."""
    from matplotlib.figure import Figure

    image_in = width_in - STRIP_IN
    # Very tall scans get a figure that still fits a page, with the image smaller in it; very flat ones room for labels.
    height_in = float(np.clip(image_in * size_m[0] / size_m[1], 0.65, 2.5 * image_in)) + 0.14
    figure = Figure(figsize=(width_in, height_in), facecolor="none")
    axes = figure.add_axes((0.03 / width_in, 0.07 / height_in, image_in / width_in, 1 - 0.14 / height_in))
    axes.set_anchor("W")
    return figure, axes


def curve_figure(width_in: float = 4.6, height_in: float = 2.9) -> tuple[Figure, Axes]:
    """An empty figure with axes for curves."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), facecolor="none", layout="constrained")
    return figure, figure.add_subplot()


def save_overview(result: Result, path: str | Path, *, dpi: int = 150) -> None:
    """Object amplitude and phase, strongest probe mode and residual history in one PNG on white.

    Of a thick object the first slice is shown. Raises InputError where the file cannot be written.
    """

    def draw(axes: Axes) -> None:
        if len(result.history):
            panels.draw_history(axes, result.history, residual=result.residual, free_residual=result.free_residual)
            axes.set_ylabel("")
        else:
            axes.axis("off")

    _save(result, path, "residual", draw, dpi)


def save_preview(result: Result, path: str | Path, losses: Sequence[tuple[float, float]], *, dpi: int = 110) -> None:
    """What a network sees while it is trained, with its loss and held-out loss after each epoch, in one PNG.

    Raises InputError where the file cannot be written.
    """

    def draw(axes: Axes) -> None:
        if losses:
            panels.draw_losses(axes, losses)
        else:
            axes.axis("off")

    _save(result, path, "loss", draw, dpi)


def _save(result: Result, path: str | Path, curve: str, draw: Callable[[Axes], None], dpi: int) -> None:
    view = object_views(result)[0]
    with drawing("#1c1f24"):
        figure = _overview(result, view, curve, draw)
        with replacing(Path(path)) as partial:
            figure.savefig(partial, format="png", dpi=dpi)


def _overview(result: Result, view: View, curve: str, draw: Callable[[Axes], None]) -> Figure:
    from matplotlib.figure import Figure

    image_in, gap_in = 2.6, 0.85
    aspect = float(np.clip(view.size_m[0] / view.size_m[1], 0.5, 1.6))
    width_in, height_in = 4 * image_in + 3 * gap_in + 0.65, image_in * aspect + 0.75
    figure = Figure(figsize=(width_in, height_in), facecolor="white")

    def place(column: int, title: str, shift_in: float = 0.0) -> Axes:
        left = 0.12 + shift_in + column * (image_in + gap_in)
        box = (left / width_in, 0.4 / height_in, image_in / width_in, image_in * aspect / height_in)
        axes = figure.add_axes(box)
        axes.set_title(title)
        return axes

    panels.draw_amplitude(place(0, "object: amplitude"), view)
    panels.draw_phase(place(1, "object: phase"), view)
    draw_mode(place(2, "probe"), result, int(mode_powers(result).argmax()))
    draw(place(3, curve, 0.35))
    return figure


def mode_powers(result: Result) -> np.ndarray:
    """Share of the probe's photons in each of its incoherent modes."""
    powers = result.estimate.probe.detach().cpu().abs().double().square().sum(dim=(-2, -1)).numpy()
    return powers / powers.sum() if powers.sum() > 0 else np.zeros(len(powers))


def draw_mode(axes: Axes, result: Result, mode: int) -> None:
    """A probe mode as a complex image, brightest where its amplitude is largest."""
    probe = _mode(result, mode)
    panels.draw_complex(axes, probe, probe_extent_m(result))


def draw_mode_amplitude(axes: Axes, result: Result, mode: int) -> None:
    """The amplitude of a probe mode, root of photons per pixel."""
    amplitude = np.abs(_mode(result, mode))
    limits = (0.0, contrast(amplitude, 0, 100)[1])
    panels.draw_image(axes, amplitude, probe_extent_m(result), "inferno", limits, unit="√(photons / pixel)")


def draw_spread(axes: Axes, spread: np.ndarray, view: View) -> None:
    """Standard deviation of each object pixel, cropped as the object is."""
    panels.draw_image(axes, spread, view.extent_m, "magma", (0.0, contrast(spread)[1]))


def probe_extent_m(result: Result) -> tuple[float, float, float, float]:
    """Left, right, bottom and top edge of the probe window, metres."""
    height, width = result.estimate.probe.shape[-2:]
    pixel_y, pixel_x = result.object_pixel_m
    return 0.0, width * pixel_x, height * pixel_y, 0.0


def _mode(result: Result, mode: int) -> np.ndarray:
    return result.estimate.probe[mode].detach().cpu().numpy()
