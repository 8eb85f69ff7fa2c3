"""The pictures of the report page, each with a caption and words for those who cannot see it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from exitwave.data.result import Result
from exitwave.reports import figures, panels, tables
from exitwave.reports.formatting import number
from exitwave.reports.svg import inline_svg
from exitwave.reports.views import View, contrast, shown_like

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from exitwave.evaluation.resolution import RingCorrelation

MOST_MODES = 12
"""Probe modes that are shown; weaker ones are only counted."""
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


def object_row(view: View, index: int, count: int) -> Row:
    """Amplitude, phase and complex image of a slice of the object."""
    where = f"slice {index + 1} of {count}" if count > 1 else "the object"
    ramp = f"global phase and a ramp of ({number(view.ramp_rad_px[0])}, {number(view.ramp_rad_px[1])}) rad/px (y, x)"
    kind = "wrapped, as it has vortices or steps too steep to unwrap" if view.wrapped else "unwrapped"

    def draw_complex(axes: Axes) -> None:
        panels.draw_complex(axes, view.image, view.extent_m, brightest=contrast(view.amplitude)[1])

    return Row(
        heading=where.removeprefix("the ").capitalize() if count > 1 else "",
        pictures=[
            _picture(
                view,
                f"o{index}a",
                f"Amplitude of {where}",
                "Amplitude of the transmission function.",
                lambda axes: panels.draw_amplitude(axes, view),
            ),
            _picture(
                view,
                f"o{index}p",
                f"Phase of {where}",
                f"Phase, {kind}; {ramp} taken off for display.",
                lambda axes: panels.draw_phase(axes, view),
            ),
            _picture(
                view,
                f"o{index}c",
                f"Complex image of {where}",
                "Complex image: hue is the phase, brightness the amplitude; same ramp taken off.",
                draw_complex,
            ),
        ],
    )


def spread_pictures(result: Result, views: list[View]) -> list[Picture]:
    """The standard deviation of each slice of the object, where the solver gave one."""
    if result.spread is None:
        return []
    deviations = shown_like(result, np.abs(result.spread.object.detach().cpu().numpy()))
    return [
        _spread_picture(deviation, view, f"slice {index + 1}" if len(views) > 1 else "the object", f"s{index}")
        for index, (deviation, view) in enumerate(zip(deviations, views, strict=True))
    ]


def _spread_picture(deviation: np.ndarray, view: View, where: str, name: str) -> Picture:
    share = float(np.nanmedian(deviation)) / max(float(np.nanmedian(view.amplitude)), 1e-30)
    return _picture(
        view,
        name,
        f"Standard deviation of {where}",
        f"Standard deviation of each pixel of {where}; its median is {number(100 * share, 2)} % of the median amplitude.",
        lambda axes: figures.draw_spread(axes, deviation, view),
    )


def probe_rows(result: Result) -> list[Row]:
    """Each mode of the probe as complex image and amplitude, with its share of the photons."""
    if result.estimate.support is not None:
        return []
    powers = figures.mode_powers(result)
    return [_mode_row(result, mode, float(powers[mode])) for mode in range(min(len(powers), MOST_MODES))]


def _mode_row(result: Result, mode: int, power: float) -> Row:
    left, right, bottom, top = figures.probe_extent_m(result)
    size_m = (bottom - top, right - left)
    draws = {
        "complex": (figures.draw_mode, "Complex: hue is the phase, brightness the amplitude."),
        "amplitude": (figures.draw_mode_amplitude, "Amplitude."),
    }
    made: list[Picture] = []
    for kind, (draw, caption) in draws.items():
        figure, axes = figures.image_figure(size_m, SMALL_IN)
        draw(axes, result, mode)
        svg = inline_svg(figure, f"m{mode}{kind}", f"Probe mode {mode + 1}, {kind}")
        made.append(Picture(svg=svg, caption=caption))
    return Row(heading=f"Mode {mode + 1}: {number(100 * power)} % of the photons", pictures=made)


def fit_pictures(result: Result, view: View) -> Iterator[Picture]:
    """How the fit went and where it is good: residual over epochs, and over the scan."""
    if len(result.history):
        figure, axes = figures.curve_figure()
        panels.draw_history(axes, result.history, residual=result.residual, free_residual=result.free_residual)
        first, last = number(result.history[0]), number(result.history[-1])
        alt = f"Residual over {len(result.history)} epochs, from {first} to {last}"
        caption = "Squared relative amplitude residual met during each epoch."
        yield Picture(svg=inline_svg(figure, "history", alt), caption=caption)
    if result.estimate.support is not None:
        support = result.estimate.support.any(dim=0).cpu().numpy().astype(float)
        height, width = (n * size for n, size in zip(support.shape, result.object_pixel_m, strict=True))
        figure, axes = figures.image_figure((height, width), WIDE_IN)
        panels.draw_image(axes, support, (0.0, width, height, 0.0), "gray", (0.0, 1.0))
        caption = "Support in the whole frame: white where the object was allowed to be."
        yield Picture(svg=inline_svg(figure, "support", "Support of the object"), caption=caption)
        return
    known = result.frame_residual is not None
    alt = "Probe positions over the object" + (", coloured by the residual of each frame" if known else "")
    caption = f"Centres of the {len(result.estimate.positions_px)} probe positions over the object's amplitude" + (
        ", coloured by the residual of each frame." if known else "; residuals of single frames were not recorded."
    )
    yield _picture(
        view, "positions", alt, caption, lambda axes: panels.draw_positions(axes, result, view), width_in=WIDE_IN
    )


def ring_picture(name: str, curve: RingCorrelation, result: Result) -> Picture:
    """One Fourier ring correlation with its thresholds."""
    against = "reconstructions of two halves of the frames" if name.endswith("split") else "reconstruction and truth"
    crossing = tables.half_period(curve.crossing(curve.half_bit), result)
    figure, axes = figures.curve_figure()
    panels.draw_ring_correlation(figure, axes, curve, result.object_pixel_m)
    return Picture(
        svg=inline_svg(
            figure, f"ring{name}", f"Fourier ring correlation of {against}; half-bit crossing at {crossing}"
        ),
        caption=f"{name}: Fourier ring correlation of {against}. Half period at the half-bit threshold: {crossing}.",
    )


def _picture(
    view: View, name: str, alt: str, caption: str, draw: Callable[[Axes], None], *, width_in: float = USUAL_IN
) -> Picture:
    long = view.size_m[0] < 0.3 * view.size_m[1]
    figure, axes = figures.image_figure(view.size_m, LONG_IN if long else width_in)
    draw(axes)
    return Picture(svg=inline_svg(figure, name, alt), caption=caption, long=long)
