"""The figure of a reconstruction that stands alone: object, probe and a curve, side by side on white."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from exitwave.data.result import Result
from exitwave.io.atomic import replacing

# Imported for what it says of crystals.
from exitwave.reports import crystal as crystal, panels
from exitwave.reports.axes import INK_ON_WHITE, Grid, grid_figure
from exitwave.reports.kinds import reported
from exitwave.reports.svg import drawing
from exitwave.reports.views import View, object_views

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 6
"""Slices of one figure."""


def save_preview(result: Result, path: str | Path, losses: Sequence[tuple[float, float]], *, dpi: int = 110) -> None:
    """What a network sees while it is trained, with its loss and held-out loss after each epoch, in one PNG.

    Raises InputError where the file cannot be written.
    """
    draw = partial(panels.draw_losses, losses=losses) if losses else None
    with drawing(INK_ON_WHITE):
        figure = overview(result, "loss", draw)
        with replacing(Path(path)) as partly:
            figure.savefig(partly, format="png", dpi=dpi)


def overview(result: Result, curve: str, draw: Callable[[Axes], None] | None) -> Figure:
    """Amplitude and phase of each slice, the strongest probe mode, and a curve called so where there is one."""
    views, curves = object_views(result)[:MOST_ROWS], draw is not None
    columns, companion = object_columns(views), not views[0][1].maps
    grid = grid_figure(
        len(views), columns + companion + curves, views[0][1].size_m, right_in=0.4 * curves, below_in=0.35 * curves
    )
    draw_objects(grid, views)
    if companion:
        reported(result.estimate, result).draw_companion(grid.place(0, 2, "probe"))
    if draw is not None:
        axes = grid.place(0, columns + companion, curve, shift_in=0.4)
        draw(axes)
        axes.set_ylabel("")
    return grid.figure


def object_columns(views: Sequence[tuple[str, View]]) -> int:
    """How many pictures stand side by side for each view: amplitude and phase, or amplitude and its maps."""
    return 1 + max(1, *(len(view.maps) for _, view in views))


def draw_objects(grid: Grid, views: Sequence[tuple[str, View]]) -> None:
    """Amplitude and phase of what is shown of an object, or amplitude and its maps, a row each."""
    for row, (name, view) in enumerate(views):
        where = name.removeprefix("the ")
        panels.draw_amplitude(grid.place(row, 0, f"{where}: amplitude" if not view.maps else where), view)
        if not view.maps:
            panels.draw_phase(grid.place(row, 1, f"{where}: phase"), view)
        for column, each in enumerate(view.maps, 1):
            panels.draw_map(grid.place(row, column, f"{each.name} ({each.unit})"), view, each.name)
