"""Measured beside calculated patterns, frame by frame: pictures that show what a residual only sums up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from exitwave.data.frame_fits import FrameFits
from exitwave.data.result import Result
from exitwave.reports import panels
from exitwave.reports.axes import image_figure
from exitwave.reports.formatting import angle, length, number
from exitwave.reports.frame_numbers import frame_numbers
from exitwave.reports.pictures import USUAL_IN, Picture, Row
from exitwave.reports.svg import inline_svg
from exitwave.reports.views import contrast, pixel_pair

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DECADES = 6.0
"""Below the brightest pixel that a picture shows at most."""


def pattern_rows(result: Result) -> list[Row]:
    """Best, median and worst frame: measured, calculated, and their difference in units of photon noise."""
    fits = result.frame_fits
    return [] if fits is None else [_row(result, fits, place) for place in range(len(fits.frames))]


def _row(result: Result, fits: FrameFits, place: int) -> Row:
    measured, calculated = fits.measured[place].numpy(), fits.calculated[place].numpy()
    pattern = Compared(
        name=fits.names[place],
        measured=measured,
        calculated=calculated,
        binned=fits.binned,
        extent=pattern_extent(result, calculated.shape, fits.binned),
        size=length if result.geometry.near_field else angle,
        particle=result.geometry.particle,
    )
    return compared_row(pattern, f"f{place}", _heading(result, fits, place), "Calculated from object and probe.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """A measured pattern and the calculated one, and how they are drawn."""

    name: str
    measured: Float[np.ndarray, "y x"]
    calculated: Float[np.ndarray, "y x"]
    binned: int
    """Rows and columns of pixels whose mean is one here."""
    extent: tuple[float, float, float, float]
    """Left, right, bottom, top edge."""
    size: Callable[[float], str]
    """A length along these axes in words."""
    particle: str


def compared_row(pattern: Compared, prefix: str, heading: str, calculated: str) -> Row:
    """Measured, calculated, and their difference in units of photon noise; `prefix` begins the ids of the pictures."""
    # Roots of counts scatter by 1/2, the mean of n pixels by the root of n less.
    roots = np.sqrt(pattern.calculated.clip(min=0)) - np.sqrt(pattern.measured.clip(min=0))
    deviation = 2 * pattern.binned * roots
    brightest = max(contrast(pattern.measured, 0, 100)[1], 1e-30)
    counts = partial(_draw_counts, lowest=_lowest(brightest), brightest=brightest, unit=f"{pattern.particle}s")
    most = max(3.0, contrast(np.abs(deviation), 0, 99.5)[1])
    shown: tuple[tuple[str, np.ndarray, Callable[..., None], str], ...] = (
        ("measured", pattern.measured, counts, "Measured; grey where the detector is not trusted."),
        ("calculated", pattern.calculated, counts, calculated),
        (
            "difference",
            deviation,
            partial(_draw_deviation, most=most),
            "Difference, in standard deviations of counting.",
        ),
    )
    extent, made = pattern.extent, list[Picture]()
    for kind, values, draw, caption in shown:
        figure, axes = image_figure((extent[2] - extent[3], extent[1] - extent[0]), USUAL_IN)
        draw(axes, values, extent=extent, size=pattern.size)
        svg = inline_svg(figure, f"{prefix}{kind}", f"Diffraction pattern of {pattern.name}, {kind}")
        made.append(Picture(svg=svg, caption=caption))
    return Row(heading=heading, pictures=made)


def _heading(result: Result, fits: FrameFits, place: int) -> str:
    name = fits.names[place].capitalize()
    if len(fits.frames) == 1:
        return name
    frame = fits.frames[place]
    residual = result.frame_residual
    fit = f", residual {number(float(residual[frame]))}" if residual is not None and frame < len(residual) else ""
    return f"{name}: number {frame_numbers(result)[frame]}{fit}"


def pattern_extent(result: Result, shape: tuple[int, ...], binned: int) -> tuple[float, float, float, float]:
    """Left, right, bottom, top edge of a pattern: angles in radians around the beam; in the near field metres on the detector."""
    height, width = (side * binned for side in shape)
    if result.geometry.near_field:
        steps = result.geometry.detector_pixel_m
    else:
        # A window of n pixels in the sample is the inverse of an angle: independent of how distance and pixel were stated.
        pixel_y, pixel_x = pixel_pair(result.object_pixel_m)
        wavelength = result.geometry.wavelength_m
        steps = wavelength / (height * pixel_y), wavelength / (width * pixel_x)
    middle_y, middle_x = (height // 2 + 0.5) * steps[0], (width // 2 + 0.5) * steps[1]
    return -middle_x, width * steps[1] - middle_x, height * steps[0] - middle_y, -middle_y


def _lowest(brightest: float) -> float:
    """The lower end of a logarithmic scale: half a photon, or far below the brightest pixel where values are no photons."""
    return max(0.5, brightest / 10**DECADES) if brightest > 5 else brightest / 10**DECADES * 1e2


def _draw_counts(
    axes: Axes,
    counts: Float[np.ndarray, "y x"],
    *,
    lowest: float,
    brightest: float,
    unit: str,
    extent: tuple[float, float, float, float],
    size: Callable[[float], str],
) -> None:
    shown = np.log10(np.where(np.isfinite(counts), counts.clip(min=lowest), np.nan))
    limits = float(np.log10(lowest)), float(np.log10(brightest))
    panels.draw_image(
        axes,
        shown,
        extent,
        "inferno",
        limits,
        unit=f"{unit} per pixel",
        decades=True,
        size=size,
    )


def _draw_deviation(
    axes: Axes,
    deviation: Float[np.ndarray, "y x"],
    *,
    most: float,
    extent: tuple[float, float, float, float],
    size: Callable[[float], str],
) -> None:
    panels.draw_image(axes, deviation, extent, "RdBu_r", (-most, most), size=size)
