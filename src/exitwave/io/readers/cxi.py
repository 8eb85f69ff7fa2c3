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
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.data.errors import FormatError
from exitwave.data.geometry import JOULE_PER_EV, electron_wavelength_m, photon_wavelength_m
from exitwave.data.measurement import Measurement
from exitwave.io.assemble import Contents, Format, ReadOptions
from exitwave.io.hdf5 import reading as hdf5
from exitwave.io.hdf5.cxi_writing import write
from exitwave.io.hdf5.truth import read_truth, write_truth
from exitwave.io.hdf5.values import read_json
from exitwave.io.positions import stored_unit, with_stated_positions
from exitwave.io.readers import cxi_detector as detector
from exitwave.io.readers.cxi_detector import DETECTOR, ENTRY, per_shot
from exitwave.io.readers.cxi_rocking import rocking_contents

__all__ = ["FORMAT", "read", "read_probe", "read_truth", "recognises", "write", "write_truth"]

SOURCE = f"{ENTRY}/instrument_1/source_1"
DATA = (f"{ENTRY}/data_1/data", f"{DETECTOR}/data")


def recognises(path: Path) -> bool:
    """True for HDF5 with diffraction patterns, or at least a scan or probe, where CXI has them."""
    if not hdf5.is_hdf5(path):
        return False
    with hdf5.open_hdf5(path) as file:
        placed = hdf5.find(file, *DATA, *per_shot("translation"), f"{SOURCE}/illumination") is not None
        return placed and (hdf5.find(file, "cxi_version", DETECTOR, SOURCE) is not None)


def read(path: Path, stated: ReadOptions) -> Contents:
    """Read a measurement. Raises FormatError for complex or misshapen frames and for an energy that is not in joule."""
    with hdf5.open_hdf5(path) as file:
        frames = hdf5.dataset(file, *DATA)
        if frames is None:
            return with_stated_positions(Contents(patterns=None), stated)
        name = next(name for name in DATA if hdf5.dataset(file, name) is not None)
        basis = detector.basis(file)
        count = int(np.prod(frames.shape[:-2]))
        contents = Contents(
            patterns=hdf5.Hdf5Patterns(path, (name,), "row column y x" if frames.ndim == 4 else "frame y x"),
            positions=None if stated.positions else _positions(file, basis, count),
            position_unit="m" if stated.position_unit else stored_unit(hdf5.dataset(file, *per_shot("translation"))),
            position_sign="probe" if _counts_as_probe(file) else "sample",
            wavelength_m=_wavelength_m(file, path, stated),
            distance_m=detector.distance_m(file, basis),
            detector_pixel_m=detector.pixel_m(file),
            pixel_angle_rad=detector.pixel_angle_rad(file),
            focus_distance_m=detector.focus_distance_m(file),
            particle="electron" if hdf5.text(file, f"{SOURCE}/probe") == "electron" else "photon",
            mask=detector.mask(file),
            background=detector.background(file),
            monitor=detector.monitor(file, count),
            rocking=rocking_contents(file),
            notes=_notes(file, name),
        )
    return with_stated_positions(contents, stated)


def read_probe(path: Path) -> Complex[Tensor, "mode y x"]:
    """The illumination that SHARP, ptychodus and PyNX store beside the data. Raises FormatError when there is none."""
    with hdf5.open_hdf5(path) as file:
        by_pynx = hdf5.dataset(file, "entry_last/probe/data", f"{ENTRY}/probe/data")
        stored = hdf5.dataset(file, f"{SOURCE}/illumination", f"{SOURCE}/probe")
        probe = stored if stored is not None and stored.dtype.kind == "c" else by_pynx
        if probe is None or probe.dtype.kind != "c" or probe.ndim < 2:
            raise FormatError(f"{path} holds no probe; expected complex numbers in {SOURCE}/illumination")
        values = np.asarray(probe[()], dtype=np.complex64).reshape(-1, *probe.shape[-2:])
        if probe is by_pynx:
            # PyNX turns results upside down when it saves them.
            values = values[:, ::-1]
    return torch.from_numpy(np.ascontiguousarray(values))


def _counts_as_probe(file: h5py.File) -> bool:
    """Whether the writer stored where the probe is, in rows and columns, instead of where the sample is."""
    program = hdf5.text(file, f"{ENTRY}/process_1/program") or ""
    return hdf5.find(file, f"{ENTRY}/ptychodus") is not None or program == "Ptychodus" or _by_pynx(file)


def _by_pynx(file: h5py.File) -> bool:
    program = hdf5.text(file, f"{ENTRY}/program_name") or ""
    return (hdf5.attribute_text(file, "creator") or "") == "PyNX" or program.startswith("PyNX")


def _positions(file: h5py.File, basis: Float[np.ndarray, "2 3"], count: int) -> Float[np.ndarray, "frame 2"] | None:
    translation = hdf5.numbers(file, *per_shot("translation"))
    if translation is None:
        return None
    values = translation.reshape(-1, translation.shape[-1]) if translation.ndim == 3 else translation
    turned = values.ndim == 2 and values.shape[1] == count and values.shape[0] in (2, 3)
    if turned and (values.shape[0] != count or _by_pynx(file)):
        values = values.T
    if values.ndim != 2 or values.shape[1] not in (2, 3):
        raise FormatError(
            f"translation in {file.filename} has shape {translation.shape}; expected (frame, 3) or (3, frame), x y z"
        )
    if _counts_as_probe(file):
        return values[:, 1::-1].copy()
    with np.errstate(all="ignore"):
        return values @ basis[:, : values.shape[1]].T


def _wavelength_m(file: h5py.File, path: Path, stated: ReadOptions) -> float | None:
    wavelength = hdf5.metres(file, f"{SOURCE}/wavelength", f"{ENTRY}/instrument_1/beam_1/incident_wavelength")
    if wavelength is not None:
        return wavelength
    energy_ev = hdf5.electronvolts(file, f"{SOURCE}/energy", default="J")
    if energy_ev is None or stated.energy_ev is not None:
        return None
    if energy_ev > 1e9:
        raise FormatError(
            f"the energy in {path} is {energy_ev * JOULE_PER_EV:g} J; CXI stores joule, 1.28e-15 for 8 keV. If it is meant "
            f"as another unit, state it: --energy-ev"
        )
    if hdf5.text(file, f"{SOURCE}/probe") == "electron":
        return electron_wavelength_m(energy_ev)
    return photon_wavelength_m(energy_ev)


def _notes(file: h5py.File, name: str) -> dict[str, object]:
    notes: dict[str, object] = {"dataset": name}
    version = hdf5.number(file, "cxi_version")
    if version is not None:
        notes["cxi_version"] = int(version)
    for key, path in (("title", f"{ENTRY}/title"), ("program", f"{ENTRY}/program_name")):
        value = hdf5.text(file, path)
        if value:
            notes[key] = value
    private = hdf5.find(file, f"{ENTRY}/exitwave")
    written = read_json(private, "provenance") if isinstance(private, h5py.Group) else {}
    return {**notes, "written_from": written} if written else notes


FORMAT = Format(
    name="cxi",
    title="CXI file",
    recognises=recognises,
    read=read,
    write=write,
    writes=Measurement,
    read_probe=read_probe,
)
