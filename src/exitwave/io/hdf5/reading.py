"""Reading values from HDF5: numbers with their units, arrays, text. Files and patterns are read by what this passes on."""

import math
from collections.abc import Callable

import h5py
import numpy as np
from jaxtyping import Float

from exitwave.data.errors import FormatError
from exitwave.io.hdf5.file import (
    LARGEST_ARRAY,
    broken_link as broken_link,
    dataset as dataset,
    find as find,
    holds as holds,
    is_hdf5 as is_hdf5,
    missing_sources,
    open_hdf5 as open_hdf5,
)
from exitwave.io.hdf5.patterns import Hdf5Patterns as Hdf5Patterns, Layout as Layout
from exitwave.io.units import energy_ev, length_m


def array(group: h5py.Group, *names: str) -> np.ndarray | None:
    """The whole first dataset found, as a numpy array; not for patterns. Raises FormatError when it is huge."""
    item = dataset(group, *names)
    if item is None:
        return None
    if item.size is not None and item.size > LARGEST_ARRAY:
        raise _too_large(item)
    return np.asarray(item[()])


def numbers(group: h5py.Group, *names: str) -> Float[np.ndarray, "*shape"] | None:
    """The whole first dataset found, as float64. Raises FormatError when it is empty, text or complex."""
    item = dataset(group, *names)
    if item is None:
        return None
    _check_numbers(item)
    return np.asarray(item[()], dtype=np.float64)


def mean_frame(group: h5py.Group, *names: str) -> Float[np.ndarray, "y x"] | None:
    """The mean over all but the last two axes of the first dataset found, such as dark frames, read one by one."""
    item = dataset(group, *names)
    if item is None or item.size is None or item.ndim < 3:
        flat = numbers(group, *names)
        return flat if flat is not None and flat.ndim == 2 else None
    # A thousand dark frames tell the mean well enough.
    chosen = np.unique(np.linspace(0, item.shape[0] - 1, min(item.shape[0], 1000), dtype=np.int64))
    _check_numbers(item, size=item.size // max(item.shape[0], 1))
    with np.errstate(all="ignore"):
        total = sum(np.asarray(item[i], dtype=np.float64).reshape(-1, *item.shape[-2:]).mean(axis=0) for i in chosen)
        return np.asarray(total / len(chosen))


def number(group: h5py.Group, *names: str) -> float | None:
    """The first dataset found that holds one finite number; arrays of equal numbers count as one."""
    for name in names:
        item = dataset(group, name)
        if item is None or item.size is None or not 0 < item.size <= 2**20 or item.dtype.kind not in "iuf":
            continue
        values = np.unique(np.asarray(item[()], dtype=np.float64))
        if len(values) == 1 and math.isfinite(values[0]):
            return float(values[0])
    return None


def text(group: h5py.Group, *names: str) -> str | None:
    """The first dataset found that holds text."""
    for name in names:
        item = dataset(group, name)
        if item is not None and item.dtype.kind in "OS" and item.size and item.size <= LARGEST_ARRAY:
            return _as_text(np.asarray(item[()]).ravel()[0])
    return None


def unit(item: h5py.Dataset | h5py.Group | None, default: str) -> str:
    """What the file says in `@units` of a dataset, or the unit that its format prescribes."""
    if item is None:
        return default
    return attribute_text(item, "units") or attribute_text(item, "unit") or default


def attribute_text(item: h5py.Dataset | h5py.Group, name: str) -> str | None:
    """A text attribute, whether the writer stored text or bytes."""
    value = item.attrs.get(name)
    if value is None:
        return None
    return _as_text(np.asarray(value).ravel()[0]) if np.size(value) else None


def metres(group: h5py.Group, *names: str, default: str = "m") -> float | None:
    """A length in metres by the `@units` of the first dataset found, else by the unit the format prescribes."""
    return _in_unit(group, names, default, length_m)


def electronvolts(group: h5py.Group, *names: str, default: str) -> float | None:
    """An energy in eV by the `@units` of the first dataset found, else by the unit the format prescribes."""
    return _in_unit(group, names, default, energy_ev)


def _in_unit(
    group: h5py.Group, names: tuple[str, ...], default: str, convert: Callable[[float, str], float]
) -> float | None:
    for name in names:
        value = number(group, name)
        if value is not None:
            try:
                return convert(value, unit(dataset(group, name), default))
            except FormatError as error:
                raise FormatError(f"{name} in {group.file.filename}: {error}") from error
    return None


def _check_numbers(item: h5py.Dataset, size: int | None = None) -> None:
    """Raise FormatError for what are no real numbers, none at all, or so many that they must be something else."""
    if lost := missing_sources(item):
        raise FormatError(
            f"{item.name} in {item.file.filename} is put together from other files, of which {', '.join(lost[:3])} are not there; "
            "copy them to where the file expects them"
        )
    if item.dtype.kind not in "biuf" or not item.size:
        raise FormatError(f"{item.name} in {item.file.filename} is {_what(item)}; expected real numbers")
    if (item.size if size is None else size) > LARGEST_ARRAY:
        raise _too_large(item)


def _too_large(item: h5py.Dataset) -> FormatError:
    return FormatError(
        f"{item.name} in {item.file.filename} has shape {item.shape}, too large for what should stand there; "
        "the file is damaged or laid out otherwise"
    )


def _what(item: h5py.Dataset) -> str:
    if not item.size:
        return "empty"
    return {"c": "complex", "O": "text", "S": "text"}.get(item.dtype.kind, f"of type {item.dtype}")


def _as_text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
