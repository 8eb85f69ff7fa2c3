"""Finding what a recipe names in an HDF5 file."""

import h5py
import numpy as np

from exitwave.data.errors import FormatError
from exitwave.io.hdf5.reading import dataset, find, numbers, unit
from exitwave.io.recipes.schema import Places


def exists(file: h5py.File, place: str) -> bool:
    """Whether a file has a dataset, group or attribute at this place."""
    path, _, attribute = place.partition("@")
    item = find(file, path or "/")
    return item is not None and (not attribute or attribute in item.attrs)


def places_of(places: Places) -> list[str]:
    """Places in the order in which they are tried."""
    return [places] if isinstance(places, str) else places


def raw_numbers(file: h5py.File, places: Places) -> tuple[np.ndarray, str] | None:
    """Numbers at the first place that exists, and the unit that the file gives them. Raises FormatError for text."""
    for place in places_of(places):
        path, at, attribute = place.partition("@")
        if not exists(file, place):
            continue
        item = find(file, path or "/")
        if at and item is not None:
            values = np.asarray(item.attrs[attribute])
            if values.dtype.kind not in "biuf":
                raise FormatError(f"{place} in {file.filename} is {values.dtype}; the recipe expects numbers there")
            return values.astype(np.float64), ""
        values = numbers(file, path)
        if values is not None:
            return values, unit(dataset(file, path), "")
    return None
