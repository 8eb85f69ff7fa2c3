"""Values as figures, in the look of the report: what `value.plot()` gives."""

from __future__ import annotations

from functools import partial, singledispatch
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from exitwave.data.errors import InputError
from exitwave.data.estimate import Estimate, PtychoEstimate
from exitwave.data.measurement import Measurement
from exitwave.data.result import Result
from exitwave.data.rocking_curve import RockingCurve
from exitwave.data.scan import Scan
from exitwave.evaluation.comparison import Comparison, strongest
from exitwave.evaluation.evaluation import Evaluation

# Imported for how it lays crystals side by side.
from exitwave.reports import crystal_compare as crystal_compare, panels
from exitwave.reports.axes import INK_ON_WHITE, grid_figure
from exitwave.reports.compare_pictures import draw_histories, samples
from exitwave.reports.figures import MOST_ROWS, draw_objects, object_columns, overview
from exitwave.reports.formatting import length_unit, number, pixels
from exitwave.reports.rocking_plot import rocking_figure
from exitwave.reports.svg import drawing
from exitwave.reports.views import contrast, estimate_views
from exitwave.solvers.base import Step

MOST_COLUMNS = 6
"""Reconstructions side by side in one figure."""
MOST_FRAMES, MOST_PIXELS = 512, 2**24
"""A larger scan is shown by so many of its frames, evenly chosen."""


def plot(value: Any) -> Figure:
    """A scan, estimate, step, result, evaluation or comparison as a matplotlib figure, in the look of the report.

    Neither a window nor pyplot is touched; notebooks show the figure, `savefig` keeps it. A kind of value of your own is
    drawn after `exitwave.reports.plots.drawn.register`. Raises InputError where there is nothing to draw.
    """
    with drawing(INK_ON_WHITE):
        figure = drawn(value)
        # Ticks are made when a figure is first drawn: now, while the settings hold.
        figure.draw_without_rendering()
    return figure


@singledispatch
def drawn(value: Any) -> Figure:
    """The figure of a value, by kind."""
    raise InputError(
        f"there is no figure of {type(value).__name__}; there is one of scans, estimates, steps, results, evaluations and "
        "comparisons"
    )


@drawn.register
def _(result: Result) -> Figure:
    draw = partial(
        panels.draw_history, history=result.history, residual=result.residual, free_residual=result.free_residual
    )
    return overview(result, "residual", draw if len(result.history) > 1 else None)


@drawn.register
def _(estimate: Estimate) -> Figure:
    views = estimate_views(estimate)[:MOST_ROWS]
    with_probe = isinstance(estimate, PtychoEstimate)
    grid = grid_figure(len(views), object_columns(views) + with_probe, views[0][1].size_m)
    draw_objects(grid, views)
    if with_probe:
        probe = strongest(estimate).numpy()
        height, width = probe.shape
        panels.draw_complex(grid.place(0, 2, "probe"), probe, (0.0, width, height, 0.0), size=pixels)
    return grid.figure


@drawn.register
def _(step: Step) -> Figure:
    figure = drawn(step.estimate)
    figure.axes[0].set_title(f"epoch {step.epoch}, residual {number(step.residual)}: amplitude")
    return figure


@drawn.register
def _(evaluation: Evaluation) -> Figure:
    if not evaluation.curves:
        raise InputError(
            "this evaluation has no curve to draw; judge against a truth (ew.evaluate(result, truth=...)) or compare halves of "
            "the frames (ew.reconstruct_halves, ew.compare_halves)"
        )
    from exitwave.reports.shown_figure import ShownFigure

    whole = ShownFigure(figsize=(4.6 * len(evaluation.curves), 3.1), facecolor="white", layout="constrained")
    parts = whole.subfigures(1, len(evaluation.curves), squeeze=False)[0]
    for (name, curve), part in zip(evaluation.curves.items(), parts, strict=True):
        axes = part.add_subplot()
        panels.draw_ring_correlation(part, axes, curve, None)
        half_bit = curve.crossing(curve.half_bit)
        axes.set_title(f"{name}: half-bit at {number(half_bit)} of Nyquist")
    return whole


@drawn.register
def _(comparison: Comparison) -> Figure:
    shown = samples(comparison)[:MOST_COLUMNS]
    if not shown:
        raise InputError("no solver of this comparison found anything; its entries say why (entry.remark)")
    first, curves_in = shown[0].view, 3.2
    bright, phases = contrast(first.amplitude), (-np.pi, np.pi) if first.wrapped else contrast(first.phase)
    colours = panels.cyclic_map() if first.wrapped else "viridis"
    grid = grid_figure(2, max(len(shown), 2), first.size_m, below_in=curves_in)
    for column, sample in enumerate(shown):
        axes = grid.place(0, column, f"{sample.name}: amplitude")
        panels.draw_image(axes, sample.view.amplitude, first.extent_m, "gray", bright)
        if sample.view.maps:
            panels.draw_map(grid.place(1, column, f"{sample.name}: displacement"), sample.view, "displacement")
            continue
        values = np.angle(np.exp(1j * sample.view.phase)) if first.wrapped else sample.view.phase
        axes = grid.place(1, column, f"{sample.name}: phase")
        panels.draw_image(axes, values, first.extent_m, colours, phases, unit="rad")
    width_in, height_in = grid.figure.get_size_inches()
    axes = grid.figure.add_axes(
        (0.7 / width_in, 0.5 / height_in, min(6.0, width_in - 1.0) / width_in, (curves_in - 0.9) / height_in)
    )
    draw_histories(axes, comparison)
    return grid.figure


@drawn.register
def _(measurement: Measurement) -> Figure:
    grid = grid_figure(1, 1, _size(measurement.frame_shape))
    _draw_pattern(
        grid.place(0, 0, f"mean pattern, {measurement.geometry.particle}s"), measurement, _frames(measurement)
    )
    return grid.figure


@drawn.register
def _(scan: Scan) -> Figure:
    index = _frames(scan)
    grid = grid_figure(1, 3, _size(scan.frame_shape), right_in=0.5, below_in=0.4)
    quanta = f"{scan.geometry.particle}s"
    photons = _draw_pattern(grid.place(0, 0, f"mean pattern, {quanta}"), scan, index)
    centres = scan.positions_m.numpy()
    scale, unit = length_unit(float(np.ptp(centres, axis=0).max()))
    axes = grid.place(0, 1, "positions", shift_in=0.35)
    axes.plot(centres[:, 1] / scale, centres[:, 0] / scale, color=panels.GREY, linewidth=0.4)
    axes.scatter(
        centres[:, 1] / scale,
        centres[:, 0] / scale,
        s=float(np.clip(4000 / len(centres), 1.5, 20)),
        c=np.arange(len(centres)),
        cmap="viridis",
        rasterized=len(centres) > panels.MOST_VECTOR_POINTS,
    )
    axes.set(aspect="equal", xlabel=f"x ({unit}); later frames brighter", ylabel=f"y ({unit})")
    axes.invert_yaxis()
    axes = grid.place(0, 2, f"{quanta} in each frame", shift_in=0.5)
    axes.plot(index.numpy(), photons, color=panels.BLUE, linewidth=0.8, marker="." if len(photons) < 60 else "")
    axes.set(xlabel="frame", ylim=(0, 1.1 * max(float(photons.max()), 1e-9)))
    return grid.figure


@drawn.register
def _(curve: RockingCurve) -> Figure:
    return rocking_figure(curve)


def _size(shape: tuple[int, int]) -> tuple[float, float]:
    return float(shape[0]), float(shape[1])


def _frames(measurement: Measurement) -> torch.Tensor:
    """Frames to look at, evenly chosen."""
    most = max(1, min(MOST_FRAMES, MOST_PIXELS // int(np.prod(measurement.frame_shape)), len(measurement)))
    return torch.linspace(0, len(measurement) - 1, most).round().long()


def _draw_pattern(axes: Axes, measurement: Measurement, index: torch.Tensor) -> np.ndarray:
    """The mean of some frames on a logarithmic scale, pixels that are masked left empty; the photons in each of them."""
    total, photons = torch.zeros(measurement.frame_shape, dtype=torch.float64), list[float]()
    for part in index.split(32):
        frames = torch.where(measurement.mask, measurement.frames(part), 0.0).double()
        total += frames.sum(dim=0)
        photons += frames.sum(dim=(1, 2)).tolist()
    mean = np.where(measurement.mask.numpy(), (total / len(index)).numpy(), np.nan)
    panels.draw_counts(axes, mean)
    return np.asarray(photons)
