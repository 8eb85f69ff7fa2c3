"""The pictures of a comparison: every reconstruction in the gauge, the frame and the colours of one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, singledispatch
from typing import TYPE_CHECKING

import numpy as np

from exitwave.data.errors import ExitwaveError
from exitwave.data.estimate import Estimate
from exitwave.data.result import Result
from exitwave.evaluation.comparison import AlignedEstimate, Comparison, ComparisonEntry, align_estimate, as_it_is
from exitwave.evaluation.region import phased_region, projection, visible_region
from exitwave.reports import panels
from exitwave.reports.axes import curve_figure, image_figure
from exitwave.reports.crystal_views import CUTS
from exitwave.reports.formatting import duration, number
from exitwave.reports.pictures import SMALL_IN, Picture, Row
from exitwave.reports.svg import inline_svg
from exitwave.reports.views import View, contrast, pixel_pair, view

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PIXELS = 400
"""Longest side of a picture; there are many on the page."""
COLOURS = ("#3b82c4", "#d9730d", "#2a9d6f", "#b453a8", "#c2a000", "#7a6ff0", "#c8434b", "#5c9bb5")
"""Of the curves, in order; readable on white and on black."""
NEARLY = 1.05
"""A residual of so many times its last value has nearly reached it."""
DASHES = ("-", "--", ":", "-.")
"""For more curves than colours."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A reconstruction, or the truth, as it is shown."""

    name: str
    view: View
    probe: np.ndarray | None
    """The strongest mode of the probe, where there is one."""
    cuts: tuple[View, ...] = ()
    """All planes that are shown of a volume; `view` is the first."""


def samples(comparison: Comparison) -> list[Sample]:
    """All that can be shown, laid onto the truth or, without it, onto the first result; the reference comes first."""
    done = [(entry.name, entry.result) for entry in comparison.entries if entry.result is not None]
    if not done:
        return []
    name = "truth" if comparison.truth is not None else done[0][0]
    others = done if comparison.truth is not None else done[1:]
    return laid_onto(comparison.truth or done[0][1].estimate, name, others, done[0][1])


@singledispatch
def laid_onto(
    reference: Estimate, name: str, others: Sequence[tuple[str, Result]], first_result: Result
) -> list[Sample]:
    """The reference under its name and others laid onto it, by kind of estimate."""
    pixel_m = pixel_pair(first_result.object_pixel_m)
    region, phased = visible_region(reference).numpy(), phased_region(reference).numpy()
    image = projection(reference).numpy()
    first = view(image, region, pixel_m, phased=phased, most_pixels=MOST_PIXELS)
    shown = [Sample(name=name, view=first, probe=_probe(as_it_is(reference)))]
    for name, result in others:
        laid = _laid(result, reference)
        if laid is not None:
            seen = view(
                laid.object.numpy(),
                region,
                pixel_m,
                phased=phased,
                ramp_rad_px=first.ramp_rad_px,
                most_pixels=MOST_PIXELS,
            )
            shown.append(Sample(name=name, view=seen, probe=_probe(laid)))
    return shown


def _probe(laid: AlignedEstimate) -> np.ndarray | None:
    return None if laid.probe is None else laid.probe.numpy()


def _laid(result: Result, reference: Estimate) -> AlignedEstimate | None:
    """None where two reconstructions have so little in common that they cannot be laid onto each other."""
    try:
        return align_estimate(result.estimate, reference)
    except ExitwaveError:
        return None


def rows(shown: Sequence[Sample], result: Result) -> list[Row]:
    """Amplitudes, phases, differences from the reference and probes, each row in one scale of colours."""
    if shown[0].cuts:
        return _rows_of_cuts(shown)
    first = shown[0]
    bright, phases = contrast(first.view.amplitude), contrast(first.view.phase)
    differences = [np.abs(sample.view.image - first.view.image) for sample in shown]
    worst = max((contrast(d, 0, 99)[1] for d in differences[1:]), default=1.0)
    # A reconstruction that failed must not make all others look perfect.
    most = min(worst, 0.5 * bright[1])

    def amplitude(axes: Axes, index: int) -> None:
        panels.draw_image(axes, shown[index].view.amplitude, first.view.extent_m, "gray", bright)

    def phase(axes: Axes, index: int) -> None:
        values = shown[index].view.phase
        if first.view.wrapped:
            values = np.angle(np.exp(1j * values))
            panels.draw_image(axes, values, first.view.extent_m, panels.cyclic_map(), (-np.pi, np.pi), unit="rad")
        else:
            panels.draw_image(axes, values, first.view.extent_m, "viridis", phases, unit="rad")

    def difference(axes: Axes, index: int) -> None:
        panels.draw_image(axes, differences[index], first.view.extent_m, "magma", (0.0, most))

    size_m = first.view.size_m
    made = [
        _row("Amplitude", "a", shown, size_m, amplitude),
        _row("Phase", "p", shown, size_m, phase),
        _row(f"Difference from {first.name}", "d", shown, size_m, difference, leave_out=1),
    ]
    if first.probe is not None:
        made.append(_probes(shown, first.probe, result.object_pixel_m))
    return [row for row in made if row.pictures]


def _rows_of_cuts(shown: Sequence[Sample]) -> list[Row]:
    """Amplitude and displacement of volumes, and how far amplitudes differ, in each of the planes that are shown."""
    made: list[Row] = []
    for place, first in enumerate(shown[0].cuts):
        bright, (where, _) = contrast(first.amplitude), CUTS[place]
        planes = [sample.cuts[place] for sample in shown]
        differences = [plane.amplitude - first.amplitude for plane in planes]
        draws: tuple[tuple[str, Callable[[Axes, int], None], int], ...] = (
            ("amplitude", partial(_draw_plane, planes=planes, limits=bright), 0),
            ("displacement", partial(_draw_displacement, planes=planes), 0),
            (f"amplitude less that of {shown[0].name}", partial(_draw_difference, maps=differences, like=first), 1),
        )
        heading = where.removeprefix("the ").capitalize()
        made += [
            _row(f"{heading}: {what}", f"k{place}{letter}", shown, first.size_m, draw, leave_out)
            for letter, (what, draw, leave_out) in zip("adc", draws, strict=True)
        ]
    return [row for row in made if row.pictures]


def _draw_plane(axes: Axes, index: int, planes: Sequence[View], limits: tuple[float, float]) -> None:
    panels.draw_image(axes, planes[index].amplitude, planes[index].extent_m, "gray", limits)


def _draw_displacement(axes: Axes, index: int, planes: Sequence[View]) -> None:
    # All in the colours of the first.
    (u,) = (each for each in planes[0].maps if each.name == "displacement")
    most = max(map(abs, contrast(u.values, 1, 99)))
    (shown,) = (each for each in planes[index].maps if each.name == "displacement")
    panels.draw_image(axes, shown.values, planes[index].extent_m, panels.SIGNED, (-most, most), unit=shown.unit)


def _draw_difference(axes: Axes, index: int, maps: Sequence[np.ndarray], like: View) -> None:
    most = 0.5 * contrast(like.amplitude)[1]
    panels.draw_image(axes, maps[index], like.extent_m, panels.SIGNED, (-most, most))


def _probes(shown: Sequence[Sample], reference: np.ndarray, pixel_m: tuple[float, ...]) -> Row:
    height, width = reference.shape[0] * pixel_m[0], reference.shape[1] * pixel_m[1]

    def draw(axes: Axes, index: int) -> None:
        probe = shown[index].probe
        if probe is not None:
            panels.draw_complex(axes, probe, (0.0, width, height, 0.0), brightest=float(np.abs(reference).max()))

    return _row("Probe, strongest mode", "m", shown, (height, width), draw)


def _row(
    heading: str,
    letter: str,
    shown: Sequence[Sample],
    size_m: tuple[float, float],
    draw: Callable[[Axes, int], None],
    leave_out: int = 0,
) -> Row:
    made: list[Picture] = []
    for index in range(leave_out, len(shown)):
        figure, axes = image_figure(size_m, SMALL_IN)
        draw(axes, index)
        name = shown[index].name
        made.append(Picture(svg=inline_svg(figure, f"c{letter}{index}", f"{heading}: {name}"), caption=name))
    return Row(heading=heading, pictures=made)


def curve_pictures(comparison: Comparison) -> list[Picture]:
    """Residuals over epochs and over time, and ring correlations, all solvers in one plot each."""
    entries = [entry for entry in comparison.entries if entry.result is not None and len(entry.result.history)]
    made: list[Picture] = []
    # Points alone, as of networks, are no curves; their values stand in the table.
    curved = any(len(_history(entry)) > 1 for entry in entries)
    if curved:
        epochs = [(e, np.arange(1, len(_history(e)) + 1)) for e in entries]
        made.append(_curves("over epochs", "epoch", epochs, comparison))
    timed = [(e, np.asarray(e.times_s)) for e in entries if len(e.times_s) == len(_history(e))]
    if curved and timed:
        made.append(_curves("over time", "seconds since the solver started", timed, comparison))
    if known := [entry for entry, _ in timed if entry.seconds == entry.seconds]:
        made.append(_time_bars(known, comparison))
    for kind, against in (("FRC", "with the truth"), ("FRC-split", "of two halves of the frames")):
        found = [e for e in comparison.entries if e.evaluation is not None and kind in e.evaluation.curves]
        if found:
            made.append(_rings(kind, against, found, comparison))
    return made


def draw_histories(axes: Axes, comparison: Comparison) -> None:
    """Residuals of all solvers over epochs."""
    entries = [entry for entry in comparison.entries if len(_history(entry))]
    _draw_residuals(axes, "epoch", [(e, np.arange(1, len(_history(e)) + 1)) for e in entries], comparison)
    axes.legend(frameon=False)


def _draw_residuals(
    axes: Axes, label: str, curves: Sequence[tuple[ComparisonEntry, np.ndarray]], comparison: Comparison
) -> None:
    for entry, across in curves:
        values = _history(entry)
        colour, dashes = _line(entry, comparison)
        marker = "o" if len(values) < 15 else ""
        values = np.where(values > 0, values, np.nan)
        axes.plot(across, values, color=colour, linestyle=dashes, marker=marker, markersize=3, label=entry.name)
    panels.finish_history(axes, label)


def _history(entry: ComparisonEntry) -> np.ndarray:
    return np.asarray(() if entry.result is None else entry.result.history, dtype=float)


def _line(entry: ComparisonEntry, comparison: Comparison) -> tuple[str, str]:
    """Colour and dashes of an entry, the same in every plot."""
    place = [other.name for other in comparison.entries].index(entry.name)
    return COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)]


def _curves(
    title: str, label: str, curves: Sequence[tuple[ComparisonEntry, np.ndarray]], comparison: Comparison
) -> Picture:
    figure, axes = curve_figure(height_in=3.3)
    _draw_residuals(axes, label, curves, comparison)
    figure.legend(frameon=False, loc="outside lower center", ncols=3, columnspacing=1.2)
    ends = ", ".join(f"{entry.name} {number(float(_history(entry)[-1]))}" for entry, _ in curves)
    svg = inline_svg(figure, f"residuals-{title}", f"Residuals {title}; at the end: {ends}")
    return Picture(svg=svg, caption=f"Squared relative amplitude residual met during each epoch, {title}.")


def _time_bars(entries: Sequence[ComparisonEntry], comparison: Comparison) -> Picture:
    """A bar of the solver's time for each, solid until the residual had nearly reached its last value."""
    figure, axes = curve_figure(height_in=0.7 + 0.3 * len(entries))
    most = max(entry.seconds for entry in entries)
    for place, entry in enumerate(entries):
        colour, _ = _line(entry, comparison)
        settled = float(entry.times_s[int(np.argmax(_history(entry) <= NEARLY * _history(entry)[-1]))])
        axes.barh(place, entry.seconds, color=colour, alpha=0.35, height=0.6)
        axes.barh(place, settled, color=colour, height=0.6)
        axes.text(entry.seconds + 0.01 * most, place, duration(entry.seconds), va="center")
    axes.set_yticks(range(len(entries)), [entry.name for entry in entries])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15 * most)
    axes.set_xlabel("seconds")
    axes.spines[["top", "right"]].set_visible(False)
    told = ", ".join(f"{entry.name} {duration(entry.seconds)}" for entry in entries)
    svg = inline_svg(figure, "times", f"Time of each solver: {told}")
    return Picture(svg=svg, caption="Time of each solver; solid until the residual was within 5 % of its last value.")


def _rings(kind: str, against: str, entries: Sequence[ComparisonEntry], comparison: Comparison) -> Picture:
    figure, axes = curve_figure(height_in=3.3)
    for entry in entries:
        assert entry.evaluation is not None
        curve = entry.evaluation.curves[kind]
        colour, dashes = _line(entry, comparison)
        axes.plot(curve.frequency, curve.correlation, color=colour, linestyle=dashes, label=entry.name)
    assert entries[0].evaluation is not None
    curve = entries[0].evaluation.curves[kind]
    axes.plot(
        curve.frequency[1:], curve.half_bit[1:], color=panels.GREY, linestyle="--", linewidth=0.9, label="half-bit"
    )
    panels.finish_rings(axes)
    figure.legend(frameon=False, loc="outside lower center", ncols=3, columnspacing=1.2)
    svg = inline_svg(figure, f"rings-{kind}", f"Fourier ring correlation {against} of {len(entries)} reconstructions")
    return Picture(svg=svg, caption=f"{kind}: Fourier ring correlation {against}.")
