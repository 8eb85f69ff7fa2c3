"""Any HDF5 file through a recipe: a YAML file that says where the frames, positions and numbers of a facility are.

Positions, their signs and the orientation of the detector stand together in one recipe, because programs that disagree
about one make up for it with another. A facility is a recipe in `recipes/`, not code.
"""

import math
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import torch
from jaxtyping import Bool, Float

from exitwave.data.errors import FormatError
from exitwave.data.geometry import electron_wavelength_m, photon_wavelength_m
from exitwave.data.patterns import SelectedPatterns
from exitwave.io.assemble import Contents, Format, ReadOptions
from exitwave.io.hdf5.reading import (
    Hdf5Patterns,
    Layout,
    broken_link,
    dataset,
    find,
    is_hdf5,
    mean_frame,
    open_hdf5,
)
from exitwave.io.natural_order import in_number_order
from exitwave.io.positions import read_positions
from exitwave.io.recipes.places import chosen_entry, entries, places_of, raw_numbers
from exitwave.io.recipes.rocking import rocking_contents
from exitwave.io.recipes.schema import Places, Quantity, Recipe, Term, load_recipe, shipped_recipes
from exitwave.io.units import ANGLES_RAD, ENERGIES_EV, LENGTHS_M, factor

PIXELS = {"px": 1.0}


def recognises(path: Path) -> bool:
    """True for an HDF5 file in which a shipped recipe finds all it looks for."""
    return is_hdf5(path) and bool(_fitting(path))


def read(path: Path, stated: ReadOptions) -> Contents:
    """Read a measurement by the recipe that was stated, else by the shipped one that fits best.

    Raises FormatError when none or several fit, and for frames or positions that are not where the recipe says.
    """
    name = stated.recipe or _best(path)
    recipe = load_recipe(name)
    with open_hdf5(path) as whole:
        place = chosen_entry(whole, recipe, stated.entry)
        file = whole[place] if place else whole
        assert isinstance(file, h5py.Group)
        names = _frame_names(file, recipe, path, name)
        patterns = Hdf5Patterns(
            path, tuple(_below(place, each) for each in names), _layout(file, names[0], recipe, stated)
        )
        contents = Contents(
            patterns=patterns,
            values=recipe.frames.values,
            sum_exposures=recipe.frames.layout == "frame exposure y x",
            position_unit=recipe.positions.unit,
            position_sign=recipe.positions.sign,
            position_flip=recipe.positions.flip,
            positions=None if stated.positions else _positions(file, recipe, patterns),
            scan_shape=_raster_shape(file, recipe, names[0]),
            wavelength_m=_wavelength_m(file, recipe),
            distance_m=_value(file, recipe.distance, LENGTHS_M, "length"),
            detector_pixel_m=_pixel_m(file, recipe),
            object_pixel_m=_square(_value(file, recipe.object_pixel, LENGTHS_M, "length")),
            focus_distance_m=_value(file, recipe.focus_distance, LENGTHS_M, "length"),
            particle=recipe.particle,
            mask=_mask(file, recipe),
            background=mean_frame(file, *places_of(recipe.background)) if recipe.background else None,
            monitor=_numbers(file, recipe.monitor.path) if recipe.monitor else None,
            beam_centre_px=_beam_centre_px(file, recipe),
            orientation=recipe.frames.orientation,
            rocking=rocking_contents(file, recipe, patterns.shape, _beam_centre_px(file, recipe)),
            notes={"recipe": name, **({"entry": place} if place else {}), "datasets": patterns.names},
        )
    if stated.positions:
        positions, named_unit = read_positions(stated.positions)
        contents = replace(
            contents,
            positions=positions,
            position_unit=named_unit or recipe.positions.unit,
            notes={**contents.notes, "positions_file": str(stated.positions)},
        )
    return _selected(contents, recipe)


def _fitting(path: Path) -> list[str]:
    """Names of the shipped recipes that find everything, those that look for most first."""
    with open_hdf5(path) as file:
        found = [
            (-len(recipe.recognise), name)
            for name, recipe in shipped_recipes().items()
            if recipe.recognise and entries(file, recipe)
        ]
    return [name for _, name in sorted(found)]


def _best(path: Path) -> str:
    names = _fitting(path)
    if not names:
        raise FormatError(
            f"no shipped recipe fits {path}; name a recipe with --recipe: your own YAML file, or one of "
            f"{', '.join(shipped_recipes())}"
        )
    sizes = [len(shipped_recipes()[name].recognise) for name in names]
    if sizes.count(sizes[0]) > 1:
        raise FormatError(f"the recipes {', '.join(names[: sizes.count(sizes[0])])} fit {path}; choose with --recipe")
    return names[0]


def _numbers(file: h5py.Group, places: Places) -> Float[np.ndarray, " frame"] | None:
    raw = raw_numbers(file, places)
    return None if raw is None else raw[0].ravel()


def _value(file: h5py.Group, quantity: Quantity | None, units: dict[str, float], kind: str) -> float | None:
    """A number in the unit of the library; None when it is not there or differs from frame to frame."""
    if quantity is None:
        return None
    number, word = quantity.value, quantity.unit
    if quantity.path is not None:
        raw = raw_numbers(file, quantity.path)
        if raw is None:
            return None
        values = raw[0].ravel()
        if quantity.component is not None:
            values = values[quantity.component : quantity.component + 1]
        values = np.unique(values[np.isfinite(values)])
        number = float(values[0]) if len(values) == 1 else None
        word = raw[1] if word == "file" else word
    if number is None:
        return None
    number = number * quantity.times * factor(word, units, kind)
    return abs(number) if quantity.absolute else number


def _wavelength_m(file: h5py.Group, recipe: Recipe) -> float | None:
    wavelength = _value(file, recipe.wavelength, LENGTHS_M, "length")
    energy_ev = _value(file, recipe.energy, ENERGIES_EV, "energy")
    if wavelength or not energy_ev:
        return wavelength or None
    return electron_wavelength_m(energy_ev) if recipe.particle == "electron" else photon_wavelength_m(energy_ev)


def _square(value: float | None) -> tuple[float, float] | None:
    return (value, value) if value else None


def _pixel_m(file: h5py.Group, recipe: Recipe) -> tuple[float, float] | None:
    pixel_x = _value(file, recipe.detector_pixel, LENGTHS_M, "length")
    pixel_y = _value(file, recipe.detector_pixel_y, LENGTHS_M, "length") or pixel_x
    return (pixel_y, pixel_x) if pixel_y and pixel_x else None


def _beam_centre_px(file: h5py.Group, recipe: Recipe) -> tuple[float, float] | None:
    if recipe.beam_centre is None:
        return None
    row = _value(file, recipe.beam_centre.y, PIXELS, "pixels")
    column = _value(file, recipe.beam_centre.x, PIXELS, "pixels")
    return None if row is None or column is None else (row, column)


def _mask(file: h5py.Group, recipe: Recipe) -> Bool[np.ndarray, "y x"] | None:
    raw = raw_numbers(file, recipe.mask.path) if recipe.mask else None
    if raw is None or recipe.mask is None:
        return None
    return (raw[0] != 0) if recipe.mask.good == "nonzero" else (raw[0] == 0)


def _frame_names(file: h5py.Group, recipe: Recipe, path: Path, name: str) -> tuple[str, ...]:
    if recipe.frames.within is not None:
        return (_only_stack(file, recipe.frames.within, path),)
    places = places_of(recipe.frames.path or [])
    for place in places:
        if place.endswith("/*"):
            group = find(file, place[:-2])
            if isinstance(group, h5py.Group) and len(group):
                return tuple(
                    f"{group.name}/{member}" for member in sorted((str(m) for m in group), key=in_number_order)
                )
        elif dataset(file, place) is not None:
            return (place,)
    for place in places:
        # So that a link into a missing file is named.
        if broken_link(file, place.removesuffix("/*")):
            return (place,)
    raise FormatError(f"{path} has no frames at {' or '.join(places)}, where the recipe {name} expects them")


def _below(group: str, place: str) -> str:
    return f"{group}/{place}" if group else place


def _only_stack(file: h5py.Group, within: str, path: Path) -> str:
    """The one dataset of three axes in a group, whose name differs from file to file."""
    group = find(file, within)
    members = [str(name) for name in group] if isinstance(group, h5py.Group) else []
    places = [_below(within, name) for name in members]
    stacks = [place for place in places if (stored := dataset(file, place)) is not None and stored.ndim == 3]
    if len(stacks) != 1:
        raise FormatError(
            f"{path} holds {len(stacks)} stacks of frames in {within}{': ' if stacks else ''}{', '.join(stacks)}; expected one "
            "(frame, y, x). Copy the recipe and write its path"
        )
    return stacks[0]


def _layout(file: h5py.Group, frames: str, recipe: Recipe, stated: ReadOptions) -> Layout:
    """The layout of the recipe; a fourth axis is that of exposures to be summed, or of a scan kept line by line."""
    stored = dataset(file, frames)
    if recipe.frames.layout != "frame y x" or stored is None or stored.ndim != 4:
        return recipe.frames.layout
    if stated.sum_exposures:
        return "frame exposure y x"
    terms = [term.path for term in recipe.positions.y if term.path is not None]
    places = dataset(file, *places_of(terms[0])) if terms else None
    by_line = places is not None and places.size == stored.shape[0] * stored.shape[1]
    return "row column y x" if by_line else recipe.frames.layout


def _positions(file: h5py.Group, recipe: Recipe, patterns: Hdf5Patterns) -> Float[np.ndarray, "frame 2"] | None:
    columns: list[np.ndarray] = []
    for axis, terms in enumerate((recipe.positions.y, recipe.positions.x)):
        summands = [_summand(file, term, axis, recipe, patterns) for term in terms]
        if not summands or any(s is None for s in summands):
            return None
        columns.append(np.sum([s for s in summands if s is not None], axis=0))
    if columns[0].shape != columns[1].shape:
        raise FormatError(
            f"{file.file.filename} holds {len(columns[0])} positions in y and {len(columns[1])} in x; expected as many"
        )
    return np.stack(columns, axis=1)


def _summand(
    file: h5py.Group, term: Term, axis: int, recipe: Recipe, patterns: Hdf5Patterns
) -> Float[np.ndarray, " frame"] | None:
    if term.scan is not None:
        values = _raster_numbers(file, term.scan, recipe, patterns)
    else:
        raw = raw_numbers(file, term.path or "")
        if raw is None:
            return None
        values = _component(raw[0], term.component, patterns.shape[0])
        values = _over_raster(values, axis, file, recipe, patterns)
    scale = term.times
    if term.by is not None:
        scale *= _value(file, Quantity(path=term.by, unit="px"), PIXELS, "factor") or math.nan
    if term.angle is not None:
        angle = _value(file, term.angle, ANGLES_RAD, "angle")
        if angle is None:
            return None
        wave = math.cos(angle) if term.of in ("cos", "abs cos") else math.sin(angle)
        scale *= abs(wave) if term.of in ("abs cos", "abs sin") else wave
    if not math.isfinite(scale):
        raise FormatError(f"{file.file.filename} has no number at {term.by}, by which the recipe multiplies positions")
    return values * scale


def _component(values: np.ndarray, component: int | None, frames: int) -> Float[np.ndarray, " frame"]:
    """One coordinate of (frame, 2) or (2, frame); everything where the list is of one coordinate."""
    if component is None:
        return values.ravel()
    values = np.squeeze(values)
    turned = values.ndim == 2 and values.shape[0] != frames and (values.shape[1] == frames or values.shape[0] < 4)
    coordinates = values if turned else values.T
    if coordinates.ndim != 2 or component >= len(coordinates):
        raise FormatError(f"positions have shape {values.shape}; expected ({frames}, 2) or (2, {frames})")
    return coordinates[component]


def _over_raster(
    values: Float[np.ndarray, " some"], axis: int, file: h5py.Group, recipe: Recipe, patterns: Hdf5Patterns
) -> Float[np.ndarray, " frame"]:
    """Positions of one motor, given once for each row or column of a raster, for all of its frames; others as they are.

    Where there are as many rows as columns, those of y go with the rows and those of x with the columns.
    """
    stored = _stored(file, patterns)
    if recipe.frames.layout != "row column y x" or stored is None or len(values) == patterns.shape[0]:
        return values
    rows, columns = stored.shape[:2]
    along = axis if len(values) == (rows, columns)[axis] else 1 - axis
    if len(values) != (rows, columns)[along]:
        return values
    return np.repeat(values, columns) if along == 0 else np.tile(values, rows)


def _stored(file: h5py.Group, patterns: Hdf5Patterns) -> h5py.Dataset | None:
    """The first dataset of frames, whose name counts from the file while all else counts from the group of the scan."""
    name = patterns.names[0]
    return dataset(file, *(name.split("/", parts)[-1] for parts in range(name.count("/") + 1)))


def _raster_shape(file: h5py.Group, recipe: Recipe, frames: str) -> tuple[int, int] | None:
    stored = dataset(file, frames)
    if recipe.frames.layout != "row column y x" or stored is None or stored.ndim != 4:
        return None
    return int(stored.shape[0]), int(stored.shape[1])


def _raster_numbers(file: h5py.Group, scan: str, recipe: Recipe, patterns: Hdf5Patterns) -> np.ndarray:
    stored = _stored(file, patterns)
    if stored is None or recipe.frames.layout != "row column y x":
        raise FormatError("a recipe can count scan rows and columns only where the frames' layout is row column y x")
    return np.indices(stored.shape[:2])[0 if scan == "row" else 1].ravel().astype(np.float64)


def _selected(contents: Contents, recipe: Recipe) -> Contents:
    """Only the frames whose monitor is within the range and whose position is known, as the recipe asks."""
    patterns, positions, monitor = contents.patterns, contents.positions, contents.monitor
    if patterns is None or positions is None or len(positions) != patterns.shape[0]:
        return contents
    kept = np.ones(len(positions), dtype=bool)
    if recipe.positions.drop_missing:
        kept &= np.isfinite(positions).all(axis=1)
    if recipe.monitor is not None and recipe.monitor.keep is not None and monitor is not None:
        if len(monitor) != len(kept):
            raise FormatError(f"{len(monitor)} monitor values for {len(kept)} frames; expected as many")
        kept &= (monitor >= recipe.monitor.keep[0]) & (monitor < recipe.monitor.keep[1])
    if kept.all():
        return contents
    if not kept.any():
        raise FormatError(
            f"the recipe {contents.notes['recipe']} keeps none of {len(kept)} frames; copy it and widen keep"
        )
    index = np.flatnonzero(kept)
    return replace(
        contents,
        patterns=SelectedPatterns(patterns, torch.from_numpy(index)),
        positions=positions[index],
        monitor=None if monitor is None else monitor[index],
        notes={**contents.notes, "frames_kept": f"{len(index)} of {len(kept)}"},
    )


FORMAT = Format(name="recipe", title="HDF5 file with a recipe", recognises=recognises, read=read)
