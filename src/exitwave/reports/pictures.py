"""The pictures of the report page, each with a caption and words for those who cannot see it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from exitwave.data.result import Result
from exitwave.reports import panels
from exitwave.reports.axes import curve_figure, image_figure
from exitwave.reports.formatting import half_period, number
from exitwave.reports.svg import inline_svg
from exitwave.reports.views import View, contrast, pixel_pair, shown_like

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from exitwave.evaluation.resolution import RingCorrelation

LONG_IN, WIDE_IN, USUAL_IN, SMALL_IN = 9.0, 4.4, 3.6, 2.7
"""Widths at which figures are drawn: about those at which the page shows them, so that all text has one size."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One figure of the page."""

    svg: Markup
    caption: str
    long: bool = False
    """So much wider than high that it needs the whole width of the page."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Pictures that belong together."""

    heading: str
    pictures: list[Picture]


def object_row(where: str, view: View, index: int, count: int) -> Row:
    """Amplitude, phase and complex image of what is shown of the object."""
    ramp = f"global phase and a ramp of ({number(view.ramp_rad_px[0])}, {number(view.ramp_rad_px[1])}) rad/px (y, x)"
    kind = "wrapped, as it has vortices or steps too steep to unwrap" if view.wrapped else "unwrapped"

    hidden = bool((np.isfinite(view.amplitude) & ~np.isfinite(view.phase)).any())
    where_sure = " where frames overlap" if hidden else ""

    def draw_complex(axes: Axes, view: View) -> None:
        panels.draw_complex(axes, view.phased, view.extent_m, brightest=contrast(view.amplitude)[1])

    hue = "Complex image: hue is the phase, brightness the amplitude; same ramp taken off."
    shown = (
        ("a", "Amplitude", "Amplitude of the transmission function.", panels.draw_amplitude),
        ("p", "Phase", f"Phase{where_sure}, {kind}; {ramp} taken off for display.", panels.draw_phase),
        ("c", "Complex image", hue, draw_complex),
    )
    if view.maps:
        maps = tuple(
            (f"m{each.name}", each.name.capitalize(), each.caption, partial(panels.draw_map, name=each.name))
            for each in view.maps
        )
        shown = (("a", "Amplitude", "Amplitude: density of the crystal's planes.", panels.draw_amplitude), *maps)
    return Row(
        heading=where.removeprefix("the ").capitalize() if count > 1 else "",
        pictures=[
            picture(view, f"o{index}{letter}", f"{what} of {where}", caption, partial(draw, view=view))
            for letter, what, caption, draw in shown
        ],
    )


def spread_pictures(result: Result, views: list[tuple[str, View]]) -> list[Picture]:
    """The standard deviation of each image of the object, where the solver gave one."""
    if result.spread is None:
        return []
    made: list[Picture] = []
    for deviation, (where, view) in zip(shown_like(result, result.spread), views, strict=True):
        # Of what stands alone the dark around it counts for nothing.
        inside = np.isfinite(view.phase) if view.maps else np.ones(deviation.shape, dtype=bool)
        share = float(np.nanmedian(deviation[inside])) / max(float(np.nanmedian(view.amplitude[inside])), 1e-30)
        median = f"its median is {number(100 * share, 2)} % of the median amplitude"
        caption = f"Standard deviation of each pixel of {where}; {median}."
        limits = 0.0, contrast(deviation)[1]
        draw = partial(panels.draw_image, values=deviation, extent_m=view.extent_m, colours="magma", limits=limits)
        made.append(picture(view, f"s{len(made)}", f"Standard deviation of {where}", caption, draw))
    return made


def history_picture(result: Result) -> Iterator[Picture]:
    """Residual over epochs, where there were several: one point is no curve, and its value stands in the headline."""
    if len(result.history) > 1:
        figure, axes = curve_figure()
        panels.draw_history(axes, result.history, residual=result.residual, free_residual=result.free_residual)
        first, last = number(result.history[0]), number(result.history[-1])
        alt = f"Residual over {len(result.history)} epochs, from {first} to {last}"
        caption = "Squared relative amplitude residual met during each epoch."
        yield Picture(svg=inline_svg(figure, "history", alt), caption=caption)


def ring_picture(name: str, curve: RingCorrelation, result: Result) -> Picture:
    """One Fourier ring correlation with its thresholds."""
    if name == "PRTF":
        return _transfer_picture(curve, result)
    where, against = "shell" if name.startswith("FSC") else "ring", "reconstruction and truth"
    if name.endswith("split"):
        against = "reconstructions of two halves of the frames"
    elif name.endswith("starts"):
        against = "reconstructions from other starts"
    crossing = half_period(curve.crossing(curve.half_bit), result.object_pixel_m)
    remark = f" ({curve.remark})" if curve.remark else ""
    figure, axes = curve_figure()
    panels.draw_ring_correlation(figure, axes, curve, pixel_pair(result.object_pixel_m))
    return Picture(
        svg=inline_svg(
            figure, f"ring{name}", f"Fourier {where} correlation of {against}; half-bit crossing at {crossing}"
        ),
        caption=f"{name}: Fourier {where} correlation of {against}. Half period at the half-bit threshold: {crossing}{remark}.",
    )


def _transfer_picture(curve: RingCorrelation, result: Result) -> Picture:
    """Agreement of phases between several starts, with its usual threshold."""
    crossing = half_period(curve.crossing(1 / math.e), result.object_pixel_m)
    figure, axes = curve_figure()
    axes.plot(curve.frequency, curve.correlation, color=panels.BLUE)
    axes.axhline(1 / math.e, color=panels.GREY, linestyle="--", linewidth=0.8)
    panels.finish_rings(axes)
    axes.set_ylabel("transfer")
    told = f"half period at 1/e: {crossing}"
    return Picture(
        svg=inline_svg(figure, "ringPRTF", f"Phase retrieval transfer function; {told}"),
        caption=f"PRTF: phase retrieval transfer function over shells; {told}.",
    )


def picture(
    view: View, name: str, alt: str, caption: str, draw: Callable[[Axes], None], *, width_in: float = USUAL_IN
) -> Picture:
    long = view.size_m[0] < 0.3 * view.size_m[1]
    figure, axes = image_figure(view.size_m, LONG_IN if long else width_in)
    draw(axes)
    return Picture(svg=inline_svg(figure, name, alt), caption=caption, long=long)
