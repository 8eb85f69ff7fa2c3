"""The interactive page: images of a result to pan, zoom and measure in, offline and without a server."""

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from exitwave.data.estimate import PtychoEstimate
from exitwave.data.result import Result
from exitwave.io.atomic import replacing
from exitwave.io.given import GivenResult, given_result
from exitwave.reports import tables
from exitwave.reports.panels import SIGNED, cyclic_map
from exitwave.reports.templates import filled, solver_name
from exitwave.reports.views import contrast, object_views, pixel_pair, shown_like

MOST_PIXELS = 2048
"""Longest side of an image of the page; larger ones are averaged down to it."""
LEVELS = 65535
"""Steps between the least and the largest value of an image, as it is packed; 0 stands for what is empty."""
COLOURS = ("gray", "viridis", "magma", "inferno", SIGNED, "phase")
"""Colour maps that the page offers; `phase` is the cyclic one."""


def view(result: GivenResult, path: str | Path) -> None:
    """Write the interactive page of a result: pan, zoom, contrast, colours, line profiles, slices and probe modes.

    One HTML file without any outside reference, for any browser of today; it appears whole or not at all. Raises InputError where
    it cannot be written.
    """
    loaded = given_result(result)
    with replacing(Path(path)) as partly:
        partly.write_text(render_view(loaded), encoding="utf-8")


def render_view(result: Result) -> str:
    """The page as text."""
    held = {"layers": list(_layers(result)), "colours": _colour_tables()}
    return filled(
        "viewer.html",
        {
            "title": tables.title(result),
            "solver": solver_name(result.spec),
            "grade": "" if result.verdict is None else result.verdict.grade,
            # Names may come from files: no tag of theirs may end the script.
            "held": json.dumps(held).replace("<", "\\u003c"),
        },
    )


def _layers(result: Result) -> Iterator[dict[str, Any]]:
    views = object_views(result, MOST_PIXELS)
    for name, shown in views:
        name = name.removeprefix("the ")
        limits = (-np.pi, np.pi) if shown.wrapped else contrast(shown.phase)
        sizes = shown.size_m
        yield _layer(f"{name}: amplitude", shown.amplitude, sizes, "gray", contrast(shown.amplitude))
        for each in shown.maps:
            most = max(map(abs, contrast(each.values, 1, 99)))
            yield _layer(f"{name}: {each.name}", each.values, sizes, SIGNED, (-most, most), each.unit)
        yield _layer(f"{name}: phase", shown.phase, sizes, "phase" if shown.wrapped else "viridis", limits, "rad")
    if result.spread is not None:
        for deviation, (name, shown) in zip(shown_like(result, result.spread), views, strict=True):
            limits = (0.0, contrast(deviation)[1])
            where = name.removeprefix("the ")
            yield _layer(f"{where}: standard deviation", deviation, shown.size_m, "magma", limits)
    if isinstance(result.estimate, PtychoEstimate):
        yield from _modes(result.estimate, pixel_pair(result.object_pixel_m), f"√{result.geometry.particle}s")


def _modes(estimate: PtychoEstimate, pixel_m: tuple[float, float], unit: str) -> Iterator[dict[str, Any]]:
    for number, mode in enumerate(estimate.probe.detach().cpu().numpy(), 1):
        size_m = (mode.shape[0] * pixel_m[0], mode.shape[1] * pixel_m[1])
        amplitude = np.abs(mode)
        # Phases of what is dark are noise.
        phase = np.where(amplitude > 0.02 * amplitude.max(), np.angle(mode), np.nan)
        limits = (0.0, contrast(amplitude, 0, 100)[1])
        yield _layer(f"probe mode {number}: amplitude", amplitude, size_m, "inferno", limits, unit)
        yield _layer(f"probe mode {number}: phase", phase, size_m, "phase", (-np.pi, np.pi), "rad")


def _layer(
    name: str,
    values: Float[np.ndarray, "y x"],
    size_m: tuple[float, float],
    colours: str,
    limits: tuple[float, float],
    unit: str = "",
) -> dict[str, Any]:
    """An image as the page unpacks it: whole numbers of 16 bits, row by row, compressed."""
    finite = np.isfinite(values)
    low = min(float(values[finite].min()), limits[0]) if finite.any() else 0.0
    high = max(float(values[finite].max()), limits[1]) if finite.any() else 1.0
    steps = np.rint((np.where(finite, values, low) - low) / (high - low) * (LEVELS - 1)) + 1
    packed = np.where(finite, steps, 0).astype("<u2").tobytes()
    return {
        "name": name,
        "height": values.shape[0],
        "width": values.shape[1],
        "pixel_m": [size_m[0] / values.shape[0], size_m[1] / values.shape[1]],
        "range": [low, high],
        "limits": [float(limits[0]), float(limits[1])],
        "colours": colours,
        "unit": unit,
        # No time in it: the same result gives the same page.
        "packed": base64.b64encode(gzip.compress(packed, mtime=0)).decode(),
    }


def _colour_tables() -> dict[str, str]:
    """Each colour map as 256 times red, green, blue."""
    from matplotlib import colormaps

    found: dict[str, str] = {}
    for name in COLOURS:
        chosen = cyclic_map() if name == "phase" else colormaps[name]
        rgb = np.rint(255 * chosen(np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)
        found[name] = base64.b64encode(rgb.tobytes()).decode()
    return found
