"""ptypy data files (.ptyd): frames in chunks, perhaps in files of their own, with one position each.

Written by ptypy's PtyScan (https://ptycho.github.io/ptypy, BSD licence): energy in keV, lengths in metres, positions (y, x)
of the probe on the sample, weights 0 = masked.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.errors import FormatError
from exitwave.data.geometry import photon_wavelength_m
from exitwave.data.patterns import Patterns, SelectedPatterns
from exitwave.data.scan import Scan
from exitwave.io.assemble import Contents, Format, ReadOptions
from exitwave.io.hdf5.reading import Hdf5Patterns, array, dataset, find, is_hdf5, number, numbers, open_hdf5, text
from exitwave.io.hdf5.writing import new_hdf5
from exitwave.io.positions import with_stated_positions

FRAMES_PER_CHUNK = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class _Chunk:
    frames: str
    """Path of the dataset in the file."""
    indices: np.ndarray
    positions: np.ndarray
    weights: np.ndarray | None


def read(path: Path, stated: ReadOptions) -> Contents:
    """A .ptyd file. Frames are ordered by their index; those that lack a position are left out, as ptypy does."""
    with open_hdf5(path) as file:
        chunks = [_chunk(file, path, name) for name in sorted(_chunk_names(file), key=int)]
        centre = numbers(file, "meta/center")
        weights = [numbers(file, "meta/weight2d", "common/weight2d"), *(chunk.weights for chunk in chunks)]
        energy_kev, distance = number(file, "meta/energy"), number(file, "meta/distance")
        pixel = numbers(file, "meta/psize")
        near = text(file, "meta/propagation", "info/propagation") == "nearfield"
        focus = number(file, "meta/focus_distance") or math.inf
    if not chunks:
        raise FormatError(f"{path} holds no chunks of frames; expected /chunks/0/data and so on")
    patterns: Patterns = Hdf5Patterns(path, tuple(chunk.frames for chunk in chunks))
    indices = np.concatenate([chunk.indices for chunk in chunks])
    positions = np.concatenate([chunk.positions for chunk in chunks])
    if not len(indices) == len(positions) == patterns.shape[0]:
        raise FormatError(
            f"{path} holds {patterns.shape[0]} frames, {len(indices)} indices and {len(positions)} positions; they must agree"
        )
    order = np.argsort(indices, kind="stable")
    order = order[np.isfinite(positions[order]).all(axis=1)]
    if not np.array_equal(order, np.arange(patterns.shape[0])):
        patterns = SelectedPatterns(patterns, torch.from_numpy(order))
    if not len(order):
        raise FormatError(f"none of {len(positions)} positions in {path} is finite; expected one for each frame")
    if pixel is not None and pixel.size > 2:
        raise FormatError(f"meta/psize in {path} has shape {pixel.shape}; expected one pixel size or two (y, x)")
    size = None if pixel is None else np.broadcast_to(pixel.ravel(), 2)
    contents = Contents(
        patterns=patterns,
        positions=positions[order],
        wavelength_m=photon_wavelength_m(energy_kev * 1e3) if energy_kev else None,
        distance_m=distance,
        detector_pixel_m=None if size is None else (float(size[0]), float(size[1])),
        focus_distance_m=focus if near else None,
        mask=_mask(weights, patterns.shape[1:]),
        notes={} if centre is None else {"beam_centre": centre.ravel().tolist()},
    )
    return with_stated_positions(contents, stated)


def write(path: Path, scan: Scan) -> None:
    """Write a scan so that ptypy loads it with its `PtydScan`. Raises FormatError for electrons, which it has no word for."""
    geometry = scan.geometry
    if geometry.particle != "photon":
        raise FormatError("ptyd files know the photon energy only; write electron data as .cxi")
    with new_hdf5(path) as file:
        meta = file.create_group("meta")
        _put(meta, "version", "0.1")
        _put(meta, "label", "exitwave")
        _put(meta, "num_frames", len(scan))
        _put(meta, "shape", np.asarray(scan.frame_shape))
        _put(meta, "center", np.asarray(scan.frame_shape) // 2)
        _put(meta, "energy", geometry.energy_ev / 1e3)
        _put(meta, "distance", geometry.distance_m)
        _put(meta, "psize", np.asarray(geometry.detector_pixel_m))
        _put(meta, "propagation", "nearfield" if geometry.near_field else "farfield")
        if geometry.focus_distance_m is not None:
            _put(meta, "focus_distance", geometry.focus_distance_m)
        _put(meta, "weight2d", scan.mask.cpu().numpy().astype(np.float32))
        _put(file.create_group("info"), "origin", "exitwave")
        for place, index in enumerate(torch.arange(len(scan)).split(FRAMES_PER_CHUNK)):
            _write_chunk(file.create_group(f"chunks/{place}"), scan, index)


def _write_chunk(group: h5py.Group, scan: Scan, index: Int[Tensor, " batch"]) -> None:
    _put(group, "data", scan.frames(index).cpu().numpy())
    _put(group, "indices", index.numpy())
    _put(group, "positions", scan.positions_m[index].numpy())
    _put(group, "weights", np.zeros(0))


def _put(group: h5py.Group, name: str, value: np.ndarray | float | str) -> None:
    kind = "string" if isinstance(value, str) else "array" if isinstance(value, np.ndarray) else "scalar"
    group.create_dataset(name, data=value).attrs["type"] = kind


def _chunk_names(file: h5py.File) -> list[str]:
    group = find(file, "chunks")
    names = [str(name) for name in group] if isinstance(group, h5py.Group) else []
    return [name for name in names if name.isdigit()]


def _chunk(file: h5py.File, path: Path, name: str) -> _Chunk:
    here = f"chunks/{name}"
    link = file.get(here, getlink=True)
    if isinstance(link, h5py.ExternalLink) and find(file, here) is None:
        raise FormatError(f"{path} refers to {link.filename}, which is not there; copy it into the same folder")
    frames, stored = dataset(file, f"{here}/data"), dataset(file, f"{here}/positions")
    if frames is None or stored is None or not stored.size:
        raise FormatError(f"{path} lacks data or positions in /{here}; ptypy writes both once positions are known")
    positions, indices = numbers(file, f"{here}/positions"), array(file, f"{here}/indices")
    if positions is None or positions.size % 2 or frames.ndim != 3:
        raise FormatError(
            f"/{here} in {path} holds data {frames.shape} and positions {stored.shape}; expected (frame, y, x) and (frame, 2)"
        )
    if indices is not None and indices.dtype.kind not in "iu":
        raise FormatError(f"/{here}/indices in {path} are {indices.dtype}; expected frame numbers")
    first = frames.shape[0] * int(name)
    return _Chunk(
        frames=f"{here}/data",
        indices=np.arange(first, first + frames.shape[0]) if indices is None else indices.ravel(),
        positions=positions.reshape(-1, 2),
        weights=_weights(file, f"{here}/weights"),
    )


def _weights(file: h5py.File, name: str) -> Float[np.ndarray, "..."] | None:
    """Weights of the frames of a chunk; empty where ptypy keeps them for all chunks together."""
    stored = dataset(file, name)
    return numbers(file, name) if stored is not None and stored.size else None


def _mask(weights: list[Float[np.ndarray, "..."] | None], frame_shape: tuple[int, int]) -> np.ndarray | None:
    """Trusted where every weight, of all frames or of each, is positive."""
    known = [w for w in weights if w is not None and w.size and w.shape[-2:] == frame_shape]
    if not known:
        return None
    return np.logical_and.reduce([(w > 0).reshape(-1, *frame_shape).all(axis=0) for w in known])


def _recognises(path: Path) -> bool:
    if not is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return isinstance(find(file, "meta"), h5py.Group) and bool(_chunk_names(file))


FORMAT = Format(name="ptyd", title="ptypy .ptyd file", recognises=_recognises, read=read, write=write)
