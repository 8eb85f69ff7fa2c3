"""A draft of a recipe for an HDF5 file of unknown layout: what was recognised, and in comments what to check and what is missing."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from exitwave.data.geometry import PLANCK_EV_M
from exitwave.io.hdf5.file import LARGEST_ARRAY
from exitwave.io.hdf5.reading import dataset, open_hdf5
from exitwave.io.hdf5.tree import Entry, entries
from exitwave.io.mask_file import good_value
from exitwave.io.recipes.recognised import Recognised, energy_unit, in_metres, of_frame, recognised
from exitwave.io.recipes.recognised_angles import RecognisedAngles, recognised_angles
from exitwave.io.units import ENERGIES_EV, LENGTHS_M

SHOWN = 40
"""Lines of the tree that an error shows."""
MOST_SINGLE = 3
"""Numbered datasets of one shape in a group that get a line each."""
LENGTHS = (1e-13, 1e-7), (1e-3, 100.0), (1e-7, 1e-2)
"""Sensible wavelengths, distances and detector pixels, metres."""
USUAL_STEP = 0.15
"""Of the window of the probe, between neighbours."""


@dataclass(frozen=True)
class Draft:
    """A recipe as text, and how far it goes."""

    text: str
    missing: tuple[str, ...]
    """What was not found, in words."""
    guessed: tuple[str, ...]
    """What is a guess, in words."""
    rocking_curve: bool = False
    """Of a crystal, whose frames have angles in place of positions."""


def tree_lines(path: Path, most: int = SHOWN) -> list[str]:
    """What an HDF5 file holds, a line each with what it may be; what was recognised stands first."""
    with open_hdf5(path) as file:
        found = entries(file)
        what = recognised(found, lambda entry: _moved(file, entry))
    roles, known, others = what.roles(), dict[str, str](), list[str]()

    def told(entry: Entry, text: str) -> None:
        if role := roles.get(entry.place, ""):
            known[entry.place] = f"{text}  <- {role}?"
        # Attributes that say nothing of a measurement are many.
        elif "@" not in entry.place:
            each = len(entry.shape) == 1 and entry.count == what.count and entry.kind in "iuf"
            others.append(text + "  <- one for each frame" * each)

    for (group, shape, numbered), alike in _gathered(found).items():
        first = alike[0]
        if numbered and len(alike) > MOST_SINGLE:
            size = ", ".join(map(str, shape))
            told(first, f"{group}/*  {len(alike)} datasets such as {first.name}, each ({size}) {first.dtype}")
            continue
        for entry in alike:
            told(entry, str(entry))
    every = [known[place] for place in roles if place in known] + others
    rest = len(every) - most
    return every if rest <= 0 else [*every[:most], f"... and {rest} more"]


def _gathered(found: list[Entry]) -> dict[tuple[str, tuple[int, ...], bool], list[Entry]]:
    """Entries of one group, shape and kind of name together, in the order of the file."""
    together: dict[tuple[str, tuple[int, ...], bool], list[Entry]] = {}
    for entry in found:
        together.setdefault((entry.group, entry.shape, any(letter.isdecimal() for letter in entry.name)), []).append(
            entry
        )
    return together


def draft(path: Path) -> Draft:
    """A recipe for this file. Raises FormatError where it is no HDF5 file."""
    with open_hdf5(path) as file:
        found = entries(file)
        what = recognised(found, lambda entry: _moved(file, entry))
        writer = _Writer(file, what, found)
        body = list(writer.lines())
    rocking_curve = writer.angles is not None
    head = [
        f"# A draft for files like {path.name}. Lines that end on (guess) were not said by the file: check them.",
        f"# {'Peak and angles' if rocking_curve else 'Signs, axes and turns'}: exitwave info FILE --recipe THIS.yaml"
        f"{'' if rocking_curve else ' --auto-orient'}",
    ]
    rest = [f"#   {line}" for line in tree_lines(path, most=200)]
    text = "\n".join([*head, f"title: {json.dumps(path.stem)}", *body, "# What the file holds:", *rest, ""])
    return Draft(text, tuple(writer.missing), tuple(writer.guessed), rocking_curve)


def _moved(file: h5py.File, entry: Entry) -> bool:
    stored = dataset(file, entry.place)
    return stored is not None and entry.count < LARGEST_ARRAY and bool(np.ptp(np.nan_to_num(stored[()])) > 0)


class _Writer:
    """The lines of a recipe, and what they leave open."""

    def __init__(self, file: h5py.File, what: Recognised, found: list[Entry]) -> None:
        self.file, self.what, self.found = file, what, found
        self.missing: list[str] = []
        self.guessed: list[str] = []
        # A list named theta beside positions is what was noted down, not what was scanned.
        scanned = what.y is not None or what.frames is None or what.layout != "frame y x"
        self.angles = None if scanned else recognised_angles(found, what.count, lambda entry: _moved(file, entry))

    def lines(self) -> Iterator[str]:
        what = self.what
        if what.frames is None:
            self.missing.append("frames")
            yield "# frames: not found. Write the path of the stack of patterns:"
            yield "frames: {path: PATH}"
        else:
            layout = "" if what.layout == "frame y x" else f", layout: {what.layout}"
            yield f"frames: {{path: {json.dumps(what.frames_path)}{layout}}}"
        yield from self._positions() if self.angles is None else self._rocking(self.angles)
        numbers = what.numbers
        if "wavelength" in numbers:
            yield self._quantity("wavelength", numbers["wavelength"], in_metres(numbers["wavelength"], LENGTHS[0]))
        elif "energy" in numbers:
            yield self._quantity("energy", numbers["energy"], energy_unit(numbers["energy"]))
        else:
            yield self._open("energy", "energy: {value: 8.0, unit: keV}", "--energy-ev")
        yield self._length("distance", LENGTHS[1], "distance: {value: 2.0, unit: m}", "--distance-m")
        yield self._length("detector_pixel", LENGTHS[2], "detector_pixel: {value: 75, unit: um}", "--detector-pixel-m")
        if "detector_pixel_y" in numbers:
            yield self._length("detector_pixel_y", LENGTHS[2], "", "")
        if "beam_y" in numbers and "beam_x" in numbers:
            y, x = (f"{{path: {json.dumps(numbers[key].place)}, unit: px}}" for key in ("beam_y", "beam_x"))
            yield f"beam_centre: {{y: {y}, x: {x}}}"
        if what.mask is not None:
            yield self._mask(what.mask)
        if what.background is not None and self.angles is None:
            yield f"background: {json.dumps(what.background.place)}"

    def _positions(self) -> Iterator[str]:
        what, y, x = self.what, self.what.y, self.what.x
        if y is None or x is None:
            self.missing.append("positions")
            step = ", state the step of the raster (--step-nm)" if what.layout == "row column y x" else ""
            yield f"# positions: not found. Give them in a file of their own (--positions){step}, or write paths here as in"
            yield "#   positions: {unit: um, sign: probe, y: [{path: PATH}], x: [{path: PATH}]}"
            yield "positions: {unit: m}"
            return
        if what.frames is not None and what.layout == "frame y x" and what.frames.place == what.frames_path:
            frames = what.frames.shape[0]
            if max(y.shape) != frames:
                self.guessed.append(
                    f"that {max(y.shape)} positions belong to {frames} frames, of which --prepare select=:N takes N"
                )
        unit, told = self._position_unit(y, x)
        if not told:
            self.guessed.append(f"the unit of the positions ({unit})")
        yield "positions:"
        yield f"  unit: {unit}{'' if told else '  # (guess)'}"
        yield "  sign: probe  # or sample, where the sample moves (guess)"
        if y is x:
            order = (1, 0) if min(y.shape) == 3 or "xy" in y.words else (0, 1)
            self.guessed.append(f"which column of {y.place} is y (column {order[0]})")
            for axis, component in zip("yx", order, strict=True):
                yield f"  {axis}: [{{path: {json.dumps(y.place)}, component: {component}}}]  # (guess)"
        else:
            yield f"  y: [{{path: {json.dumps(y.place)}}}]"
            yield f"  x: [{{path: {json.dumps(x.place)}}}]"

    def _rocking(self, angles: RecognisedAngles) -> Iterator[str]:
        self.guessed.append(f"that {angles.rocked} of {angles.diffractometer} was rocked, by the names of the circles")
        yield "rocking:"
        yield f"  diffractometer: {angles.diffractometer}  # or another one, or a YAML file of its circles (guess)"
        unit = angles.circles[angles.rocked].unit
        if unit not in ("deg", "rad"):
            self.guessed.append("the unit of the angles (deg)")
        yield f"  unit: {unit if unit in ('deg', 'rad') else 'deg  # (guess)'}"
        yield f"  rocked: {angles.rocked}"
        yield "  angles:"
        for name, entry in angles.circles.items():
            yield f"    {name}: {json.dumps(entry.place)}"
        for name in angles.lacking:
            self.missing.append(f"the angle of {name}")
            yield f"    # {name} was not found: state it with --angles {name}=DEGREES, or write it here"
        whitefield = of_frame(self.found, self.what, {"whitefield", "flat", "flatfield"})
        for key, entry in (("whitefield", whitefield), ("darkfield", self.what.background)):
            if entry is not None:
                yield f"  {key}: {json.dumps(entry.place)}"

    def _position_unit(self, y: Entry, x: Entry) -> tuple[str, bool]:
        """The unit of the positions, and whether the file says so; else that in which the step fits the window of the probe."""
        if y.unit and y.unit == x.unit and (y.unit in ("m", "cm", "mm", "um", "nm", "pm", "angstrom", "px")):
            return y.unit, True
        values = [np.asarray(self.file[entry.place][()], dtype=np.float64).ravel() for entry in (y, x)]  # pyright: ignore
        steps = [np.abs(np.diff(each[np.isfinite(each)])) for each in values]
        moved = np.concatenate([each[each > 0] for each in steps])
        step, window = (float(np.median(moved)) if moved.size else 0.0), self._window_m()
        if not step:
            return "um", False
        aim = USUAL_STEP * window if window else 3e-7
        return min(("m", "mm", "um", "nm"), key=lambda unit: abs(np.log(step * LENGTHS_M[unit] / aim))), False

    def _window_m(self) -> float:
        """Width of the probe's window, metres, where energy, distance and pixel are known: wavelength times distance by pixel."""
        numbers = self.what.numbers
        if not {"distance", "detector_pixel"} <= set(numbers):
            return 0.0
        distance, pixel = (
            self._metres(key, within) for key, within in zip(("distance", "detector_pixel"), LENGTHS[1:], strict=True)
        )
        if "wavelength" in numbers:
            return self._metres("wavelength", LENGTHS[0]) * distance / pixel
        if "energy" not in numbers:
            return 0.0
        energy = numbers["energy"]
        return PLANCK_EV_M / ((energy.value or 1.0) * ENERGIES_EV[energy_unit(energy)]) * distance / pixel

    def _metres(self, key: str, sensible: tuple[float, float]) -> float:
        entry = self.what.numbers[key]
        return abs(entry.value or 0.0) * LENGTHS_M[in_metres(entry, sensible)]

    def _length(self, key: str, sensible: tuple[float, float], example: str, option: str) -> str:
        entry = self.what.numbers.get(key)
        return (
            self._open(key, example, option)
            if entry is None
            else self._quantity(key, entry, in_metres(entry, sensible))
        )

    def _quantity(self, key: str, entry: Entry, unit: str) -> str:
        sign = ", absolute: true" if (entry.value or 0.0) < 0 else ""
        told = entry.unit == unit
        if not told:
            self.guessed.append(f"the unit of {key.replace('_', ' ')} ({entry.value:.6g} {unit})")
        note = f"# {entry.value:.6g} {unit}{'' if told else ' (guess)'}"
        return f"{key}: {{path: {json.dumps(entry.place)}, unit: {unit}{sign}}}  {note}"

    def _open(self, key: str, example: str, option: str) -> str:
        self.missing.append(key.replace("_", " "))
        return f"# {key} was not found: state it with {option}, or write here\n# {example}"

    def _mask(self, entry: Entry) -> str:
        stored = dataset(self.file, entry.place)
        nonzero = np.asarray(stored[()] if stored is not None else True).reshape(-1, *entry.shape[-2:])[0] != 0
        named = (
            "zero"
            if set(entry.words) & {"bad", "badpixels"}
            else "nonzero"
            if set(entry.words) & {"good", "valid"}
            else ""
        )
        good = named or good_value(nonzero, np.zeros(nonzero.shape, dtype=bool)) or "zero"
        if not named:
            self.guessed.append(f"that {good} is a good pixel of the mask")
        return f"mask: {{path: {json.dumps(entry.place)}, good: {good}}}{'' if named else '  # (guess)'}"
