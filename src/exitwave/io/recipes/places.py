"""Finding what a recipe names in an HDF5 file, or in one of several scans that a file keeps."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

import h5py
import numpy as np

from exitwave.data.errors import FormatError, did_you_mean
from exitwave.io.hdf5.reading import dataset, find, numbers, text, unit
from exitwave.io.natural_order import in_number_order
from exitwave.io.recipes.schema import Places, Recipe


def entries(file: h5py.File, recipe: Recipe) -> dict[str, h5py.Group]:
    """The groups of a file in which a recipe finds all that it looks for, by place: the file itself, unless it keeps several scans.

    A place is the way that leads there in this file, through links into others.
    """
    found = {"": file} if recipe.entry is None else dict(matching(file, recipe.entry))
    return {
        place: group
        for place, group in found.items()
        if isinstance(group, h5py.Group)
        and all(exists(group, each) for each in recipe.recognise)
        and not any(exists(group, each) for each in recipe.unless)
    }


def chosen_entry(file: h5py.File, recipe: Recipe, stated: str | None) -> str:
    """Place of the scan to read. Raises FormatError naming those there are, where that is not clear."""
    if recipe.entry is None:
        if stated is not None:
            raise FormatError(f"{file.filename} does not keep several scans in this recipe; leave out --entry")
        return ""
    found = list(entries(file, recipe))
    if stated is not None:
        name = stated.strip("/")
        # A number stands for the scan of that number: 12 for sample_12.1.
        named = [name] if name in found else [each for each in found if _number(each) == name]
        if len(named) != 1:
            raise FormatError(
                f"{file.filename} has no scan {stated!r}{did_you_mean(stated, found)}; there are {', '.join(found) or 'none'}"
            )
        return named[0]
    if len(found) != 1:
        told = f"{len(found)} scans, {', '.join(found)}; choose one with --entry" if found else "no scan"
        looked = ", ".join(recipe.recognise) or recipe.entry
        raise FormatError(f"{file.filename} holds {told}{'' if found else f' ({recipe.entry}) with {looked}'}")
    return found[0]


def _number(name: str) -> str:
    """The number of a scan in names such as sample_12.1 and exp_0012."""
    digits = [part for part in name.removesuffix(".1").replace(".", "_").split("_") if part.isdecimal()]
    return str(int(digits[-1])) if digits else ""


def matching(group: h5py.Group, place: str) -> Iterator[tuple[str, h5py.Dataset | h5py.Group]]:
    """What stands at a place, in whose names * stands for anything, in the order of the numbers in the names."""
    first, _, rest = place.strip("/").partition("/")
    names = [first]
    if "*" in first:
        names = sorted((str(name) for name in group if fnmatchcase(str(name), first)), key=in_number_order)
    for name in names:
        item = find(group, name)
        if item is None:
            continue
        if not rest:
            yield name, item
        elif isinstance(item, h5py.Group):
            yield from ((f"{name}/{below}", each) for below, each in matching(item, rest))


def item_at(group: h5py.Group, place: str) -> h5py.Dataset | h5py.Group | None:
    """The first thing at a place, of which "" is the group itself."""
    if not place:
        return group
    return next((item for _, item in matching(group, place)), None) if "*" in place else find(group, place)


def exists(group: h5py.Group, place: str) -> bool:
    """Whether there is a dataset, group or attribute at this place."""
    path, _, attribute = place.partition("@")
    item = item_at(group, path)
    return item is not None and (not attribute or attribute in item.attrs)


def places_of(places: Places) -> list[str]:
    """Places in the order in which they are tried."""
    return [places] if isinstance(places, str) else places


def raw_numbers(group: h5py.Group, places: Places) -> tuple[np.ndarray, str] | None:
    """Numbers at the first place that exists, and the unit that the file gives them. Raises FormatError for text."""
    for place in places_of(places):
        path, at, attribute = place.partition("@")
        item = item_at(group, path)
        if item is None or not exists(group, place):
            continue
        if at:
            values = np.asarray(item.attrs[attribute])
            if values.dtype.kind not in "biuf":
                raise FormatError(
                    f"{place} in {group.file.filename} is {values.dtype}; the recipe expects numbers there"
                )
            return values.astype(np.float64), ""
        # The way that leads there: the name of what a link leads to is that in another file.
        place_found = next((found for found, _ in matching(group, path)), path) if "*" in path else path
        values = numbers(group, place_found)
        if values is not None:
            return values, unit(dataset(group, place_found), "")
    return None


def word_at(group: h5py.Group, places: Places) -> str | None:
    """Text at the first place that exists."""
    return text(group, *places_of(places))
