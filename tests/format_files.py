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
}
"""Formats that are not written by their own `write`: a new format of that kind needs a line here."""
