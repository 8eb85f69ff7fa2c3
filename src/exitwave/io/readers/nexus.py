"""NeXus files of the definition NXcxi_ptycho, as Diamond writes them.

The names are those of CXI; what differs is that every number has its unit beside it, that raster scans keep their rows
and columns, that the energy stands with the beam, and that the motors x and y are stored one by one with the direction
in which they move the sample (https://manual.nexusformat.org, contributed definition NXcxi_ptycho).
"""

from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float

from exitwave.data.errors import FormatError
from exitwave.data.geometry import electron_wavelength_m, photon_wavelength_m
from exitwave.data.scan import Scan
from exitwave.io.assemble import Contents, Format, ReadOptions
from exitwave.io.hdf5 import reading as hdf5
from exitwave.io.hdf5.cxi_writing import fill, new_group, with_unit
from exitwave.io.hdf5.writing import new_hdf5
from exitwave.io.positions import with_stated_positions
from exitwave.io.readers import cxi_detector as detector
from exitwave.io.readers.cxi_detector import DETECTOR, ENTRY, per_shot
from exitwave.io.units import length_m

BEAM = f"{ENTRY}/instrument_1/beam_1"
FRAMES = (f"{ENTRY}/data/data", f"{DETECTOR}/data", f"{ENTRY}/data_1/data")
MOTORS = (f"{ENTRY}/sample_1/transformations", f"{ENTRY}/data")
LARGEST_PHOTON_EV = 1e7
"""The energy of the source is that of the machine, several GeV; below this it was meant as that of the photons."""


def recognises(path: Path) -> bool:
    """True for a file that names the definition, or has a beam and motors where it wants them."""
    if not hdf5.is_hdf5(path):
        return False
    with hdf5.open_hdf5(path) as file:
        entry = hdf5.find(file, ENTRY)
        if not isinstance(entry, h5py.Group) or hdf5.dataset(file, *FRAMES) is None:
            return False
        named = hdf5.text(entry, "definition") or hdf5.attribute_text(entry, "definition") or ""
        motors = any(_motor(file, axis) is not None for axis in "xy")
        return named in ("NXcxi_ptycho", "NXptycho") or (motors and hdf5.find(file, BEAM) is not None)


def read(path: Path, stated: ReadOptions) -> Contents:
    """Read a measurement. Raises FormatError for units that are none and frames or motors of a wrong shape."""
    with hdf5.open_hdf5(path) as file:
        frames = hdf5.dataset(file, *FRAMES)
        if frames is None:
            return with_stated_positions(Contents(patterns=None), stated)
        name = next(name for name in FRAMES if hdf5.dataset(file, name) is not None)
        scan_shape = frames.shape[:-2]
        count = int(np.prod(scan_shape))
        basis = detector.basis(file)
        pixel = detector.pixel_m(file)
        contents = Contents(
            patterns=hdf5.Hdf5Patterns(path, (name,), "row column y x" if frames.ndim == 4 else "frame y x"),
            positions=None if stated.positions else _positions(file, basis, scan_shape, stated),
            position_sign="sample",
            wavelength_m=_wavelength_m(file),
            distance_m=detector.distance_m(file, basis),
            detector_pixel_m=pixel,
            pixel_angle_rad=detector.pixel_angle_rad(file),
            focus_distance_m=detector.focus_distance_m(file),
            particle="electron" if hdf5.text(file, f"{ENTRY}/instrument_1/source_1/probe") == "electron" else "photon",
            mask=detector.mask(file),
            background=detector.background(file),
            monitor=detector.monitor(file, count),
            beam_centre_px=_beam_centre_px(file, pixel),
            notes={"dataset": name},
        )
    return with_stated_positions(contents, stated)


def write(path: Path, scan: Scan) -> None:
    """Write a measurement as NXcxi_ptycho, which is also a CXI file. It appears whole or not at all."""
    with new_hdf5(path) as file:
        fill(file, scan)
        entry = file[ENTRY]
        if not isinstance(entry, h5py.Group):
            raise FormatError(f"{path} could not be laid out")
        entry["definition"] = "NXcxi_ptycho"
        entry["title"] = str(scan.provenance.get("title", "ptychography"))
        beam = new_group(entry, "instrument_1/beam_1", "NXbeam")
        with_unit(beam, "energy", scan.geometry.energy_ev, "eV")
        with_unit(beam, "incident_beam_energy", scan.geometry.energy_ev, "eV")
        with_unit(beam, "incident_wavelength", scan.geometry.wavelength_m, "m")
        _write_motors(entry, scan)


def _write_motors(entry: h5py.Group, scan: Scan) -> None:
    motors = new_group(entry, "sample_1/transformations", "NXtransformations")
    data = new_group(entry, "data", "NXdata")
    data.attrs.update({"signal": "data", "axes": ["x", ".", "."], "y_indices": [0], "x_indices": [0]})
    data["data"] = h5py.SoftLink(f"/{DETECTOR}/data")
    for column, axis in enumerate("yx"):
        with_unit(motors, axis, scan.positions_m[:, column].numpy(), "m")
        motors[axis].attrs["vector"] = [0.0, 1.0, 0.0] if axis == "y" else [1.0, 0.0, 0.0]
        motors[axis].attrs["transformation_type"] = "translation"
        data[axis] = h5py.SoftLink(f"/{ENTRY}/sample_1/transformations/{axis}")
    entry[f"/{DETECTOR}"].attrs["signal"] = "data"
    translation = entry["sample_1/geometry_1/translation"]
    translation.attrs.update({"axes": "translation:y:x", "interpretation": "image"})


def _motor(file: h5py.File, axis: str) -> h5py.Dataset | None:
    return hdf5.dataset(file, *(f"{group}/{axis}" for group in MOTORS))


def _positions(
    file: h5py.File, basis: Float[np.ndarray, "2 3"], scan_shape: tuple[int, ...], stated: ReadOptions
) -> Float[np.ndarray, "frame 2"] | None:
    """Displacement of the sample along the rows and columns of the detector: metres, or in the unit that is stated."""
    motors = {axis: _motor(file, axis) for axis in "xy"}
    if motors["x"] is not None and motors["y"] is not None:
        x, y = _moved(file, motors["x"], 0, stated), _moved(file, motors["y"], 1, stated)
        steps_x, steps_y = _for_each_frame(x[0], y[0], scan_shape, str(file.filename))
        with np.errstate(all="ignore"):
            return (steps_x[:, None] * x[1] + steps_y[:, None] * y[1]) @ basis.T
    translation = hdf5.numbers(file, *per_shot("translation"))
    if translation is None:
        return None
    values = np.atleast_2d(translation) * _scale(hdf5.dataset(file, *per_shot("translation")), stated)
    values = values.reshape(-1, values.shape[-1])
    if values.shape[1] not in (2, 3):
        raise FormatError(f"translation in {file.filename} has shape {translation.shape}; expected (frame, 3), x y z")
    with np.errstate(all="ignore"):
        return values @ basis[:, : values.shape[1]].T


def _moved(
    file: h5py.File, motor: h5py.Dataset, axis: int, stated: ReadOptions
) -> tuple[Float[np.ndarray, " step"], Float[np.ndarray, "3"]]:
    """Motor values and the direction (x, y, z) in which they move the sample."""
    values = hdf5.numbers(file, str(motor.name))
    stored = np.asarray(motor.attrs.get("vector", ()))
    vector = stored.astype(np.float64).ravel() if stored.dtype.kind in "iuf" else np.zeros(0)
    length = float(np.linalg.norm(vector)) if len(vector) == 3 and (np.abs(vector) < 1e9).all() else 0.0
    direction = vector / length if length > 0 else np.eye(3)[axis]
    return (np.zeros(0) if values is None else values) * _scale(motor, stated), direction


def _scale(item: h5py.Dataset | None, stated: ReadOptions) -> float:
    """From the unit of the file to metres; a unit that is stated is applied later, to the numbers as they are."""
    return 1.0 if stated.position_unit or item is None else length_m(1.0, hdf5.unit(item, "m"))


def _for_each_frame(
    x: np.ndarray, y: np.ndarray, scan_shape: tuple[int, ...], where: str
) -> tuple[Float[np.ndarray, " frame"], Float[np.ndarray, " frame"]]:
    """Motor values for each frame; a raster may store only those of one line and one column."""
    count = int(np.prod(scan_shape))
    if len(scan_shape) == 2 and (y.size, x.size) == scan_shape and x.size * y.size == count:
        rows, columns = np.meshgrid(y.ravel(), x.ravel(), indexing="ij")
        return columns.ravel(), rows.ravel()
    if x.size != y.size:
        raise FormatError(
            f"{where} holds {x.size} values of x and {y.size} of y for {count} frames; expected one of each for each frame"
        )
    return x.ravel(), y.ravel()


def _wavelength_m(file: h5py.File) -> float | None:
    wavelength = hdf5.metres(file, f"{BEAM}/incident_wavelength", f"{BEAM}/wavelength")
    if wavelength is not None:
        return wavelength
    energy_ev = hdf5.electronvolts(file, f"{BEAM}/incident_beam_energy", f"{BEAM}/energy", default="eV")
    if energy_ev is None:
        energy_ev = hdf5.electronvolts(file, f"{ENTRY}/instrument_1/source_1/energy", default="eV")
    if energy_ev is None or not 0 < energy_ev < LARGEST_PHOTON_EV:
        return None
    if hdf5.text(file, f"{ENTRY}/instrument_1/source_1/probe") == "electron":
        return electron_wavelength_m(energy_ev)
    return photon_wavelength_m(energy_ev)


def _beam_centre_px(file: h5py.File, pixel_m: tuple[float, float] | None) -> tuple[float, float] | None:
    """Beam centre (row, column) in pixels; stored in pixels or as a length."""
    centre: list[float] = []
    for axis, size in zip("yx", pixel_m or (0.0, 0.0), strict=True):
        name = f"{DETECTOR}/beam_center_{axis}"
        value = hdf5.number(file, name)
        word = hdf5.unit(hdf5.dataset(file, name), "px").lower()
        if value is None or (not word.startswith("pix") and word != "px" and size == 0):
            return None
        centre.append(value if word.startswith("pix") or word == "px" else length_m(value, word) / size)
    return centre[0], centre[1]


FORMAT = Format(name="nexus", title="NeXus NXcxi_ptycho file", recognises=recognises, read=read, write=write)
