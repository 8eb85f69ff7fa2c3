"""Figures of a reconstruction, for the report page and to stand alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from exitwave.data.result import Result
from exitwave.io.atomic import replacing
from exitwave.reports import panels
from exitwave.reports.kinds import reported
from exitwave.reports.svg import drawing
from exitwave.reports.views import View, object_views

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def save_overview(result: Result, path: str | Path, *, dpi: int = 150) -> None:
    """Object amplitude and phase, strongest probe mode and residual history in one PNG on white.

    Of a thick object the first slice is shown. Raises InputError where the file cannot be written.
    """
    residual, free = result.residual, result.free_residual
    draw = partial(panels.draw_history, history=result.history, residual=residual, free_residual=free)
    _save(result, path, "residual", draw if len(result.history) else None, dpi)


def save_preview(result: Result, path: str | Path, losses: Sequence[tuple[float, float]], *, dpi: int = 110) -> None:
    """What a network sees while it is trained, with its loss and held-out loss after each epoch, in one PNG.

    Raises InputError where the file cannot be written.
    """
    _save(result, path, "loss", partial(panels.draw_losses, losses=losses) if losses else None, dpi)


def _save(result: Result, path: str | Path, curve: str, draw: Callable[[Axes], None] | None, dpi: int) -> None:
    _, view = object_views(result)[0]
    with drawing("#1c1f24"):
        figure = _overview(result, view, curve, draw)
        with replacing(Path(path)) as partial:
            figure.savefig(partial, format="png", dpi=dpi)


def _overview(result: Result, view: View, curve: str, draw: Callable[[Axes], None] | None) -> Figure:
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
    reported(result.estimate, result).draw_companion(place(2, "probe"))
    axes = place(3, curve, 0.35)
    if draw is None:
        axes.axis("off")
    else:
        draw(axes)
        axes.set_ylabel("")
    return figure
