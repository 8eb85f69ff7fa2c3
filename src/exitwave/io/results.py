"""Our result file: readable by any HDF5 viewer without us.

A result has the names of CXI (https://www.cxidb.org/cxi.html) and the default groups of NeXus NXdata, so that silx
and other viewers open it as an image. What only we need, exact to the bit, stands in `/entry_1/exitwave`.
"""

from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from exitwave.data.errors import FormatError
from exitwave.data.estimate import Estimate, PtychoEstimate
from exitwave.data.geometry import JOULE_PER_EV, Geometry, sensible_pixel
from exitwave.data.result import Result
from exitwave.io.assemble import Format
from exitwave.io.checkpoints import read_checkpoint as read_checkpoint, write_checkpoint as write_checkpoint
from exitwave.io.hdf5 import attribute_text, open_hdf5
from exitwave.io.hdf5_values import (
    attribute_number,
    check_stamp,
    estimate_of,
    group_at,
    is_stamped,
    read_floats,
    read_further,
    read_json,
    read_tensor,
    stamp,
    write_further,
    write_json,
    write_tensor,
)
from exitwave.io.hdf5_writing import new_hdf5

RESULT_FORMAT = 1
SCANNED = 0x1000
"""Bit of a CXI mask: the pixel has signal."""


def write_result(path: str | Path, result: Result) -> None:
    """Write a reconstruction as HDF5: object, probe, positions, history, solver, provenance. Appears whole or not at all."""
    with new_hdf5(Path(path)) as file:
        stamp(file, "result", RESULT_FORMAT)
        file.attrs.update({"NX_class": "NXroot", "default": "entry_1"})
        file["cxi_version"] = 160
        entry = _group(file, "entry_1", "NXentry")
        entry.attrs["default"] = "image_1"
        kind = (
            "Ptychographic reconstruction"
            if result.estimate.support is None
            else "Reconstruction of an isolated object"
        )
        entry["title"] = f"{kind} with {result.spec.get('name', 'an unnamed solver')}"
        entry["program_name"] = "exitwave"
        _write_instrument(entry, result.geometry)
        _write_images(entry, result)
        _write_process(entry, result)
        _write_exact(entry, result)


def read_result(path: str | Path) -> Result:
    """Read a result that exitwave wrote. Raises FormatError for other, damaged or newer files."""
    path = Path(path)
    with open_hdf5(path) as file:
        check_stamp(file, path, "result", RESULT_FORMAT)
        entry = group_at(file, "entry_1")
        exact = group_at(entry, "exitwave")
        residual = attribute_number(exact, "residual")
        result = Result(
            estimate=_read_estimate(entry, exact),
            geometry=_read_geometry(group_at(exact, "geometry")),
            spec=read_json(group_at(entry, "process_1"), "configuration"),
            history=read_floats(exact, "history"),
            residual=float("nan") if residual is None else residual,
            free_residual=attribute_number(exact, "free_residual"),
            frame_residual=read_tensor(exact, "frame_residual") if "frame_residual" in exact else None,
            spread=_read_spread(entry),
            provenance=read_json(exact, "provenance"),
        )
    _check(result, path)
    return result


def _check(result: Result, path: Path) -> None:
    """Refuse what was edited so that its parts no longer belong together."""
    x, frames = result.estimate, result.frame_residual
    room = torch.tensor(x.object.shape[-2:]) - torch.tensor(x.probe.shape[-2:])
    faults = {
        "its geometry gives an impossible object pixel": not sensible_pixel(result.object_pixel_m),
        "its probe is larger than its object": bool((room < 0).any()),
        "its residuals are not one for each frame": frames is not None and frames.shape != x.positions_px.shape[:1],
        "its spread has another shape than its object": result.spread is not None
        and result.spread.object.shape != x.object.shape,
    }
    inside = bool((x.positions_px > -1).all() and (x.positions_px < room + 1).all())
    faults["its positions lie outside its object"] = not inside
    found = [fault for fault, there in faults.items() if there]
    if found:
        raise FormatError(f"{path} is damaged or was edited: {found[0]}; reconstruct again")


def _group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def _with_unit(group: h5py.Group, name: str, value: Any, unit: str) -> h5py.Dataset:
    stored = group.create_dataset(name, data=value)
    stored.attrs["units"] = unit
    return stored


def _write_instrument(entry: h5py.Group, geometry: Geometry) -> None:
    instrument = _group(entry, "instrument_1", "NXinstrument")
    source = _group(instrument, "source_1", "NXsource")
    _with_unit(source, "energy", geometry.energy_ev * JOULE_PER_EV, "J")
    _with_unit(source, "wavelength", geometry.wavelength_m, "m")
    source["illumination"] = h5py.SoftLink("/entry_1/image_2/data")
    source["probe"] = "x-ray" if geometry.particle == "photon" else "electron"
    detector = _group(instrument, "detector_1", "NXdetector")
    _with_unit(detector, "distance", geometry.distance_m, "m")
    _with_unit(detector, "y_pixel_size", geometry.detector_pixel_m[0], "m")
    _with_unit(detector, "x_pixel_size", geometry.detector_pixel_m[1], "m")


def _write_images(entry: h5py.Group, result: Result) -> None:
    estimate, pixel_m = result.estimate, result.object_pixel_m
    image = _write_image(entry, "image_1", "slice", estimate.object, pixel_m, "Object: complex transmission function")
    image["data_type"], image["data_space"] = "transmission function", "real"
    image["process_1"] = h5py.SoftLink("/entry_1/process_1")
    image["mask"] = np.where(illumination(result) > 0, SCANNED, 0).astype(np.uint32)
    _write_image(entry, "image_2", "mode", estimate.probe, pixel_m, "Probe: square root of photons per pixel")
    obj = estimate.object
    _write_image(entry, "object_amplitude", "slice", obj.abs(), pixel_m, "Object amplitude")
    _write_image(entry, "object_phase", "slice", obj.angle(), pixel_m, "Object phase", unit="rad")
    if estimate.support is not None:
        support = estimate.support.to(torch.uint8)
        _write_image(entry, "object_support", "slice", support, pixel_m, "Support of the object: 1 where it may be")
    if result.spread is not None:
        title = "Standard deviation of the object"
        _write_image(entry, "object_spread", "slice", result.spread.object.real, pixel_m, title)
        if isinstance(result.spread, PtychoEstimate):
            title = "Standard deviation of the probe"
            _write_image(entry, "probe_spread", "mode", result.spread.probe.real, pixel_m, title)


def illumination(result: Result) -> Float[np.ndarray, "y x"]:
    """Photons that fell on each pixel of the object, summed over the scan; zero where no window reached."""
    estimate = result.estimate
    intensity = estimate.probe.abs().square().sum(dim=0).double().cpu().numpy()
    # So that a window counts as seen to its dark corners.
    intensity = intensity + 1e-12 * intensity.max()
    total = np.zeros(estimate.object.shape[1:])
    room = np.asarray(total.shape) - intensity.shape
    for row, column in np.clip(np.rint(estimate.positions_px.cpu().numpy()), 0, room).astype(int):
        total[row : row + intensity.shape[0], column : column + intensity.shape[1]] += intensity
    return total


def _write_image(
    entry: h5py.Group,
    name: str,
    first_axis: str,
    stack: Tensor,
    pixel_m: tuple[float, float],
    title: str,
    unit: str = "",
) -> h5py.Group:
    group = _group(entry, name, "NXdata")
    group.attrs.update({"signal": "data", "axes": [first_axis, "y", "x"], "interpretation": "image"})
    stored = write_tensor(group, "data", stack)
    stored.attrs["interpretation"] = "image"
    if unit:
        stored.attrs["units"] = unit
    group["title"] = title
    group[first_axis] = np.arange(stack.shape[0])
    for axis, length, size in zip("yx", stack.shape[1:], pixel_m, strict=True):
        _with_unit(group, axis, (np.arange(length) - length // 2) * size, "m")
    group["image_size"] = np.asarray(stack.shape[1:]) * np.asarray(pixel_m)
    return group


def _write_process(entry: h5py.Group, result: Result) -> None:
    process = _group(entry, "process_1", "NXprocess")
    process["program"] = "exitwave"
    process["version"] = entry.file.attrs["exitwave_version"]
    if "date" in result.provenance:
        process["date"] = str(result.provenance["date"])
    write_json(process, "configuration", result.spec)
    if result.history:
        history = _group(process, "results", "NXdata")
        history.attrs.update({"signal": "residual", "axes": ["epoch"]})
        history["residual"] = np.asarray(result.history, dtype=np.float64)
        history["epoch"] = np.arange(1, len(result.history) + 1)
        history["title"] = "Squared relative amplitude residual"


def _write_exact(entry: h5py.Group, result: Result) -> None:
    exact = _group(entry, "exitwave", "NXcollection")
    exact.attrs["residual"] = result.residual
    if result.free_residual is not None:
        exact.attrs["free_residual"] = result.free_residual
    positions = result.estimate.positions_px
    write_tensor(exact, "positions_px", positions).attrs["columns"] = "y, x of the window's first pixel in image_1"
    _with_unit(exact, "positions_m", positions_m(result).numpy(), "m").attrs["columns"] = "y, x of the probe in image_1"
    write_further(exact.create_group("estimate"), result.estimate)
    write_tensor(exact, "history", torch.tensor(list(result.history), dtype=torch.float64))
    if result.frame_residual is not None:
        write_tensor(exact, "frame_residual", result.frame_residual)
    write_json(exact, "provenance", result.provenance)
    geometry = exact.create_group("geometry")
    for field in fields(result.geometry):
        value = getattr(result.geometry, field.name)
        if value is not None:
            geometry.attrs[field.name] = value
    sample = _group(_group(entry, "sample_1", "NXsample"), "geometry_1", "NXcollection")
    moved = -positions_m(result).numpy()
    translation = np.column_stack((moved[:, 1], moved[:, 0], np.zeros(len(moved))))
    _with_unit(sample, "translation", translation, "m").attrs["convention"] = "sample"


def positions_m(result: Result) -> Tensor:
    """(y, x) of the probe's centre on the axes of the object image, metres: zero is its pixel [h // 2, w // 2]."""
    estimate = result.estimate
    middles = torch.tensor(
        [p // 2 - n // 2 for p, n in zip(estimate.probe.shape[-2:], estimate.object.shape[-2:], strict=True)]
    )
    return (estimate.positions_px.detach().cpu().double() + middles) * torch.tensor(result.object_pixel_m).double()


def _read_estimate(entry: h5py.Group, exact: h5py.Group) -> PtychoEstimate:
    return estimate_of(
        entry.file,
        object=read_tensor(entry, "image_1/data"),
        probe=read_tensor(entry, "image_2/data"),
        positions_px=read_tensor(exact, "positions_px"),
        further=read_further(group_at(exact, "estimate")) if "estimate" in exact else None,
    )


def _read_spread(entry: h5py.Group) -> Estimate | None:
    if "object_spread" not in entry:
        return None
    obj = _complex(read_tensor(entry, "object_spread/data"))
    if "probe_spread" not in entry:
        return Estimate(object=obj)
    probe = _complex(read_tensor(entry, "probe_spread/data"))
    return PtychoEstimate(object=obj, probe=probe, positions_px=torch.zeros(0, 2, dtype=torch.float64))


def _complex(spread: Tensor) -> Tensor:
    return spread.to(torch.complex128 if spread.dtype == torch.float64 else torch.complex64)


def _read_geometry(group: h5py.Group) -> Geometry:
    wavelength, distance = attribute_number(group, "wavelength_m"), attribute_number(group, "distance_m")
    stored = np.asarray(group.attrs.get("detector_pixel_m", ())).ravel()
    pixel = stored.astype(np.float64).tolist() if stored.dtype.kind in "iuf" else []
    if wavelength is None or distance is None or len(pixel) != 2:
        raise FormatError(f"{group.file.filename} lacks a part of its geometry; it is damaged or was edited")
    return Geometry(
        wavelength_m=wavelength,
        distance_m=distance,
        detector_pixel_m=(pixel[0], pixel[1]),
        focus_distance_m=attribute_number(group, "focus_distance_m"),
        particle="electron" if attribute_text(group, "particle") == "electron" else "photon",
    )


def _recognises(path: Path) -> bool:
    return is_stamped(path, "result")


def _estimate(path: Path) -> PtychoEstimate:
    return read_result(path).estimate


def _probe(path: Path) -> Tensor:
    return read_result(path).estimate.probe


FORMAT = Format(
    name="result",
    title="exitwave result",
    recognises=_recognises,
    read_estimate=_estimate,
    read_probe=_probe,
)
