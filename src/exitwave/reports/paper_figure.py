"""Figures for papers: object and probe as the report draws them, in a file for print."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as validated

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.refusing import refusing_in_a_line
from exitwave.data.result import Result
from exitwave.io.atomic import replacing
from exitwave.io.units import LENGTHS_M

# Imported for what it says of crystals.
from exitwave.reports import crystal as crystal, panels
from exitwave.reports.axes import INK_ON_WHITE, grid_figure
from exitwave.reports.kinds import reported
from exitwave.reports.svg import drawing
from exitwave.reports.views import ObjectImage, View, box_around, contrast, object_images, shown_view

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Panel = Literal["amplitude", "phase", "complex", "probe", "displacement", "strain"]
_OF_CRYSTALS: tuple[Panel, ...] = ("displacement", "strain")
ENDINGS = (".png", ".svg", ".pdf")
"""Of files that hold a figure."""
MOST_PIXELS = 2048
"""Longest side of an image in print."""
_SIDE = r"(\d+(?:\.\d*)?)\s*([A-Za-zµμÅ]*)"
_CROP = re.compile(rf"{_SIDE}(?:x{_SIDE})?(?:@(-?){_SIDE},\s*(-?){_SIDE})?")


@refusing_in_a_line
@validated(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class FigureOptions:
    """What a figure of a result shows, and how."""

    panel: tuple[Panel, ...] = ()
    """What to draw, side by side: amplitude, phase, complex, probe, of crystals displacement and strain; where left out amplitude,
    phase and, of a scan, the probe, of a crystal amplitude, displacement and strain."""
    dpi: Annotated[int, Field(ge=30, le=2400)] = 300
    """Dots per inch of .png, and of images in .svg and .pdf."""
    colourmap: str | None = None
    """Colours of amplitude and phase, by a name of matplotlib; grey and viridis where left out, cyclic where phases wrap."""
    crop: str | None = None
    """The part of the object to draw: HEIGHTxWIDTH or one SIDE, in pixels or with a unit (5um, 4umx6um), around the middle of the
    scanned region, or so far (y, x) from it: 4umx6um@1um,-2um."""


def save_figure(result: Result, path: str | Path, options: FigureOptions | None = None) -> None:
    """Draw a result for a paper into a .png, .svg or .pdf file: rim masked, ramp and global phase taken off, the range of the
    well-lit region, phases only where frames overlap, with scale bar and colour bar. A row for each slice.

    The file appears whole or not at all. Raises InputError for other endings and for what cannot be drawn.
    """
    path, options = Path(path), options or FigureOptions()
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"{path.name} is no figure; end its name in {', '.join(ENDINGS)}")
    with drawing(INK_ON_WHITE):
        import matplotlib

        matplotlib.rcParams["pdf.fonttype"] = 42  # Text that stays text; `drawing` puts the setting back.
        figure = paper_figure(result, options)
        stamp = "CreationDate" if path.suffix.lower() == ".pdf" else "Date"
        undated = {} if path.suffix.lower() == ".png" else {stamp: None}
        with replacing(path) as partly:
            kind = path.suffix[1:].lower()
            figure.savefig(partly, format=kind, dpi=options.dpi, bbox_inches="tight", pad_inches=0.03, metadata=undated)


def paper_figure(result: Result, options: FigureOptions) -> Figure:
    """The figure, drawn with the settings that hold."""
    images = object_images(result.estimate, result.object_pixel_m)
    chosen = _panels(result, images[0], options)
    colours = None if options.colourmap is None else _known_colours(options.colourmap)
    views = [_cropped(each, options.crop) for each in images] if set(chosen) != {"probe"} else []
    size_m = views[0].size_m if views else (1.0, 1.0)
    grid = grid_figure(max(len(views), 1), len(chosen), size_m)
    titled = len(chosen) > 1 or len(views) > 1
    for row, view in enumerate(views):
        for column, panel in enumerate(chosen):
            if panel != "probe":
                name = _title(panel, images[row], column, len(views))
                _DRAWS[panel](grid.place(row, column, name if titled else ""), view, colours)
    if "probe" in chosen:
        axes = grid.place(0, chosen.index("probe"), "")
        reported(result.estimate, result).draw_companion(axes)
        axes.set_title("probe" if titled else "")
    return grid.figure


def _panels(result: Result, image: ObjectImage, options: FigureOptions) -> tuple[Panel, ...]:
    """What is to be drawn. Raises InputError for what a result of this kind does not have."""
    maps: tuple[Panel, ...] = tuple(panel for panel in _OF_CRYSTALS if panel in {each.name for each in image.maps})
    scanned = isinstance(result.estimate, PtychoEstimate)
    usual: tuple[Panel, ...] = ("amplitude", "phase", "probe") if scanned else ("amplitude", "phase")
    of_maps: tuple[Panel, ...] = ("amplitude", *maps)
    chosen = options.panel or (of_maps if maps else usual)
    there = {*usual, *maps, "complex"}
    missing = [panel for panel in chosen if panel not in there]
    if missing:
        *most, last = (panel for panel in get_args(Panel) if panel in there)
        raise InputError(f"this result has no {missing[0]} to draw; choose {', '.join(most)} or {last}")
    return chosen


def _title(panel: Panel, image: ObjectImage, column: int, rows: int) -> str:
    where = image.name.removeprefix("the ")
    units = {each.name: f"{each.name} ({each.unit})" for each in image.maps}
    told = units.get(panel, panel)
    # Of crystals the words for a cut are long enough for one column.
    return told if rows == 1 or (image.maps and column) else f"{where}: {told}"


def _draw_map(axes: Axes, view: View, colours: str | None, *, name: str) -> None:
    panels.draw_map(axes, view, name, colours)


def _draw_amplitude(axes: Axes, view: View, colours: str | None) -> None:
    panels.draw_amplitude(axes, view, colours or "gray")


def _draw_complex(axes: Axes, view: View, colours: str | None) -> None:
    panels.draw_complex(axes, view.phased, view.extent_m, brightest=contrast(view.amplitude)[1])


_DRAWS: dict[str, Callable[[Axes, View, str | None], None]] = {
    "amplitude": _draw_amplitude,
    "phase": panels.draw_phase,
    "complex": _draw_complex,
    **{name: partial(_draw_map, name=name) for name in _OF_CRYSTALS},
}


def _known_colours(name: str) -> str:
    from difflib import get_close_matches

    from matplotlib import colormaps

    if name not in colormaps:
        near = get_close_matches(name, list(colormaps), n=3)
        raise InputError(
            f"there is no colour map {name!r}; {'did you mean ' + ' or '.join(near) if near else 'such as gray, viridis, magma'}?"
        )
    return name


def _cropped(image: ObjectImage, crop: str | None) -> View:
    if crop is None:
        return shown_view(image, MOST_PIXELS)
    rows, columns = _window(crop, image)
    part = replace(
        image,
        image=image.image[rows, columns],
        region=image.region[rows, columns],
        phased=image.phased[rows, columns],
        maps=tuple(replace(each, values=each.values[rows, columns]) for each in image.maps),
    )
    if not part.region.any():
        raise InputError(f"nothing of the scanned region lies in --crop {crop}; choose a part nearer to its middle")
    # The ramp is that of the whole image: a slope of the part alone may be the sample's.
    return shown_view(part, MOST_PIXELS, ramp_rad_px=shown_view(image).ramp_rad_px)


def _window(crop: str, image: ObjectImage) -> tuple[slice, slice]:
    """Rows and columns of a part of the object, no further than its array."""
    found = _CROP.fullmatch(crop.strip())
    if found is None:
        raise InputError(
            f"--crop {crop!r} is no part of the object; expected a side or HEIGHTxWIDTH, in pixels or with a unit, such as 200, "
            "5um or 4umx6um, and where it lies: 4umx6um@1um,-2um"
        )
    height, width = found.group(1, 2), found.group(3, 4) if found[3] else found.group(1, 2)
    away = [(sign, number or "0", unit or "") for sign, number, unit in (found.group(5, 6, 7), found.group(8, 9, 10))]
    made: list[slice] = []
    for axis, (side, (sign, number, unit)) in enumerate(zip((height, width), away, strict=True)):
        size, box = _pixels(side[0], side[1], image.pixel_m[axis]), box_around(image.region)[axis]
        offset = _pixels(number, unit, image.pixel_m[axis]) * (-1 if sign else 1)
        middle, most = (box.start + box.stop) / 2 + offset, image.image.shape[axis]
        first = min(max(round(middle - size / 2), 0), most - 1)
        made.append(slice(first, min(max(round(middle + size / 2), first + 1), most)))
    return made[0], made[1]


def _pixels(number: str, unit: str, pixel_m: float) -> float:
    if unit in ("", "px"):
        return float(number)
    if unit not in LENGTHS_M:
        raise InputError(f"{unit!r} is no unit of length; expected px, nm, um or mm")
    return float(number) * LENGTHS_M[unit] / pixel_m
