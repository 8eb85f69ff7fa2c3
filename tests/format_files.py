"""A file in every format, as the programs write them that have it, of the oracle's asymmetric scan."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import tifffile

from exitwave.data.estimate import PtychoEstimate
from exitwave.data.geometry import electron_wavelength_m, photon_wavelength_m
from exitwave.data.result import Result
from exitwave.io import formats
from exitwave.io.assemble import ReadOptions
from exitwave.io.export import export
from exitwave.io.results import write_result
from oracle import Oracle
from rocking_files import STATED_ALL, write_autophasenn, write_cdiutils, write_cohere
from vendor_files import (
    embedded,
    write_abtem_zarr,
    write_blo,
    write_dm4,
    write_edf,
    write_emd,
    write_empad,
    write_mat5,
    write_mib,
)

STATED: Mapping[str, Any] = MappingProxyType(
    {"energy_ev": 8000.0, "distance_m": 1.5, "detector_pixel_m": (75e-6, 55e-6)}
)
"""The geometry of the oracle, for formats that store none."""
ELECTRONS: Mapping[str, Any] = MappingProxyType(
    {
        "kv": 100.0,
        "distance_m": 1.5 * photon_wavelength_m(8000.0) / electron_wavelength_m(100e3),
        "detector_pixel_m": (75e-6, 55e-6),
    }
)
"""A geometry of electrons that gives the object pixel of the oracle."""
Writer = Callable[[Path, Oracle, PtychoEstimate], dict[str, Any]]
"""Writes the file at the path, and returns the options that its reader needs to be told."""


def write_example(name: str, path: Path, oracle: Oracle, truth: PtychoEstimate) -> ReadOptions:
    """A file in the format `name`, and what must be stated to read it."""
    if formats.named(name).write is None:
        return ReadOptions(**EXAMPLES[name](path, oracle, truth))
    formats.named(name).write(path, oracle.scan)
    return ReadOptions()


def write_dectris(path: Path, oracle: Oracle) -> Path:
    """As the file writer of an EIGER leaves it: a master file, blocks of up to 5 frames in files beside it."""
    frames = oracle.patterns.astype(np.uint32)
    frames[:, ~oracle.mask] = 2**32 - 1
    with h5py.File(path, "w") as file:
        for block, start in enumerate(range(0, 12, 5), 1):
            name = f"scan_data_{block:06d}.h5"
            with h5py.File(path.parent / name, "w") as data:
                data.create_dataset(
                    "entry/data/data", data=frames[start : start + 5], chunks=(1, 16, 20),
                    compression=hdf5plugin.Bitshuffle(cname="lz4"),
                )  # fmt: skip
            file[f"entry/data/data_{block:06d}"] = h5py.ExternalLink(name, "/entry/data/data")
        detector = file.create_group("entry/instrument/detector")
        for name, value, units in (
            ("detector_distance", 1.5, b"m"),
            ("y_pixel_size", 75e-6, b"m"),
            ("x_pixel_size", 55e-6, b"m"),
            ("detectorSpecific/photon_energy", 8000.0, b"eV"),
        ):
            detector[name] = np.float32(value)
            detector[name].attrs["units"] = units
        detector["beam_center_y"], detector["beam_center_x"] = 8.2, 9.9
        specific = detector["detectorSpecific"]
        specific["nimages"], specific["ntrigger"] = 1, 12
        specific["pixel_mask"] = np.where(oracle.mask, 0, 8).astype(np.uint32)
        file["entry/sample/goniometer/chi"] = np.zeros(12)
    return path


def write_product(path, oracle, names="new", order=None, with_object=True):
    """A product as release 1.7 ("new") or older ones ("old") write it; the window (0, 0) of 40 x 44 stands at its corner."""
    pixel_y, pixel_x = oracle.scan.object_pixel_m
    order = np.arange(12) if order is None else order
    with h5py.File(path, "w") as file:
        file.attrs.update({"name": "oracle", "comments": "", "detector_object_distance_m": 1.5, "exposure_time_s": 0.1})
        file.attrs["photon_energy_eV" if names == "new" else "probe_energy_eV"] = 8000.0
        if names == "new":
            file.attrs.update({"focus_object_distance_m": 0.0, "far_field": True, "polarization": "linear_horizontal"})
        file["probe_position_indexes"] = order
        file["probe_position_x_m"] = oracle.positions_m[order, 1]
        file["probe_position_y_m"] = oracle.positions_m[order, 0]
        if not with_object:
            return
        probe = file.create_dataset("probe", data=oracle.probe.astype(np.complex64)[None, None])
        probe.attrs.update({"pixel_width_m": pixel_x, "pixel_height_m": pixel_y})
        obj = file.create_dataset("object", data=oracle.object.astype(np.complex64)[None])
        centre = oracle.positions_m[0] + 12 * np.array([pixel_y, pixel_x])
        obj.attrs.update(
            {"pixel_width_m": pixel_x, "pixel_height_m": pixel_y, "center_x_m": centre[1], "center_y_m": centre[0]}
        )
        file["object_layer_spacing_m"] = np.zeros(0)
        file["costs" if names == "old" else "loss_values"] = [1.0, 0.5]


def write_patterns(path, oracle, indexes=None, pixel_as="attribute"):
    indexes = np.arange(12) if indexes is None else indexes
    with h5py.File(path, "w") as file:
        patterns = file.create_dataset("patterns", data=oracle.patterns[indexes].astype(np.uint16))
        file["indexes"] = indexes
        file["bad_pixels"] = ~oracle.mask
        pixel = {"detector_pixel_height_m": 75e-6, "detector_pixel_width_m": 55e-6}
        if pixel_as == "attribute":
            patterns.attrs.update(pixel)
        else:
            for name, value in pixel.items():
                file[name] = value


def write_training(path: Path, oracle: Oracle, truth: PtychoEstimate) -> None:
    with h5py.File(path, "w") as file:
        file["patterns"], file["bad_pixels"] = oracle.patterns, ~oracle.mask
        file["probe"], file["object"] = oracle.probe[None], oracle.object
        file["probe_position_y_px"], file["probe_position_x_px"] = (truth.positions_px.numpy() - 12).T
        file["object_pixel_height_m"], file["object_pixel_width_m"] = oracle.scan.object_pixel_m
        file.attrs["photon_energy_eV"], file.attrs["detector_object_distance_m"] = 8000.0, 1.5


def write_slac(path: Path, oracle: Oracle) -> None:
    """Frames last, metres."""
    with path.open("wb") as file:
        np.savez(
            file,
            diffraction=oracle.patterns.transpose(1, 2, 0),
            ycoords_start=oracle.positions_m[:, 0],
            xcoords_start=oracle.positions_m[:, 1],
            probeGuess=oracle.probe,
        )


def _with_table(path: Path, oracle: Oracle) -> dict[str, Any]:
    """Positions in a file beside."""
    table = path.parent / "positions.csv"
    np.savetxt(table, oracle.positions_m, delimiter=",", header="y_m,x_m", comments="")
    return {"positions": table}


def _dectris(path: Path, oracle: Oracle, truth: PtychoEstimate) -> dict[str, Any]:
    write_dectris(path, oracle)
    return _with_table(path, oracle)


def _training(path: Path, oracle: Oracle, truth: PtychoEstimate) -> dict[str, Any]:
    write_training(path, oracle, truth)
    return {}


def _pair(path: Path, oracle: Oracle, truth: PtychoEstimate) -> dict[str, Any]:
    with h5py.File(path, "w") as file:
        file.create_dataset("dp", data=oracle.patterns.astype(np.float32), compression="lzf")
    return {**_with_table(path, oracle), **STATED}


def _recipe(path: Path, oracle: Oracle, truth: PtychoEstimate) -> dict[str, Any]:
    """As beamline 9-ID-C of the APS has it, which a shipped recipe knows."""
    with h5py.File(path, "w") as file:
        file["exchange/data"] = oracle.patterns.astype(np.uint16)
        file["exchange/motor_pos"] = oracle.positions_m[:, ::-1] * 1e3
    return dict(STATED)


def _slac(path: Path, oracle: Oracle, truth: PtychoEstimate) -> dict[str, Any]:
    write_slac(path, oracle)
    return dict(STATED)


def _tiff(path: Path, oracle: Oracle, truth: PtychoEstimate) -> dict[str, Any]:
    tifffile.imwrite(path, oracle.patterns.astype(np.uint16))
    return {**_with_table(path, oracle), **STATED}


def _result(path: Path, oracle: Oracle, truth: PtychoEstimate) -> dict[str, Any]:
    write_result(path, _made(oracle, truth))
    return {}


def _product(path: Path, oracle: Oracle, truth: PtychoEstimate) -> dict[str, Any]:
    export(_made(oracle, truth), path, format="ptychodus")
    return {}


def write_ptyr(path: Path, oracle: Oracle, truth: PtychoEstimate, views: int = 1) -> None:
    """As ptypy's save_run keeps object and probe; the origin of an object lies where its first pixel is."""
    pixel, half = np.asarray(oracle.scan.object_pixel_m), np.asarray(oracle.probe.shape) // 2
    origin = oracle.positions_m[0] - half * pixel
    with h5py.File(path, "w") as file:
        for kind, data, first in (("probe", truth.probe, -half * pixel), ("obj", truth.object, origin)):
            storage = file.create_group(f"content/{kind}/SMFG00")
            storage["data"], storage["_psize"], storage["_origin"] = data.numpy(), pixel, first
            storage["_energy"], storage["fill_value"] = 8.0, 0.0
        file["content/positions/SMFG00"] = np.repeat(oracle.positions_m, views, axis=0)
        file["header/kind"] = "minimal"


def write_ptyrad(path: Path, truth: PtychoEstimate, modes: int = 1) -> None:
    """As release 1.0.0 keeps a model: whole pixels and shifts apart."""
    corners = truth.positions_px.numpy()
    with h5py.File(path, "w") as file:
        found, known = file.create_group("optimizable_tensors"), file.create_group("model_attributes")
        found["obja"] = np.repeat(truth.object.abs().numpy()[None], modes, axis=0)
        found["objp"] = np.repeat(truth.object.angle().numpy()[None], modes, axis=0)
        found["probe"], found["slice_thickness"] = truth.probe.numpy(), np.float32(1.0)
        found["probe_pos_shifts"] = np.full(corners.shape, 0.25, dtype=np.float32)
        known["crop_pos"], known["dx"] = (corners - 0.25).astype(np.float32), np.float32(0.1)
        file["ptyrad_version"] = b"1.0.0"


def write_cdtools(path: Path, oracle: Oracle, truth: PtychoEstimate, *, simple: bool = False) -> None:
    """As `save_to_h5` of release 0.3.2: rows run along -y, columns along -x, translations (x, y, z) of the probe."""
    pixel_y, pixel_x = oracle.scan.object_pixel_m
    basis = np.array([[0, -pixel_x], [-pixel_y, 0], [0, 0]], dtype=np.float32)
    with h5py.File(path, "w") as file:
        file["cdtools_version"], file["model_class"] = "0.3.2", "SimplePtycho" if simple else "FancyPtycho"
        file["probe"], file["obj"] = truth.probe.numpy(), truth.object[0].numpy()
        file["probe_basis"], file["state_dict/min_translation"] = basis, np.float32([-3.0, 5.0])
        if not simple:
            y, x = oracle.positions_m.T
            file["translations"], file["obj_basis"] = np.column_stack((-x, -y, 0 * x)), basis
            file["oversampling"], file["state_dict/exponentiate_obj"] = 1, False
            first = (oracle.positions_m / np.asarray([pixel_y, pixel_x]))[0]
            file["state_dict/min_translation"][...] = first


def write_ptychi_result(path: Path, truth: PtychoEstimate) -> None:
    """Arrays of a pty-chi task: positions from the middle of an object of even size."""
    first = np.round(np.array(truth.object.shape[1:]) / 2) - 0.5 - (np.array(truth.probe.shape[1:]) - 1) / 2
    y, x = (truth.positions_px.numpy() - first).T
    arrays = {"object": truth.object.numpy(), "probe": truth.probe.numpy()[None]}
    with path.open("wb") as file:
        np.savez(file, **arrays, probe_position_y_px=y, probe_position_x_px=x)


def write_tike(path: Path, oracle: Oracle, truth: PtychoEstimate, *, shifted: bool = True) -> None:
    """As tike's own example data: one rotation, the beam in the corner of the frames; and an object, as results have."""
    frames = oracle.patterns.astype(np.float32)
    with path.open("wb") as file:
        np.savez(
            file,
            data=(np.fft.ifftshift(frames, axes=(1, 2)) if shifted else frames)[None],
            scan=truth.positions_px.numpy().astype(np.float32)[None],
            probe=truth.probe.numpy()[None, None, None],
            psi=truth.object.numpy(),
        )


def _tike(path: Path, oracle: Oracle, truth: PtychoEstimate) -> dict[str, Any]:
    write_tike(path, oracle, truth)
    return dict(STATED)


def _ptyr(path: Path, oracle: Oracle, truth: PtychoEstimate) -> dict[str, Any]:
    write_ptyr(path, oracle, truth)
    return {}


def _ptyrad(path: Path, oracle: Oracle, truth: PtychoEstimate) -> dict[str, Any]:
    write_ptyrad(path, truth)
    return {}


def _cdtools(path: Path, oracle: Oracle, truth: PtychoEstimate) -> dict[str, Any]:
    write_cdtools(path, oracle, truth)
    return {}


def _ptychi_result(path: Path, oracle: Oracle, truth: PtychoEstimate) -> dict[str, Any]:
    write_ptychi_result(path, truth)
    return {}


def _made(oracle: Oracle, truth: PtychoEstimate) -> Result:
    return Result(
        estimate=truth,
        geometry=oracle.scan.geometry,
        object_pixel_m=oracle.scan.object_pixel_m,
        spec={"name": "rpie"},
        history=(0.5,),
    )


def _of_cube(write: Callable[[Path, np.ndarray], None]) -> Writer:
    """The frames as a raster of 3 x 4, the positions in a file beside."""

    def written(path: Path, oracle: Oracle, truth: PtychoEstimate) -> dict[str, Any]:
        write(path, oracle.patterns.reshape(3, 4, 16, 20).astype(np.uint16))
        return {**_with_table(path, oracle), **ELECTRONS}

    return written


def _blo(path: Path, cube: np.ndarray) -> None:
    write_blo(path, np.minimum(embedded(cube, 32), 255))


def _npy(path: Path, cube: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, cube)


def _edf(path: Path, oracle: Oracle, truth: PtychoEstimate) -> dict[str, Any]:
    write_edf(path, oracle.patterns)
    return {**_with_table(path, oracle), **STATED}


def _rocking(write: Callable[[Path], None], **stated: Any) -> Writer:
    """A rocking curve of its own, of which the oracle knows nothing."""

    def written(path: Path, oracle: Oracle, truth: PtychoEstimate) -> dict[str, Any]:
        write(path)
        return stated

    return written


EXAMPLES: dict[str, Writer] = {
    "empad": _of_cube(write_empad),
    "merlin": _of_cube(write_mib),
    "blo": _of_cube(_blo),
    "dm": _of_cube(write_dm4),
    "emd": _of_cube(write_emd),
    "abtem": _of_cube(write_abtem_zarr),
    "npy": _of_cube(_npy),
    "mat": _of_cube(write_mat5),
    "edf-cbf": _edf,
    "dectris": _dectris,
    "ptychodus-training": _training,
    "ptychi": _pair,
    "recipe": _recipe,
    "slac-npz": _slac,
    "tiff": _tiff,
    "result": _result,
    "ptychodus-product": _product,
    "ptyr": _ptyr,
    "ptyrad": _ptyrad,
    "cdtools": _cdtools,
    "ptychi-result": _ptychi_result,
    "tike-npz": _tike,
    "cohere": _rocking(write_cohere),
    "cdiutils": _rocking(write_cdiutils),
    "autophasenn-npz": _rocking(write_autophasenn, **STATED_ALL),
}
"""Formats that are not written by their own `write`: a new format of that kind needs a line here."""
