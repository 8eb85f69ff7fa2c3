"""Empty figures with axes for images and curves, all of one look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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
