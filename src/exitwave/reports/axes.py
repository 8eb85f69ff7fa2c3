"""Empty figures with axes for images and curves, all of one look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK_ON_WHITE = "#1c1f24"
"""Text of figures that stand alone."""
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


@dataclass(frozen=True, eq=False)
class Grid:
    """A figure on white whose images stand in rows and columns, each with room for a colour bar."""

    figure: Figure
    image_in: float
    tall_in: float
    gap_in: float = 0.85
    above_in: float = 0.32
    rim_in: float = 0.12

    def place(self, row: int, column: int, title: str, *, shift_in: float = 0.0) -> Axes:
        """The axes of a row and a column, with a title; `shift_in` moves a curve to the right, away from its neighbour."""
        width_in, height_in = self.figure.get_size_inches()
        left, top = (
            self.rim_in + shift_in + column * (self.image_in + self.gap_in),
            (row + 1) * (self.tall_in + self.above_in),
        )
        box = (left / width_in, 1 - top / height_in, self.image_in / width_in, self.tall_in / height_in)
        axes = self.figure.add_axes(box)
        axes.set_title(title)
        return axes


def grid_figure(
    rows: int,
    columns: int,
    size_m: tuple[float, float],
    *,
    image_in: float = 2.6,
    right_in: float = 0.0,
    below_in: float = 0.0,
) -> Grid:
    """An empty grid for images of this size (y, x); `right_in` and `below_in` leave strips free for the labels of curves."""
    from exitwave.reports.shown_figure import ShownFigure

    tall_in = image_in * float(np.clip(size_m[0] / size_m[1], 0.3, 1.6))
    width_in = 2 * Grid.rim_in + columns * image_in + (columns - 1) * Grid.gap_in + 0.75 + right_in
    height_in = rows * (tall_in + Grid.above_in) + Grid.rim_in + below_in
    return Grid(ShownFigure(figsize=(width_in, height_in), facecolor="white"), image_in, tall_in)
