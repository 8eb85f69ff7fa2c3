"""DECTRIS master files: the frames lie in further files beside it, packed with bitshuffle and LZ4.

Names as the SIMPLON file writer of EIGER and PILATUS3 gives them. Scan positions are not in them: they come in a file of
their own.
"""

import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Bool

from exitwave.data.errors import FormatError
from exitwave.data.geometry import electron_wavelength_m, photon_wavelength_m
from exitwave.io.assemble import Contents, Format, ReadOptions
from exitwave.io.hdf5.reading import (
    Hdf5Patterns,
    electronvolts,
    find,
    is_hdf5,
    metres,
    number,
    numbers,
    open_hdf5,
    text,
)
from exitwave.io.positions import with_stated_positions
from exitwave.io.readers.fio import fio_beside, read_fio, rocking_contents

DATA = "entry/data"
DETECTOR = "entry/instrument/detector"
SPECIFIC = f"{DETECTOR}/detectorSpecific"
ELECTRON_DETECTORS = re.compile(r"\b(ARINA|QUADRO|ELA|SINGLA)\b")
"""Detectors of DECTRIS that are made for electrons."""
LEAST_ELECTRON_EV = 120e3
"""Beamlines of coherent X-rays stay well below."""
_BLOCK = re.compile(r"data_(\d+)")


def recognises(path: Path) -> bool:
    """True for HDF5 with numbered blocks of frames and a detector, even when the files with the frames are missing."""
    if not is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return bool(_blocks(file)) and find(file, DETECTOR) is not None


def read(path: Path, stated: ReadOptions) -> Contents:
    """Read a measurement. Raises FormatError naming the file with frames that is missing or damaged."""
    with open_hdf5(path) as file:
        blocks = _blocks(file)
        if not blocks:
            raise FormatError(f"{path} is no DECTRIS master file; expected frames in /{DATA}/data_000001 and following")
        pixel_y, pixel_x = metres(file, f"{DETECTOR}/y_pixel_size"), metres(file, f"{DETECTOR}/x_pixel_size")
        centre = number(file, f"{DETECTOR}/beam_center_y"), number(file, f"{DETECTOR}/beam_center_x")
        electron_v = _electron_v(file)
        notes = {
            "electrons": f"{electron_v / 1000:g} keV with an electron detector, or without a distance"
            if electron_v
            else None,
            "datasets": blocks,
            "chi_deg": number(file, "entry/sample/goniometer/chi"),
            "images": number(file, f"{SPECIFIC}/nimages"),
            "triggers": number(file, f"{SPECIFIC}/ntrigger"),
        }
        contents = Contents(
            patterns=Hdf5Patterns(path, blocks),
            wavelength_m=electron_wavelength_m(electron_v) if electron_v else _wavelength_m(file),
            particle="electron" if electron_v else "photon",
            distance_m=_distance_m(file),
            detector_pixel_m=(pixel_y, pixel_x) if pixel_y and pixel_x else None,
            mask=_mask(file),
            beam_centre_px=None if centre[0] is None or centre[1] is None else (centre[0], centre[1]),
            notes={key: value for key, value in notes.items() if value is not None},
        )
    return with_stated_positions(_with_angles_beside(contents, path, stated), stated)


def _with_angles_beside(contents: Contents, path: Path, stated: ReadOptions) -> Contents:
    """The contents with the angles in the text file that P10 keeps beside its frames, where these are a rocking curve."""
    beside = fio_beside(path) if stated.positions is None else None
    rocking = None if beside is None else rocking_contents(beside)
    if beside is None or rocking is None:
        return contents
    # Where the detector has the direct beam was mostly never told to it, and is of no use for a rocking curve.
    energy_ev = read_fio(beside).motors.get("fmbenergy")
    wavelength_m = contents.wavelength_m or (photon_wavelength_m(energy_ev) if energy_ev else None)
    notes = {**contents.notes, "angles_file": beside.name}
    return replace(contents, rocking=rocking, wavelength_m=wavelength_m, notes=notes)


def _blocks(file: h5py.File) -> tuple[str, ...]:
    """Paths of the blocks of frames in the order of their numbers, whether or not their files are there."""
    group = find(file, DATA)
    names = [str(name) for name in group] if isinstance(group, h5py.Group) else []
    numbered = sorted((int(match[1]), match[0]) for name in names if (match := _BLOCK.fullmatch(name)))
    return tuple(f"{DATA}/{name}" for _, name in numbered)


def _wavelength_m(file: h5py.File) -> float | None:
    if energy_ev := _energy_ev(file):
        return photon_wavelength_m(energy_ev)
    return metres(file, "entry/instrument/beam/incident_wavelength", default="angstrom") or None


def _distance_m(file: h5py.File) -> float | None:
    # What nobody told the detector stays zero.
    return metres(file, f"{DETECTOR}/detector_distance", f"{DETECTOR}/distance") or None


def _electron_v(file: h5py.File) -> float | None:
    """The voltage where the "photon energy" is that of electrons: by the detector's name, or too high for X-rays and no distance.

    Microscopes run ARINA and its like with the file writer of X-ray detectors, which has no word for electrons.
    """
    energy_ev = _energy_ev(file)
    made_for = (text(file, f"{DETECTOR}/description") or "").upper()
    if not energy_ev or energy_ev < 20e3:
        return None
    named = ELECTRON_DETECTORS.search(made_for) is not None
    return energy_ev if named or (energy_ev >= LEAST_ELECTRON_EV and _distance_m(file) is None) else None


def _energy_ev(file: h5py.File) -> float | None:
    return electronvolts(file, f"{SPECIFIC}/photon_energy", "entry/instrument/beam/incident_energy", default="eV")


def _mask(file: h5py.File) -> Bool[np.ndarray, "y x"] | None:
    """Zero is a good pixel; every bit (gap, dead, under- and over-responding, noisy) speaks against it."""
    values = numbers(file, f"{SPECIFIC}/pixel_mask", f"{DETECTOR}/pixel_mask")
    if values is None or values.ndim < 2:
        return None
    return (values.reshape(-1, *values.shape[-2:]) == 0).all(axis=0)


FORMAT = Format(name="dectris", title="DECTRIS master file", recognises=recognises, read=read)
