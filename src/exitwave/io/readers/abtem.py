"""Diffraction patterns of abTEM: zarr, as a folder or one .zip file, and the HDF5 of its versions before 1.0.

https://abtem.github.io: axes (x, y, kx, ky), each with sampling and unit; zarr needs the extra `formats`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.errors import FormatError
from exitwave.data.geometry import electron_wavelength_m
from exitwave.io import npz_arrays
from exitwave.io.assemble import Contents, Format, ReadOptions
from exitwave.io.cubes import clear_errors, on_axes, with_detector_scale, x_before_y
from exitwave.io.hdf5.reading import Hdf5Patterns, array, dataset, holds, open_hdf5
from exitwave.io.memory import require_memory
from exitwave.io.units import LENGTHS_M

Calibration = tuple[float, str]
"""Sampling and unit of one axis."""
ARRAY = "array0"


@dataclass(frozen=True, eq=False)
class ZarrPatterns:
    """Frames of a zarr array (x, y, kx, ky); of its chunks along x the last one that was read is kept."""

    path: Path
    shape: tuple[int, int, int] = field(init=False)
    raster: tuple[int, int] = field(init=False)
    _chunk: int = field(init=False, repr=False)
    _kept: dict[int, np.ndarray] = field(default_factory=dict[int, np.ndarray], init=False, repr=False)

    def __post_init__(self) -> None:
        stored = self._array()
        if stored.ndim != 4 or stored.dtype.kind not in "biuf" or 0 in stored.shape:
            raise FormatError(
                f"{self.path} holds an array {stored.shape} of {stored.dtype}; expected diffraction patterns over a raster "
                "(x, y, kx, ky): sum over frozen phonons and choose one thickness first"
            )
        object.__setattr__(self, "raster", stored.shape[:2])
        object.__setattr__(self, "shape", (stored.shape[0] * stored.shape[1], *stored.shape[2:]))
        object.__setattr__(self, "_chunk", stored.chunks[0])
        block = stored.chunks[0] * stored.shape[1] * stored.shape[2] * stored.shape[3] * stored.dtype.itemsize
        require_memory(2 * block, f"{self.path} is stored in chunks of {stored.chunks}, which are read whole")

    @property
    def in_memory(self) -> bool:
        return False

    def read(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
        first, second = np.divmod(index.numpy(), self.raster[1])
        frames = np.empty((len(index), *self.shape[1:]), dtype=np.float32)
        for chunk in np.unique(first // self._chunk).tolist():
            here = np.flatnonzero(first // self._chunk == chunk)
            frames[here] = self._block(chunk)[first[here] - chunk * self._chunk, second[here]]
        return torch.from_numpy(frames)

    def _block(self, chunk: int) -> np.ndarray:
        if chunk not in self._kept:
            with clear_errors(self.path, "zarr store"):
                block = np.asarray(self._array()[chunk * self._chunk : (chunk + 1) * self._chunk])
            self._kept.clear()
            self._kept[chunk] = block
        return self._kept[chunk]

    def _array(self) -> Any:
        return _zarr_group(self.path)[ARRAY]


def read(path: Path, stated: ReadOptions) -> Contents:
    """Frames, raster, steps, voltage and detector scale. Raises FormatError where zarr is not installed."""
    if holds(path, "array"):
        return on_axes(_of_hdf5(path, stated), stated, path)
    with clear_errors(path, "zarr store of abTEM"):
        said = _untagged(dict(_zarr_group(path).attrs).get("metadata0"))
        if not isinstance(said, dict) or not isinstance(said.get("axes"), dict):
            raise FormatError(
                f"{path} is a zarr store but not of abTEM 1.0.10 or later, which alone is understood; save the array with "
                "numpy.save('cube.npy', array) and read that"
            )
        listed = [said["axes"][f"axis_{number}"] for number in range(len(said["axes"]))]
        axes = [(float(axis.get("sampling") or 0.0), str(axis.get("units") or "")) for axis in listed]
    patterns = ZarrPatterns(path)
    energy = said.get("energy")
    contents = Contents(
        patterns=x_before_y(patterns, *patterns.raster),
        scan_shape=(patterns.raster[1], patterns.raster[0]),
        wavelength_m=electron_wavelength_m(float(energy)) if energy else None,
        particle="electron",
    )
    return on_axes(_calibrated(contents, axes, stated, path), stated, path)


def _of_hdf5(path: Path, stated: ReadOptions) -> Contents:
    patterns = Hdf5Patterns(path, ("array",), "row column y x")
    with open_hdf5(path) as file:
        samplings, units = array(file, "sampling"), array(file, "units")
        stored = dataset(file, "array")
        first, second = (0, 0) if stored is None else stored.shape[:2]
    contents = Contents(patterns=x_before_y(patterns, first, second), scan_shape=(second, first), particle="electron")
    if samplings is None or units is None or samplings.dtype.kind not in "iuf" or units.dtype.kind not in "SO":
        return contents
    words = [word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word) for word in units.ravel()]
    axes = list(zip(samplings.ravel().astype(float).tolist(), words, strict=False))
    return _calibrated(contents, axes, stated, path)


def _calibrated(contents: Contents, axes: Sequence[Calibration], stated: ReadOptions, path: Path) -> Contents:
    """With the steps and the detector scale of the axes x, y, kx, ky."""
    if len(axes) != 4:
        return contents
    step_x, step_y = (scale * LENGTHS_M.get(unit, 0.0) for scale, unit in axes[:2])
    if step_x > 0 and step_y > 0:
        contents = replace(contents, scan_step_m=(step_y, step_x))
    return with_detector_scale(contents, (axes[3][0], axes[2][0]), axes[2][1], stated, path)


def _zarr_group(path: Path) -> Any:
    try:
        import zarr
        from zarr.storage import ZipStore
    except ImportError as error:
        raise FormatError(
            f"{path} is a zarr store; install the library that reads it: pip install 'exitwave[formats]'"
        ) from error
    store = str(path) if path.is_dir() else ZipStore(path, mode="r")
    return zarr.open_group(store, mode="r")


def _untagged(value: Any) -> Any:
    """Tuples are stored as {"_type": "tuple", "_value": [...]}."""
    if isinstance(value, dict):
        return _untagged(value["_value"]) if "_value" in value else {key: _untagged(v) for key, v in value.items()}
    return [_untagged(v) for v in value] if isinstance(value, list) else value


def _recognises(path: Path) -> bool:
    """A zarr group with a first array, of any version; or HDF5 with an array and the samplings of its axes."""
    if path.is_dir():
        return (path / ARRAY).is_dir() and any((path / name).is_file() for name in ("zarr.json", ".zgroup"))
    if names := npz_arrays.contents(path):
        return any(name in ("zarr.json", ".zgroup") for name in names) and any(n.startswith(ARRAY) for n in names)
    return holds(path, "array", "sampling", "units")


FORMAT = Format(name="abtem", title="abTEM diffraction patterns", recognises=_recognises, read=read)
