"""Cubes (scan, scan, detector, detector) in HDF5: EMD, as py4DSTEM and Prismatic write it, and files of one cube alone.

EMD (https://emdatasets.com/format): a group with `emd_group_type` holds the array and a vector for each of its axes, with
unit. Prismatic (https://github.com/prism-em/prismatic) stores x before y, in `4DSTEM_simulation`.
"""

import math
import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from exitwave.data.errors import FormatError
from exitwave.data.geometry import electron_wavelength_m
from exitwave.io.assemble import Contents, Format, ReadOptions
from exitwave.io.cubes import on_axes, with_detector_scale, x_before_y
from exitwave.io.hdf5.reading import Hdf5Patterns, attribute_text, dataset, is_hdf5, number, open_hdf5, text
from exitwave.io.units import LENGTHS_M

SIMULATION = "4DSTEM_simulation"
VOLTAGES = ("accelerating_voltage", "acceleration_voltage", "beam_energy")
Calibration = tuple[float, str]
"""Scale and unit of one axis."""


def read(path: Path, stated: ReadOptions) -> Contents:
    """The cube with its raster, and steps, voltage and detector scale where the file has them.

    Raises FormatError where it is unclear which cube is meant.
    """
    with open_hdf5(path) as file:
        name = _chosen(_cubes(file), path)
        first, second = file[name].shape[:2]  # pyright: ignore[reportAttributeAccessIssue]
        axes = _calibrations(file, name)
        voltage = _voltage_v(file)
        simulated = SIMULATION in file
        of_microscope = "emd_group_type" in file[name].parent.attrs or voltage is not None
    contents = Contents(
        patterns=Hdf5Patterns(path, (name,), "row column y x"),
        scan_shape=(first, second),
        wavelength_m=electron_wavelength_m(voltage) if voltage else None,
        particle="electron" if of_microscope else "photon",
        notes={"dataset": name},
    )
    if simulated and contents.patterns is not None:
        axes = [axes[1], axes[0], axes[3], axes[2]]
        patterns = x_before_y(contents.patterns, first, second)
        contents = replace(contents, patterns=patterns, scan_shape=(second, first))
    steps = [abs(scale) * LENGTHS_M.get(_plain(unit), 0.0) for scale, unit in axes[:2]]
    if min(steps) > 0:
        contents = replace(contents, scan_step_m=(steps[0], steps[1]))
    contents = with_detector_scale(contents, (abs(axes[2][0]), abs(axes[3][0])), axes[2][1], stated, path)
    return on_axes(contents, stated, path)


def _cubes(file: h5py.File) -> list[str]:
    """Paths of all arrays of real numbers with four axes; none where there are other lists of numbers that mean something."""
    found: dict[str, h5py.Dataset] = {}
    file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
    cubes = [
        name for name, item in found.items() if item.ndim == 4 and item.dtype.kind in "biuf" and min(item.shape) > 0
    ]
    marked = [name for name in cubes if "emd_group_type" in found[name].parent.attrs or "datacube" in name.lower()]
    if marked:
        return marked
    others = [name for name, item in found.items() if item.ndim and item.size and item.size > 4 and name not in cubes]
    return [] if others or len(cubes) > 1 else cubes


def _chosen(cubes: list[str], path: Path) -> str:
    if not cubes:
        raise FormatError(f"{path} holds no cube (row, column, y, x) of an EMD file, or not it alone; use a recipe")
    if len(cubes) > 1 and not all(name.startswith(SIMULATION) for name in cubes):
        raise FormatError(f"{path} holds several cubes ({', '.join(cubes)}); name the path of one in a recipe")
    # The last of a simulation is the one behind the whole sample.
    return sorted(cubes)[-1]


def _calibrations(file: h5py.File, name: str) -> list[Calibration]:
    """Scale and unit of the four axes, by their vectors, else by what py4DSTEM keeps in a group `calibration`."""
    group = name.rpartition("/")[0]
    start = 0 if dataset(file, f"{group}/dim0") is not None else 1
    axes = [_of_vector(dataset(file, f"{group}/dim{start + axis}")) for axis in range(4)]
    kept = [_kept(file, letter) for letter in "RRQQ"]
    return [
        axis if axis[0] > 0 and _plain(axis[1]) not in ("", "pixels") else other
        for axis, other in zip(axes, kept, strict=True)
    ]


def _of_vector(vector: h5py.Dataset | None) -> Calibration:
    if vector is None or vector.ndim != 1 or len(vector) < 2 or vector.dtype.kind not in "iuf":
        return 0.0, ""
    return abs(float(vector[1]) - float(vector[0])), attribute_text(vector, "units") or ""


def _kept(file: h5py.File, letter: str) -> Calibration:
    """Pixel size of the scan (R) or the detector (Q), stored as datasets or as attributes of a group `calibration`."""
    sizes: list[Calibration] = []

    def look(name: str, item: object) -> None:
        if isinstance(item, h5py.Group) and name.rsplit("/", 1)[-1] == "calibration":
            size = number(item, f"{letter}_pixel_size") or item.attrs.get(f"{letter}_pixel_size")
            names = (f"{letter}_pixel_units", f"{letter}_units")
            unit = text(item, *names) or next((found for n in names if (found := attribute_text(item, n))), "")
            if size is not None and np.size(size) == 1 and np.asarray(size).dtype.kind in "iuf":
                sizes.append((float(np.asarray(size).ravel()[0]), unit))

    file.visititems(look)
    return next((size for size in sizes if math.isfinite(size[0])), (0.0, ""))


def _voltage_v(file: h5py.File) -> float | None:
    """The acceleration voltage, which programs keep in kV or in V: nothing works below 1 kV or above 5000 kV."""
    found: list[object] = []

    def look(name: str, item: object) -> None:
        if isinstance(item, h5py.Group | h5py.Dataset):
            found.extend(item.attrs.get(key) for key in VOLTAGES)
        if isinstance(item, h5py.Dataset) and name.rsplit("/", 1)[-1] in VOLTAGES and item.size == 1:
            found.append(item[()])
        if isinstance(item, h5py.Group) and name.startswith(f"{SIMULATION}/metadata"):
            found.append(item.attrs.get("E"))

    file.visititems(look)
    numbers = [
        float(values.ravel()[0])
        for value in found
        if (values := np.asarray(value)).dtype.kind in "iuf" and values.size == 1
    ]
    volts = [value * 1000 if value < 5000 else value for value in numbers if math.isfinite(value) and value >= 1]
    return volts[0] if volts else None


def _plain(unit: str) -> str:
    return re.sub(r"[\[\]\s]", "", unit).replace("n_m", "nm")


def _recognises(path: Path) -> bool:
    if not is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return bool(_cubes(file))


FORMAT = Format(name="emd", title="4D-STEM cube in HDF5 (EMD, py4DSTEM, Prismatic)", recognises=_recognises, read=read)
