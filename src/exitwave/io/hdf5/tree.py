"""What an HDF5 file holds: its datasets and the numbers in its attributes, one entry each, without reading arrays."""

import math
import re
from dataclasses import dataclass

import h5py
import numpy as np

from exitwave.io.hdf5.file import find
from exitwave.io.units import ANGLES_RAD, ENERGIES_EV, LENGTHS_M

MOST = 20_000
"""Datasets looked at; a file with one for each frame may have as many."""
_UNITS = {*LENGTHS_M, *ENERGIES_EV, *ANGLES_RAD, "px"}


@dataclass(frozen=True)
class Entry:
    """A dataset, or a number in an attribute ("group/data@name")."""

    place: str
    shape: tuple[int, ...]
    kind: str
    """As numpy has it: "f" for floating point, "u" for counts ..."""
    dtype: str
    value: float | None = None
    """The number, where it is one."""
    unit: str = ""
    """As the file says it in `@units`, else as the name ends on it: "energy_keV"; empty where neither tells."""
    from_file: bool = False
    """Whether the unit is that of `@units`."""

    @property
    def name(self) -> str:
        """The last part of the place."""
        return re.split(r"[/@]", self.place)[-1]

    @property
    def group(self) -> str:
        """The place without its name."""
        return self.place[: -len(self.name)].rstrip("/@")

    @property
    def words(self) -> list[str]:
        """The words of the name in small letters, without its unit: "samx_um" is samx, "beamCenterY" beam, center, y."""
        found = words_of(self.name)
        return found[:-1] if len(found) > 1 and _as_unit(self.name) else found

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        if self.value is not None:
            return f"{self.place} = {self.value:.6g}{f' {self.unit}' if self.from_file else ''}"
        return f"{self.place}  ({', '.join(map(str, self.shape))}) {self.dtype}"


def entries(file: h5py.File) -> list[Entry]:
    """All datasets and numbers in attributes, in the order of the file; links into nothing are passed over."""
    found: list[Entry] = []

    def look(name: str, link: object) -> None:
        item = find(file, name) if len(found) < MOST else None
        if isinstance(item, h5py.Dataset):
            found.append(_dataset(name, item))
        if item is not None:
            found.extend(_attributes(name, item))

    found.extend(_attributes("", file))
    # Links too: what a file keeps in others is visited under the name that it has here.
    file.visititems_links(look)
    return found


def words_of(name: str) -> list[str]:
    """The words of a name in small letters: "detX_mm" is det, x, mm."""
    parted = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return [word.lower() for word in re.findall(r"[A-Za-zµμ]+|\d+", parted)]


def _dataset(name: str, item: h5py.Dataset) -> Entry:
    shape = item.shape or ()
    told = item.attrs.get("units", item.attrs.get("unit", b""))
    unit = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
    value = None
    if item.size == 1 and item.dtype.kind in "iuf":
        value = float(np.asarray(item[()]).ravel()[0])
    known = unit if unit in _UNITS else _as_unit(name.rsplit("/", 1)[-1])
    return Entry(name, shape, item.dtype.kind, str(item.dtype), value, known, unit in _UNITS)


def _attributes(name: str, item: h5py.Group | h5py.Dataset) -> list[Entry]:
    made: list[Entry] = []
    for key, held in item.attrs.items():
        value = np.asarray(held)
        if value.size == 1 and value.dtype.kind in "iuf":
            number = float(value.ravel()[0])
            made.append(Entry(f"{name}@{key}", (), value.dtype.kind, str(value.dtype), number, _as_unit(str(key))))
    return made


def _as_unit(name: str) -> str:
    """The unit that a name ends on, as "energy_keV" and "z[mm]" do."""
    word = re.split(r"[^A-Za-zµμ]+", name.rstrip("]) "))[-1]
    # One letter alone is an axis or anything else, but for metres.
    return word if word in _UNITS and word != name and word not in ("A", "J", "j") else ""
