"""Writing CXI 1.6, the way cdtools, SHARP and ptychodus read it, with what the format lacks in `/entry_1/exitwave`."""

from functools import singledispatch
from pathlib import Path

import h5py
import numpy as np

from exitwave.data.estimate import Estimate
from exitwave.data.geometry import JOULE_PER_EV, Geometry
from exitwave.data.measurement import Measurement
from exitwave.data.rocking_curve import RockingCurve
from exitwave.data.scan import Scan
from exitwave.io.hdf5.frames import store_frames
from exitwave.io.hdf5.truth import store_truth
from exitwave.io.hdf5.values import group_at, stamp, write_json
from exitwave.io.hdf5.writing import new_hdf5

SCAN_FORMAT = 1
INVALID_PIXEL = 1
"""CXI mask bit of a pixel that must not be used."""
FRAMES, TRANSLATION = "/entry_1/instrument_1/detector_1/data", "/entry_1/sample_1/geometry_1/translation"

ROCKING = "rocking_curve"
"""Group of our own with angles and circles of a rocking curve."""


def write(path: Path, scan: Measurement, *, truth: Estimate | None = None) -> None:
    """Write a measurement, frame by frame; of a simulated one also the truth, in a group that no reader of scans opens.

    The file appears whole or not at all. Raises InputError or ExitwaveError when it cannot be written.
    """
    with new_hdf5(path) as file:
        fill(file, scan)
        if truth is not None:
            store_truth(file, truth)


def fill(file: h5py.File, scan: Measurement) -> None:
    """Put a measurement into a new, open file."""
    stamp(file, "scan", SCAN_FORMAT)
    file.attrs.update({"NX_class": "NXroot", "default": "entry_1"})
    file["cxi_version"] = 160
    file["number_of_entries"] = 1
    entry = new_group(file, "entry_1", "NXentry")
    entry.attrs["default"] = "data_1"
    entry["program_name"] = "exitwave"
    detector = write_instrument(entry, scan.geometry)
    entry["instrument_1/name"] = str(scan.provenance.get("instrument", "unknown"))
    _write_detector(detector, scan)
    _write_data(entry, scan)
    _write_private(entry, scan)
    write_positions(scan, entry)


def new_group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    """A group of a NeXus class."""
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def with_unit(group: h5py.Group, name: str, value: float | np.ndarray, unit: str) -> h5py.Dataset:
    """A number or array with its unit."""
    stored = group.create_dataset(name, data=value)
    stored.attrs["units"] = unit
    return stored


def write_instrument(entry: h5py.Group, geometry: Geometry) -> h5py.Group:
    """Write source and detector as the geometry tells them; the group of the detector."""
    instrument = new_group(entry, "instrument_1", "NXinstrument")
    source = new_group(instrument, "source_1", "NXsource")
    with_unit(source, "energy", geometry.energy_ev * JOULE_PER_EV, "J")
    with_unit(source, "wavelength", geometry.wavelength_m, "m")
    source["probe"] = "x-ray" if geometry.particle == "photon" else "electron"
    detector = new_group(instrument, "detector_1", "NXdetector")
    distance = with_unit(detector, "distance", geometry.distance_m, "m")
    if geometry.angles_only:
        distance.attrs["angles_only"] = True
    with_unit(detector, "y_pixel_size", geometry.detector_pixel_m[0], "m")
    with_unit(detector, "x_pixel_size", geometry.detector_pixel_m[1], "m")
    return detector


@singledispatch
def write_positions(scan: Measurement, entry: h5py.Group) -> None:
    """Write where the beam stood, for kinds of measurement in which it moved."""


@write_positions.register
def _(scan: Scan, entry: h5py.Group) -> None:
    sample = new_group(entry, "sample_1", "NXsample")
    geometry = sample.create_group("geometry_1")
    positions = scan.positions_m.numpy()
    # CXI moves the sample in the laboratory frame: z with the beam, y up, x to the left seen along the beam. The sample
    # moves against the probe, and rows run down, columns right, against y and x: both signs cancel.
    translation = np.stack([positions[:, 1], positions[:, 0], np.zeros(len(positions))], axis=1)
    with_unit(geometry, "translation", translation, "m")
    geometry["translation"].attrs["convention"] = "sample"
    for group in ("instrument_1/detector_1", "data_1"):
        entry[group]["translation"] = h5py.SoftLink(TRANSLATION)  # pyright: ignore[reportIndexIssue]
    with_unit(group_at(entry, "exitwave"), "probe_positions_yx", positions, "m")


@write_positions.register
def _(scan: RockingCurve, entry: h5py.Group) -> None:
    group = entry.create_group(f"exitwave/{ROCKING}")
    with_unit(group, "angles", scan.angles_rad.numpy(), "rad")
    diffraction, circles = scan.diffraction, scan.diffraction.diffractometer
    told = {
        "name": circles.name,
        "circles": {
            "sample": {circle.name: circle.axis for circle in circles.sample_circles},
            "detector": {circle.name: circle.axis for circle in circles.detector_circles},
            "rows": circles.rows,
            "columns": circles.columns,
        },
        "sample_angles_rad": diffraction.sample_angles_rad,
        "detector_angles_rad": diffraction.detector_angles_rad,
        "rocked": diffraction.rocked,
        "direct_beam_px": diffraction.direct_beam_px,
    }
    write_json(group, "diffraction", told)
    if scan.voxel_mask is not None:
        trusted = scan.voxel_mask.cpu().numpy()
        group.create_dataset("voxel_mask", data=trusted, chunks=(1, *trusted.shape[1:]), compression="gzip")


def _write_detector(detector: h5py.Group, scan: Measurement) -> None:
    pixel_y, pixel_x = scan.geometry.detector_pixel_m
    height, width = scan.frame_shape
    with_unit(detector, "basis_vectors", np.array([[0, -pixel_x], [-pixel_y, 0], [0, 0]], dtype=np.float64), "m")
    corner = np.array([(width // 2 + 0.5) * pixel_x, (height // 2 + 0.5) * pixel_y, scan.geometry.distance_m])
    with_unit(detector, "corner_position", corner, "m")
    axis = "angle" if isinstance(scan, RockingCurve) else "translation"
    store_frames(detector, "data", scan).attrs["axes"] = f"{axis}:y:x"
    detector["mask"] = np.where(scan.mask.cpu().numpy(), 0, INVALID_PIXEL).astype(np.uint32)
    if scan.background is not None:
        detector["data_dark"] = scan.background.cpu().numpy()


def _write_data(entry: h5py.Group, scan: Measurement) -> None:
    data = new_group(entry, "data_1", "NXdata")
    data.attrs.update({"signal": "data", "interpretation": "image"})
    data["data"] = h5py.SoftLink(FRAMES)
    if scan.monitor is not None:
        data["monitor"] = scan.monitor.cpu().numpy()


def _write_private(entry: h5py.Group, scan: Measurement) -> None:
    private = entry.create_group("exitwave")
    if scan.geometry.focus_distance_m is not None:
        with_unit(private, "focus_distance", scan.geometry.focus_distance_m, "m")
    write_json(private, "provenance", scan.provenance)
