"""CXI files: our own and those of cdtools, SHARP, PyNX and ptychodus.

CXI 1.6 (https://www.cxidb.org/cxi.html) has the *sample* move in the laboratory frame: z with the beam, y up, x to the
left seen along the beam; the basis vectors say how rows and columns of the detector lie in it. A scan position is thus
minus the translation, counted along the basis vectors. With the usual basis, rows down and columns to the right, both
signs cancel; this is also what SHARP and PyNX, which know no basis vectors, have in their files. The Siemens star that
cdtools ships confirms it: its near-field data tell the sign.
"""

from pathlib import Path

import h5py
import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from exitwave.data.errors import FormatError
from exitwave.data.geometry import JOULE_PER_EV, electron_wavelength_m, photon_wavelength_m
from exitwave.io.cxi_writing import write
from exitwave.io.hdf5 import (
    Hdf5Patterns,
    array,
    attribute_text,
    dataset,
    electronvolts,
    find,
    is_hdf5,
    metres,
    number,
    open_hdf5,
    text,
)
from exitwave.io.positions import with_stated_positions
from exitwave.io.reading import Contents, Format, Stated
from exitwave.io.store import read_json
from exitwave.io.truth import read_truth, write_truth

__all__ = ["FORMAT", "read", "read_probe", "read_truth", "recognises", "write", "write_truth"]

ENTRY = "entry_1"
DETECTOR, SOURCE = f"{ENTRY}/instrument_1/detector_1", f"{ENTRY}/instrument_1/source_1"
DATA = (f"{ENTRY}/data_1/data", f"{DETECTOR}/data")
HAS_SIGNAL = 0x1000
"""The one mask bit that does not speak against a pixel."""
USUAL_BASIS = np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]])
"""Directions (x, y, z) in which rows and columns run: down and to the right."""


def recognises(path: Path) -> bool:
    """True for HDF5 with diffraction patterns, or at least a scan or probe, where CXI has them."""
    if not is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        placed = find(file, *DATA, *_per_shot("translation"), f"{SOURCE}/illumination") is not None
        return placed and (find(file, "cxi_version", DETECTOR, SOURCE) is not None)


def read(path: Path, stated: Stated) -> Contents:
    """Read a measurement. Raises FormatError for complex or misshapen frames and for an energy that is not in joule."""
    with open_hdf5(path) as file:
        frames = dataset(file, *DATA)
        if frames is None:
            return with_stated_positions(Contents(patterns=None), stated)
        name = next(name for name in DATA if dataset(file, name) is not None)
        basis = _basis(file)
        pixel_y, pixel_x = _pixel_m(file)
        count = int(np.prod(frames.shape[:-2]))
        positions = _positions(file, basis, count)
        contents = Contents(
            patterns=Hdf5Patterns(path, (name,), "row column y x" if frames.ndim == 4 else "frame y x"),
            positions=positions,
            position_sign="probe" if _counts_as_probe(file) else "sample",
            wavelength_m=_wavelength_m(file, path, stated),
            distance_m=_distance_m(file, basis),
            detector_pixel_m=None if pixel_y is None or pixel_x is None else (pixel_y, pixel_x),
            focus_distance_m=metres(file, f"{ENTRY}/exitwave/focus_distance") or _infinite_focus(file),
            particle="electron" if text(file, f"{SOURCE}/probe") == "electron" else "photon",
            mask=_mask(file),
            background=_background(file),
            monitor=_monitor(file, count),
            notes=_notes(file, name),
        )
    return with_stated_positions(contents, stated)


def read_probe(path: Path) -> Complex[Tensor, "mode y x"]:
    """The illumination that SHARP, ptychodus and PyNX store beside the data. Raises FormatError when there is none."""
    with open_hdf5(path) as file:
        by_pynx = dataset(file, "entry_last/probe/data", f"{ENTRY}/probe/data")
        stored = dataset(file, f"{SOURCE}/illumination", f"{SOURCE}/probe")
        probe = stored if stored is not None and stored.dtype.kind == "c" else by_pynx
        if probe is None or probe.dtype.kind != "c" or probe.ndim < 2:
            raise FormatError(f"{path} holds no probe; expected complex numbers in {SOURCE}/illumination")
        values = np.asarray(probe[()], dtype=np.complex64).reshape(-1, *probe.shape[-2:])
        if probe is by_pynx:
            # PyNX turns results upside down when it saves them.
            values = values[:, ::-1]
    return torch.from_numpy(np.ascontiguousarray(values))


def _per_shot(name: str) -> tuple[str, ...]:
    return f"{ENTRY}/data_1/{name}", f"{ENTRY}/sample_1/geometry_1/{name}", f"{DETECTOR}/{name}"


def _counts_as_probe(file: h5py.File) -> bool:
    """Whether the writer stored where the probe is, in rows and columns, instead of where the sample is."""
    program = text(file, f"{ENTRY}/process_1/program") or ""
    return find(file, f"{ENTRY}/ptychodus") is not None or program == "Ptychodus" or _by_pynx(file)


def _by_pynx(file: h5py.File) -> bool:
    program = text(file, f"{ENTRY}/program_name") or ""
    return (attribute_text(file, "creator") or "") == "PyNX" or program.startswith("PyNX")


def _positions(file: h5py.File, basis: Float[np.ndarray, "2 3"], count: int) -> Float[np.ndarray, "frame 2"] | None:
    translation = array(file, *_per_shot("translation"))
    if translation is None:
        return None
    values = np.asarray(translation, dtype=np.float64)
    if values.ndim == 3:
        values = values.reshape(-1, values.shape[-1])
    turned = values.ndim == 2 and values.shape[1] == count and values.shape[0] in (2, 3)
    if turned and (values.shape[0] != count or _by_pynx(file)):
        values = values.T
    if values.ndim != 2 or values.shape[1] not in (2, 3):
        raise FormatError(
            f"translation in {file.filename} has shape {translation.shape}; expected (frame, 3) or (3, frame), x y z"
        )
    if _counts_as_probe(file):
        return values[:, 1::-1].copy()
    return values @ basis[:, : values.shape[1]].T


def _basis(file: h5py.File) -> Float[np.ndarray, "2 3"]:
    """Unit vectors (x, y, z) along rows' order and columns' order; stored (3, 2) or (2, 3)."""
    lengths = _basis_vectors(file)
    return USUAL_BASIS if lengths is None else lengths / np.linalg.norm(lengths, axis=1, keepdims=True)


def _basis_vectors(file: h5py.File) -> Float[np.ndarray, "2 3"] | None:
    stored = array(file, f"{DETECTOR}/basis_vectors")
    if stored is None or stored.shape not in ((3, 2), (2, 3)):
        return None
    vectors = np.asarray(stored if stored.shape == (2, 3) else stored.T, dtype=np.float64)
    return vectors if np.isfinite(vectors).all() and (np.linalg.norm(vectors, axis=1) > 0).all() else None


def _pixel_m(file: h5py.File) -> tuple[float | None, float | None]:
    """Pixel size (y, x): as stored, else the length of the basis vectors, else square like the other one."""
    vectors = _basis_vectors(file)
    lengths = (None, None) if vectors is None else tuple(float(v) for v in np.linalg.norm(vectors, axis=1))
    pixel_y = metres(file, f"{DETECTOR}/y_pixel_size") or lengths[0]
    pixel_x = metres(file, f"{DETECTOR}/x_pixel_size") or lengths[1]
    return pixel_y or pixel_x, pixel_x or pixel_y


def _distance_m(file: h5py.File, basis: Float[np.ndarray, "2 3"]) -> float | None:
    """Sample to detector plane: as stored, else the corner's distance along the normal of the detector."""
    stored = metres(file, f"{DETECTOR}/distance")
    corner = array(file, f"{DETECTOR}/corner_position")
    if stored is not None or corner is None or corner.size != 3:
        return stored
    distance = abs(float(np.asarray(corner, dtype=np.float64).ravel() @ np.cross(basis[0], basis[1])))
    return distance if distance > 0 else None


def _wavelength_m(file: h5py.File, path: Path, stated: Stated) -> float | None:
    wavelength = metres(file, f"{SOURCE}/wavelength", f"{ENTRY}/instrument_1/beam_1/incident_wavelength")
    if wavelength is not None:
        return wavelength
    energy_ev = electronvolts(file, f"{SOURCE}/energy", default="J")
    if energy_ev is None or stated.energy_ev is not None:
        return None
    if energy_ev > 1e9:
        raise FormatError(
            f"the energy in {path} is {energy_ev * JOULE_PER_EV:g} J; CXI stores joule, 1.28e-15 for 8 keV. If it is meant "
            f"as another unit, state it: --energy-ev"
        )
    if text(file, f"{SOURCE}/probe") == "electron":
        return electron_wavelength_m(energy_ev)
    return photon_wavelength_m(energy_ev)


def _infinite_focus(file: h5py.File) -> float | None:
    """A parallel beam: `number` passes over what is not finite."""
    stored = array(file, f"{ENTRY}/exitwave/focus_distance")
    return float("inf") if stored is not None and stored.size == 1 and bool(np.isposinf(stored).all()) else None


def _mask(file: h5py.File) -> Bool[np.ndarray, "y x"] | None:
    stored = array(file, f"{DETECTOR}/mask")
    if stored is None or stored.dtype.kind not in "biuf":
        return None
    bits = stored.astype(np.int64)
    return np.squeeze((bits & ~HAS_SIGNAL) == 0)


def _background(file: h5py.File) -> Float[np.ndarray, "y x"] | None:
    stored = array(file, f"{DETECTOR}/data_dark", f"{DETECTOR}/dark")
    if stored is None or stored.ndim < 2 or stored.dtype.kind not in "biuf":
        return None
    return stored.astype(np.float64).reshape(-1, *stored.shape[-2:]).mean(axis=0)


def _monitor(file: h5py.File, count: int) -> Float[np.ndarray, " frame"] | None:
    stored = array(file, *_per_shot("monitor"))
    usable = stored is not None and stored.size == count and stored.dtype.kind in "iuf"
    return stored.astype(np.float64).ravel() if usable and stored is not None else None


def _notes(file: h5py.File, name: str) -> dict[str, object]:
    notes: dict[str, object] = {"dataset": name}
    version = number(file, "cxi_version")
    if version is not None:
        notes["cxi_version"] = int(version)
    for key, path in (("title", f"{ENTRY}/title"), ("program", f"{ENTRY}/program_name")):
        value = text(file, path)
        if value:
            notes[key] = value
    private = find(file, f"{ENTRY}/exitwave")
    written = read_json(private, "provenance") if isinstance(private, h5py.Group) else {}
    return {**notes, "written_from": written} if written else notes


FORMAT = Format(name="cxi", title="CXI file", recognises=recognises, read=read, write=write, read_probe=read_probe)
