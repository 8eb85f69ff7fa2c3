"""Diffraction patterns as ptychodus, pty-chi and fold_slice keep them; the positions may stand in a second file."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import torch

from exitwave.data.errors import FormatError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.geometry import PLANCK_EV_M, photon_wavelength_m
from exitwave.data.patterns import Patterns, SelectedPatterns
from exitwave.data.scan import Scan
from exitwave.io import npz_arrays
from exitwave.io.assemble import Contents, Format, ReadOptions
from exitwave.io.hdf5.reading import Hdf5Patterns, array, dataset, find, holds, is_hdf5, number, open_hdf5
from exitwave.io.hdf5.writing import new_hdf5
from exitwave.io.positions import with_stated_positions
from exitwave.io.readers import ptychodus
from exitwave.io.readers.ptychodus import Product, holds_positions, read_product


def read_diffraction(path: Path, stated: ReadOptions) -> Contents:
    """A ptychodus diffraction file, HDF5 or NPZ; positions from itself or from the product that is stated."""
    if is_hdf5(path):
        patterns: Patterns = Hdf5Patterns(path, ("patterns",))
        with open_hdf5(path) as file:
            indexes, bad, pixel_m = array(file, "indexes"), array(file, "bad_pixels"), _detector_pixel_m(file)
    else:
        patterns = npz_arrays.frames(path, "patterns")
        indexes, bad, pixel_m = npz_arrays.load(path, "indexes"), npz_arrays.load(path, "bad_pixels"), None
    contents = Contents(patterns=patterns, detector_pixel_m=pixel_m, mask=None if bad is None else np.asarray(bad) == 0)
    return _with_positions(contents, indexes, path if holds_positions(path) else None, stated)


def read_pair(path: Path, stated: ReadOptions) -> Contents:
    """A `dp` file of pty-chi or fold_slice with its `para` file: the one stated, or the one beside it by name."""
    contents = Contents(patterns=Hdf5Patterns(path, ("dp",)))
    return _with_positions(contents, None, path if holds_positions(path) else _beside(path), stated)


def read_training(path: Path, stated: ReadOptions) -> Contents:
    """A ptychodus training file: patterns with positions in pixels."""
    with open_hdf5(path) as file:
        bad, positions = array(file, "bad_pixels"), _positions_px(file, path)
        energy = _number(file, "photon_energy_eV", "probe_energy_eV")
        distance = _number(file, "detector_object_distance_m")
        height, width = _number(file, "object_pixel_height_m"), _number(file, "object_pixel_width_m")
    contents = Contents(
        patterns=Hdf5Patterns(path, ("patterns",)),
        positions=positions,
        position_unit="px",
        mask=None if bad is None else np.asarray(bad) == 0,
        wavelength_m=photon_wavelength_m(energy) if energy else None,
        distance_m=distance,
        object_pixel_m=(height, width) if height and width else None,
    )
    return with_stated_positions(contents, stated)


def read_training_estimate(path: Path) -> PtychoEstimate:
    """Object and probe of a training file; its positions count from the middle of the object."""
    with open_hdf5(path) as file:
        obj, probe = ptychodus.stack(array(file, "object")), ptychodus.stack(array(file, "probe"))
        positions = _positions_px(file, path)
    if obj is None or probe is None:
        raise FormatError(f"{path} lacks an object or a probe; expected both in a training file")
    spare = np.asarray(obj.shape[1:]) - np.asarray(probe.shape[1:])
    return PtychoEstimate(
        object=torch.from_numpy(obj),
        probe=torch.from_numpy(probe),
        positions_px=torch.from_numpy(positions + spare / 2),
    )


def write_diffraction(path: Path, scan: Scan) -> None:
    """Write a scan as a ptychodus diffraction file, with the positions and attributes of a product beside the patterns."""
    with new_hdf5(path) as file:
        frames = file.create_dataset(
            "patterns", (len(scan), *scan.frame_shape), np.float32, chunks=(1, *scan.frame_shape)
        )
        for number_ in range(len(scan)):
            frames[number_] = scan.frames(torch.tensor([number_]))[0].cpu().numpy()
        pixel_y, pixel_x = scan.geometry.detector_pixel_m
        frames.attrs.update({"detector_pixel_height_m": pixel_y, "detector_pixel_width_m": pixel_x})
        file["indexes"] = np.arange(len(scan))
        file["bad_pixels"] = ~scan.mask.cpu().numpy()
        file["probe_position_indexes"] = np.arange(len(scan))
        file["probe_position_y_m"], file["probe_position_x_m"] = scan.positions_m.numpy().T
        file.attrs.update(
            {
                "photon_energy_eV": PLANCK_EV_M / scan.geometry.wavelength_m,
                "detector_object_distance_m": scan.geometry.distance_m,
                "focus_object_distance_m": scan.geometry.focus_distance_m or 0.0,
                "far_field": not scan.geometry.near_field,
            }
        )


def _beside(path: Path) -> Path | None:
    """`scan_dp.hdf5` -> `scan_para.hdf5` in the same folder, if it is there."""
    para = path.with_name(path.name.replace("_dp.", "_para."))
    return para if para != path and para.is_file() else None


def _with_positions(
    contents: Contents, indexes: np.ndarray | None, found: Path | None, stated: ReadOptions
) -> Contents:
    """Add what a product says, stated or `found`; a stated file of another kind gives positions only."""
    if stated.positions is not None and not holds_positions(stated.positions):
        return with_stated_positions(contents, stated)
    where = stated.positions or found
    if where is None:
        return contents
    product = read_product(where)
    patterns, positions = _matched(contents.patterns, indexes, product, where)
    pixel_m = contents.detector_pixel_m
    if pixel_m is None and product.focus_distance_m and product.distance_m and product.object_pixel_m:
        magnification = 1 + product.distance_m / product.focus_distance_m
        pixel_m = (product.object_pixel_m[0] * magnification, product.object_pixel_m[1] * magnification)
    return replace(
        contents,
        patterns=patterns,
        positions=positions,
        wavelength_m=product.wavelength_m,
        distance_m=product.distance_m,
        focus_distance_m=product.focus_distance_m,
        detector_pixel_m=pixel_m,
        object_pixel_m=product.object_pixel_m,
        notes={"positions_file": str(where)},
    )


def _matched(
    patterns: Patterns | None, indexes: np.ndarray | None, product: Product, where: Path
) -> tuple[Patterns | None, np.ndarray]:
    """Patterns and positions that share an index, in the order of the patterns; all of them where nothing is numbered."""
    if patterns is None or product.indexes is None or len(product.indexes) != len(product.positions_m):
        return patterns, product.positions_m
    numbers = np.arange(patterns.shape[0]) if indexes is None else np.asarray(indexes).ravel()
    if len(numbers) != patterns.shape[0]:
        raise FormatError(f"{len(numbers)} indexes number {patterns.shape[0]} patterns; the file is damaged")
    places = {int(index): place for place, index in enumerate(product.indexes)}
    kept = [place for place, index in enumerate(numbers) if int(index) in places]
    if not kept:
        raise FormatError(f"no position in {where} belongs to any of the patterns; is it the file of another scan?")
    positions = product.positions_m[[places[int(numbers[place])] for place in kept]]
    whole = len(kept) == patterns.shape[0]
    return patterns if whole else SelectedPatterns(patterns, torch.tensor(kept)), positions


def _detector_pixel_m(file: h5py.File) -> tuple[float, float] | None:
    """Attributes of the patterns in release 1.7; datasets or attributes of the file are taken too."""
    height, width = _number(file, "detector_pixel_height_m"), _number(file, "detector_pixel_width_m")
    return (height, width) if height and width else None


def _number(file: h5py.File, *names: str) -> float | None:
    """A number that is a dataset, an attribute of the file or one of the patterns."""
    stored = dataset(file, "patterns")
    for name in names:
        for value in (number(file, name), file.attrs.get(name), None if stored is None else stored.attrs.get(name)):
            if value is not None and np.size(value) == 1:
                return float(np.asarray(value, dtype=np.float64).ravel()[0])
    return None


def _positions_px(file: h5py.File, path: Path) -> np.ndarray:
    y, x = array(file, "probe_position_y_px"), array(file, "probe_position_x_px")
    if y is None or x is None or len(y) != len(x):
        raise FormatError(f"{path} needs probe_position_y_px and probe_position_x_px of equal number")
    return np.column_stack((y, x)).astype(np.float64)


def _is_diffraction(path: Path) -> bool:
    if is_hdf5(path):
        return holds(path, "patterns") and (holds(path, "bad_pixels") or holds(path, "indexes"))
    names = npz_arrays.members(path)
    return names.issuperset(("patterns", "indexes"))


def _is_pair(path: Path) -> bool:
    if not holds(path, "dp"):
        return False
    with open_hdf5(path) as file:
        stored = find(file, "dp")
        return isinstance(stored, h5py.Dataset) and stored.ndim == 3


TRAINING = Format(
    name="ptychodus-training",
    title="ptychodus training file",
    recognises=lambda path: holds(path, "patterns", "probe_position_x_px", "probe_position_y_px"),
    read=read_training,
    read_estimate=read_training_estimate,
)
FORMAT = Format(
    name="ptychodus",
    title="ptychodus diffraction file",
    recognises=_is_diffraction,
    read=read_diffraction,
    write=write_diffraction,
)
PAIR = Format(name="ptychi", title="pty-chi / fold_slice dp file", recognises=_is_pair, read=read_pair)
