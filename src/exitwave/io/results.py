"""Our result file: readable by any HDF5 viewer without us.

A result has the names of CXI (https://www.cxidb.org/cxi.html) and the default groups of NeXus NXdata, so that silx
and other viewers open it as an image. What only we need, exact to the bit, stands in `/entry_1/exitwave`.
"""

from dataclasses import asdict, fields
from functools import partial, singledispatch
from pathlib import Path

import h5py
import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from exitwave.data.errors import FormatError, InputError
from exitwave.data.estimate import BraggEstimate, Estimate, PtychoEstimate, SupportEstimate
from exitwave.data.geometry import Geometry, sensible_pixel
from exitwave.data.optics import ProbeOptics
from exitwave.data.result import Result
from exitwave.data.verdict import Verdict
from exitwave.io.assemble import Format
from exitwave.io.checkpoints import read_checkpoint as read_checkpoint, write_checkpoint as write_checkpoint
from exitwave.io.hdf5.cxi_writing import new_group, with_unit, write_instrument
from exitwave.io.hdf5.frame_fits import read_frame_fits, read_recorded_positions, write_frame_fits
from exitwave.io.hdf5.reading import attribute_text, open_hdf5
from exitwave.io.hdf5.values import (
    attribute_number,
    check_stamp,
    estimate_of_0_1_0,
    group_at,
    is_stamped,
    kind_of,
    read_estimate,
    read_floats,
    read_json,
    read_tensor,
    stamp,
    tensors_of,
    write_estimate,
    write_json,
    write_tensor,
)
from exitwave.io.hdf5.writing import new_hdf5

RESULT_FORMAT = 2
SCANNED = 0x1000
"""Bit of a CXI mask: the pixel has signal."""


def write_result(path: str | Path, result: Result) -> None:
    """Write a reconstruction as HDF5: object, probe, positions, history, solver, provenance. Appears whole or not at all."""
    with new_hdf5(Path(path)) as file:
        stamp(file, "result", RESULT_FORMAT)
        file.attrs.update({"NX_class": "NXroot", "default": "entry_1"})
        file["cxi_version"] = 160
        entry = new_group(file, "entry_1", "NXentry")
        entry.attrs["default"] = "image_1"
        entry["title"] = f"{result.estimate.title} with {result.spec.get('name', 'an unnamed solver')}"
        entry["program_name"] = "exitwave"
        write_instrument(entry, result.geometry)
        write_images(result.estimate, entry, result)
        _write_spread(entry, result)
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
        geometry = _read_geometry(group_at(exact, "geometry"))
        estimate = _read_estimate(entry, exact)
        result = Result(
            estimate=estimate,
            geometry=geometry,
            object_pixel_m=_read_pixel(exact, estimate, geometry),
            spec=read_json(group_at(entry, "process_1"), "configuration"),
            history=read_floats(exact, "history"),
            residual=float("nan") if residual is None else residual,
            free_residual=attribute_number(exact, "free_residual"),
            frame_residual=read_tensor(exact, "frame_residual") if "frame_residual" in exact else None,
            frame_fits=read_frame_fits(exact),
            recorded_positions_px=read_recorded_positions(exact, estimate.tensors().get("positions_px")),
            spread=_read_spread(entry, exact),
            verdict=_read_verdict(exact),
            provenance=read_json(exact, "provenance"),
        )
    _check(result, path)
    return result


def _check(result: Result, path: Path) -> None:
    """Refuse what was edited so that its parts no longer belong together."""
    frames, spread = result.frame_residual, result.spread
    faults = {
        "its geometry gives an impossible object pixel": not sensible_pixel(result.object_pixel_m),
        "its residuals are not one for each frame": frames is not None
        and isinstance(result.estimate, PtychoEstimate)
        and frames.shape != result.estimate.positions_px.shape[:1],
        "its spread has another shape than its object": spread is not None
        and spread.object.shape != result.estimate.object.shape,
    }
    found = [fault for fault, there in faults.items() if there]
    if found:
        raise FormatError(f"{path} is damaged or was edited: {found[0]}; reconstruct again")


@singledispatch
def write_images(estimate: Estimate, entry: h5py.Group, result: Result) -> None:
    """Write what viewers open as images: the object as image_1, its amplitude and phase; more by kind of estimate."""
    pixel_m = result.object_pixel_m
    axes = _object_axes(estimate.object.ndim, len(pixel_m))
    image = _write_image(entry, "image_1", axes, estimate.object, pixel_m, "Object: complex transmission function")
    image["data_type"], image["data_space"] = "transmission function", "real"
    image["process_1"] = h5py.SoftLink("/entry_1/process_1")
    image["mask"] = np.where(estimate.light().numpy() > 0, SCANNED, 0).astype(np.uint32)
    _write_image(entry, "object_amplitude", axes, estimate.object.abs(), pixel_m, "Object amplitude")
    _write_image(entry, "object_phase", axes, estimate.object.angle(), pixel_m, "Object phase", unit="rad")


@write_images.register
def _(estimate: PtychoEstimate, entry: h5py.Group, result: Result) -> None:
    write_images.dispatch(Estimate)(estimate, entry, result)
    title = "Probe: square root of photons per pixel"
    _write_image(entry, "image_2", ("mode", "y", "x"), estimate.probe, result.object_pixel_m, title)
    entry["instrument_1/source_1/illumination"] = h5py.SoftLink("/entry_1/image_2/data")


@write_images.register
def _(estimate: SupportEstimate, entry: h5py.Group, result: Result) -> None:
    write_images.dispatch(Estimate)(estimate, entry, result)
    if estimate.object.ndim > 2:
        # All of it, not the plane that stands for it in pictures.
        del entry["image_1/mask"]
        entry["image_1/mask"] = np.where(estimate.support.cpu().numpy(), SCANNED, 0).astype(np.uint32)
    support, title = estimate.support.to(torch.uint8), "Support of the object: 1 where it may be"
    axes = _object_axes(support.ndim, len(result.object_pixel_m))
    _write_image(entry, "object_support", axes, support, result.object_pixel_m, title)


@write_images.register
def _(estimate: BraggEstimate, entry: h5py.Group, result: Result) -> None:
    write_images.dispatch(SupportEstimate)(estimate, entry, result)
    image = group_at(entry, "image_1")
    del image["data_type"], image["title"]
    image["data_type"] = "electron density"
    image["title"] = "Crystal: amplitude is density, phase -Q . u; its axes are in general not at right angles"
    basis = with_unit(image, "basis_vectors", estimate.basis_m.cpu().numpy().T[:, ::-1], "m")
    basis.attrs["columns"] = "x, y, z in the laboratory; a row for the step along each axis of data"
    q = with_unit(image, "scattering_vector", estimate.scattering_vector.cpu().numpy()[::-1], "1/m")
    q.attrs["columns"] = "x, y, z in the laboratory"


def _object_axes(axes: int, sizes: int) -> tuple[str, ...]:
    """Names of the axes of an object: slices have no size, depth has."""
    further = tuple(f"axis_{number}" for number in range(axes - 3))
    return (*further, "z" if sizes > 2 else "slice", "y", "x")[-axes:]


_SPREAD_IMAGES = ("object", "probe")


def _write_spread(entry: h5py.Group, result: Result) -> None:
    pixel_m, tensors = result.object_pixel_m, {} if result.spread is None else result.spread.tensors()
    for name in _SPREAD_IMAGES:
        if name in tensors:
            deviation, title = tensors[name].real, f"Standard deviation of the {name}"
            axes = ("mode", "y", "x") if name == "probe" else _object_axes(deviation.ndim, len(pixel_m))
            _write_image(entry, f"{name}_spread", axes, deviation, pixel_m, title)


def _write_image(
    entry: h5py.Group,
    name: str,
    axes: tuple[str, ...],
    values: Tensor,
    pixel_m: tuple[float, ...],
    title: str,
    unit: str = "",
) -> h5py.Group:
    group = new_group(entry, name, "NXdata")
    group.attrs.update({"signal": "data", "axes": list(axes), "interpretation": "image"})
    stored = write_tensor(group, "data", values)
    stored.attrs["interpretation"] = "image"
    if unit:
        stored.attrs["units"] = unit
    group["title"] = title
    # Slices and modes have no size; the last axes are those of the pixel.
    bare = values.ndim - len(pixel_m) if values.ndim > len(pixel_m) else 0
    for axis, length in zip(axes[:bare], values.shape[:bare], strict=True):
        group[axis] = np.arange(length)
    sizes = pixel_m[-(values.ndim - bare) :]
    for axis, length, size in zip(axes[bare:], values.shape[bare:], sizes, strict=True):
        with_unit(group, axis, (np.arange(length) - length // 2) * size, "m")
    group["image_size"] = np.asarray(values.shape[bare:]) * np.asarray(sizes)
    return group


def _write_process(entry: h5py.Group, result: Result) -> None:
    process = new_group(entry, "process_1", "NXprocess")
    process["program"] = "exitwave"
    process["version"] = entry.file.attrs["exitwave_version"]
    if "date" in result.provenance:
        process["date"] = str(result.provenance["date"])
    write_json(process, "configuration", result.spec)
    if result.history:
        history = new_group(process, "results", "NXdata")
        history.attrs.update({"signal": "residual", "axes": ["epoch"]})
        history["residual"] = np.asarray(result.history, dtype=np.float64)
        history["epoch"] = np.arange(1, len(result.history) + 1)
        history["title"] = "Squared relative amplitude residual"


def _write_exact(entry: h5py.Group, result: Result) -> None:
    exact = new_group(entry, "exitwave", "NXcollection")
    exact.attrs["residual"] = result.residual
    if result.free_residual is not None:
        exact.attrs["free_residual"] = result.free_residual
    exact.attrs["object_pixel_m"] = result.object_pixel_m
    write_positions(result.estimate, exact, result)
    # The same array under two names.
    group = exact.create_group("estimate")
    for name, place in (
        ("object", "image_1/data"),
        ("probe", "image_2/data"),
        ("positions_px", "exitwave/positions_px"),
    ):
        if place in entry:
            group[name] = entry[place]
    write_estimate(group, result.estimate)
    if result.spread is not None:
        group = exact.create_group("spread")
        for name in _SPREAD_IMAGES:
            if f"{name}_spread" in entry:
                group[name] = entry[f"{name}_spread/data"]
        write_estimate(group, result.spread)
    write_tensor(exact, "history", torch.tensor(list(result.history), dtype=torch.float64))
    if result.frame_residual is not None:
        write_tensor(exact, "frame_residual", result.frame_residual)
    if result.frame_fits is not None:
        write_frame_fits(exact, result.frame_fits)
    if result.recorded_positions_px is not None:
        write_tensor(exact, "recorded_positions_px", result.recorded_positions_px)
    if result.verdict is not None:
        write_json(exact, "verdict", result.verdict.to_json())
        exact.attrs["verdict"] = result.verdict.grade
    write_json(exact, "provenance", result.provenance)
    geometry = exact.create_group("geometry")
    for field in fields(result.geometry):
        value = getattr(result.geometry, field.name)
        if isinstance(value, ProbeOptics):
            write_json(geometry, field.name, asdict(value))
        elif value is not None:
            geometry.attrs[field.name] = value


@singledispatch
def write_positions(estimate: Estimate, exact: h5py.Group, result: Result) -> None:
    """Write where the beam stood, for kinds of measurement in which it moved."""


@write_positions.register
def _(estimate: PtychoEstimate, exact: h5py.Group, result: Result) -> None:
    metres = positions_m(estimate, result.object_pixel_m).numpy()
    write_tensor(exact, "positions_px", estimate.positions_px).attrs["columns"] = (
        "y, x of the window's first pixel in image_1"
    )
    with_unit(exact, "positions_m", metres, "m").attrs["columns"] = "y, x of the probe in image_1"
    sample = new_group(new_group(group_at(exact.file, "entry_1"), "sample_1", "NXsample"), "geometry_1", "NXcollection")
    moved = -metres
    translation = np.column_stack((moved[:, 1], moved[:, 0], np.zeros(len(moved))))
    with_unit(sample, "translation", translation, "m").attrs["convention"] = "sample"


def positions_m(estimate: PtychoEstimate, pixel_m: tuple[float, ...]) -> Tensor:
    """(y, x) of the probe's centre on the axes of the object image, metres: zero is its pixel [h // 2, w // 2]."""
    middles = torch.tensor(
        [p // 2 - n // 2 for p, n in zip(estimate.probe.shape[-2:], estimate.object.shape[-2:], strict=True)]
    )
    return (estimate.positions_px.detach().cpu().double() + middles) * torch.tensor(pixel_m).double()


def _read_estimate(entry: h5py.Group, exact: h5py.Group) -> Estimate:
    if attribute_number(entry.file, "exitwave_format") != 1:
        return read_estimate(group_at(exact, "estimate"))
    stored = group_at(exact, "estimate") if "estimate" in exact else None
    further = {} if stored is None else {str(name): read_tensor(stored, str(name)) for name in stored}
    return estimate_of_0_1_0(
        entry.file,
        {
            "object": read_tensor(entry, "image_1/data"),
            "probe": read_tensor(entry, "image_2/data"),
            "positions_px": read_tensor(exact, "positions_px"),
            **further,
        },
    )


def _read_pixel(exact: h5py.Group, estimate: Estimate, geometry: Geometry) -> tuple[float, ...]:
    stored = np.asarray(exact.attrs.get("object_pixel_m", ())).ravel()
    if stored.dtype.kind not in "iuf":
        raise FormatError(f"{exact.file.filename} holds an object pixel that is no length; it is damaged or was edited")
    if len(stored):
        return tuple(stored.astype(np.float64).tolist())
    # 0.1.0 left it to the geometry: object and probe share the pixel, an isolated object has as many as its pattern.
    frame = estimate.probe if isinstance(estimate, PtychoEstimate) else estimate.object
    return geometry.object_pixel_m((frame.shape[-2], frame.shape[-1]))


def _read_spread(entry: h5py.Group, exact: h5py.Group) -> Estimate | None:
    if attribute_number(entry.file, "exitwave_format") == 1:
        return _spread_of_0_1_0(entry)
    if "spread" not in exact:
        return None
    group = group_at(exact, "spread")
    kind = kind_of(group) or Estimate
    tensors = tensors_of(group, kind)
    return _spread(
        entry, kind, {**tensors, **{name: _complex(tensors[name]) for name in _SPREAD_IMAGES if name in tensors}}
    )


def _spread_of_0_1_0(entry: h5py.Group) -> Estimate | None:
    """Images alone tell it; an isolated object was stored as one slice."""
    if "object_spread" not in entry:
        return None
    obj = _complex(read_tensor(entry, "object_spread/data"))
    if "object_support" in entry or "probe_spread" not in entry:
        return _spread(entry, Estimate, {"object": obj[0] if "object_support" in entry else obj})
    positions_px = torch.zeros(0, 2, dtype=torch.float64)
    probe = _complex(read_tensor(entry, "probe_spread/data"))
    return _spread(entry, PtychoEstimate, {"object": obj, "probe": probe, "positions_px": positions_px})


def _spread(entry: h5py.Group, kind: type[Estimate], tensors: dict[str, Tensor]) -> Estimate:
    """No estimate that has to make sense: a deviation may be anything, where a solver went wrong."""
    try:
        return kind(**tensors)  # pyright: ignore[reportArgumentType]
    except (InputError, TypeError, RuntimeError, IndexError) as error:
        raise FormatError(f"{entry.file.filename} is damaged or was edited: its spread: {error}") from error


def _complex(spread: Tensor) -> Tensor:
    return spread.to(torch.complex128 if spread.dtype == torch.float64 else torch.complex64)


def _read_verdict(exact: h5py.Group) -> Verdict | None:
    stored = read_json(exact, "verdict")
    if not stored:
        return None
    try:
        return Verdict.from_json(stored)
    except FormatError as error:
        raise FormatError(f"{exact.file.filename} is damaged or was edited: {error}") from error


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
        angles_only=bool(group.attrs.get("angles_only", False)),
        optics=_read_optics(group),
    )


def _read_optics(group: h5py.Group) -> ProbeOptics | None:
    if not (stored := read_json(group, "optics")):
        return None
    try:
        return TypeAdapter(ProbeOptics).validate_python(stored)
    except (ValidationError, InputError) as error:
        raise FormatError(f"{group.file.filename} is damaged or was edited: {error}") from error


def _probe(path: Path) -> Tensor:
    estimate = read_result(path).estimate
    if not isinstance(estimate, PtychoEstimate):
        raise FormatError(f"{path} holds no probe: it is an estimate of {estimate.kind}; give a result of a scan")
    return estimate.probe


FORMAT = Format(
    name="result",
    title="exitwave result",
    recognises=partial(is_stamped, kind="result"),
    read_estimate=lambda path: read_result(path).estimate,
    read_probe=_probe,
)
