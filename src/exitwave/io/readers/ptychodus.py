"""ptychodus products (HDF5 and NPZ): object, probe and positions with their metadata, under old and new names.

https://github.com/AdvancedPhotonSource/ptychodus, release 1.7. The "para" file of pty-chi and fold_slice is one too.
"""

from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from jaxtyping import Complex, Float, Int

from exitwave.data.errors import FormatError, InputError
from exitwave.data.estimate import Estimate, PtychoEstimate, SupportEstimate
from exitwave.data.geometry import PLANCK_EV_M, photon_wavelength_m
from exitwave.data.result import Result
from exitwave.io import npz_arrays
from exitwave.io.assemble import Format
from exitwave.io.hdf5.reading import find, is_hdf5, open_hdf5
from exitwave.io.hdf5.writing import new_hdf5

POSITIONS = ("probe_position_x_m", "probe_position_y_m")


@dataclass(frozen=True, kw_only=True, eq=False)
class Product:
    """What a product says, in our axes and units; None where it is silent."""

    positions_m: Float[np.ndarray, "frame 2"]
    """(y, x) of the probe."""
    indexes: Int[np.ndarray, " frame"] | None = None
    """Which diffraction pattern belongs to each position."""
    wavelength_m: float | None = None
    distance_m: float | None = None
    focus_distance_m: float | None = None
    """Only for products that are not far field."""
    probe: Complex[np.ndarray, "mode y x"] | None = None
    object: Complex[np.ndarray, "slice y x"] | None = None
    object_pixel_m: tuple[float, float] | None = None
    object_centre_m: tuple[float, float] = (0.0, 0.0)
    """Where the middle of the object array lies among the positions."""


def holds_positions(path: Path) -> bool:
    """True for any ptychodus or pty-chi file, HDF5 or NPZ, with positions in metres (fold_slice: ppX, ppY)."""
    names = _names(path)
    return names.issuperset(POSITIONS) or names.issuperset(("ppX", "ppY"))


def read_product(path: Path) -> Product:
    """Read a product or a para file. Raises FormatError where positions are missing or of unequal number."""
    values = _values(path)
    axes = [values.get(new, values.get(old)) for new, old in zip(reversed(POSITIONS), ("ppY", "ppX"), strict=True)]
    if axes[0] is None or axes[1] is None:
        raise FormatError(f"{path} holds no {' and '.join(POSITIONS)}; expected a ptychodus product or para file")
    y, x = (np.asarray(axis, dtype=np.float64).ravel() for axis in axes)
    if len(y) != len(x):
        raise FormatError(f"{path} holds {len(x)} x but {len(y)} y positions; it is damaged")
    energy = _number(values, "photon_energy_eV", "probe_energy_eV")
    indexes = values.get("probe_position_indexes")
    return Product(
        positions_m=np.column_stack((y, x)),
        indexes=None if indexes is None else np.asarray(indexes, dtype=np.int64).ravel(),
        wavelength_m=photon_wavelength_m(energy) if energy else None,
        distance_m=_number(values, "detector_object_distance_m") or None,
        focus_distance_m=_focus(values),
        probe=stack(values.get("probe")),
        object=stack(values.get("object")),
        object_pixel_m=_pair(values, "object_pixel_{}_m", "height", "width"),
        object_centre_m=_pair(values, "object_center_{}_m", "y", "x") or (0.0, 0.0),
    )


def read_estimate(path: Path) -> PtychoEstimate:
    """Object, probe and positions of a product. Raises FormatError where one of them is missing."""
    product = read_product(path)
    if product.object is None or product.probe is None or product.object_pixel_m is None:
        raise FormatError(
            f"{path} lacks object, probe or object pixel size; expected a reconstructed ptychodus product"
        )
    spare = np.asarray(product.object.shape[1:]) - np.asarray(product.probe.shape[1:])
    # The middle of the array is its geometric middle here, not pixel n // 2: they differ where one size is odd.
    steps = (product.positions_m - product.object_centre_m) / product.object_pixel_m
    return PtychoEstimate(
        object=torch.from_numpy(product.object),
        probe=torch.from_numpy(product.probe),
        positions_px=torch.from_numpy(steps + spare / 2),
    )


def read_probe(path: Path) -> torch.Tensor:
    """The probe of a product, (mode, y, x); the first of its orthogonal relaxation modes."""
    product = read_product(path)
    if product.probe is None:
        raise FormatError(f"{path} holds no probe; give a ptychodus product with one")
    return torch.from_numpy(product.probe)


def write_product(path: Path, result: Result) -> None:
    """Write a result as a ptychodus product under the names of release 1.7, HDF5."""
    values = product_values(result)
    with new_hdf5(path) as file:
        for name, value in values.items():
            owner, _, attribute = name.partition("_")
            if np.ndim(value):
                file[name] = value
            elif owner in ("object", "probe") and attribute.startswith(("pixel", "center")):
                # Stands behind its array in the order of `product_values`.
                file[owner].attrs[attribute] = value
            else:
                file.attrs[name] = value


@singledispatch
def seen_as_scan(estimate: Estimate) -> PtychoEstimate:
    """An estimate as object, probe and positions, which is what a product holds. Raises InputError where it is no such thing."""
    raise InputError(f"a product holds object, probe and positions of a scan; this is an estimate of {estimate.kind}")


@seen_as_scan.register
def _(estimate: PtychoEstimate) -> PtychoEstimate:
    return estimate


@seen_as_scan.register
def _(estimate: SupportEstimate) -> PtychoEstimate:
    """One frame under an even probe."""
    obj = estimate.plane()[None]
    probe = torch.ones_like(obj) * estimate.beam_photons.cpu().sqrt()
    return PtychoEstimate(object=obj, probe=probe, positions_px=torch.zeros(1, 2, dtype=torch.float64))


def product_values(result: Result) -> dict[str, Any]:
    """A result under the names of the NPZ variant of a product."""
    estimate, geometry, pixel_m = seen_as_scan(result.estimate), result.geometry, result.object_pixel_m
    obj, probe = estimate.object.cpu().numpy(), estimate.probe.cpu().numpy()
    spare = np.asarray(obj.shape[1:]) - np.asarray(probe.shape[1:])
    positions = (estimate.positions_px.cpu().numpy() - spare / 2) * np.asarray(pixel_m)
    return {
        "name": str(result.spec.get("name", "exitwave")),
        "comments": "written by exitwave",
        "detector_object_distance_m": geometry.distance_m,
        "focus_object_distance_m": geometry.focus_distance_m or 0.0,
        "far_field": not geometry.near_field,
        # For electrons too: the program takes the wavelength from it.
        "photon_energy_eV": PLANCK_EV_M / geometry.wavelength_m,
        "probe_photon_count": float((np.abs(probe) ** 2).sum()),
        "exposure_time_s": 0.0,
        "mass_attenuation_m2_per_kg": 0.0,
        "tomography_angle_deg": 0.0,
        "tilt_angle_deg": 0.0,
        "probe_position_indexes": np.arange(len(positions)),
        "probe_position_y_m": positions[:, 0],
        "probe_position_x_m": positions[:, 1],
        "probe": probe[None],
        "probe_pixel_height_m": pixel_m[0],
        "probe_pixel_width_m": pixel_m[1],
        "object": obj,
        "object_pixel_height_m": pixel_m[0],
        "object_pixel_width_m": pixel_m[1],
        "object_center_y_m": 0.0,
        "object_center_x_m": 0.0,
        "object_layer_spacing_m": np.zeros(len(obj) - 1),
        "loss_epochs": np.arange(1, len(result.history) + 1),
        "loss_values": np.asarray(result.history, dtype=np.float64),
    }


def _names(path: Path) -> frozenset[str]:
    if is_hdf5(path):
        with open_hdf5(path) as file:
            return frozenset(file)
    return npz_arrays.members(path)


def _values(path: Path) -> dict[str, Any]:
    """Everything small in the file, under the names of the NPZ variant: an attribute of `object` is `object_...`."""
    wanted = (*POSITIONS, "ppX", "ppY", "probe_position_indexes", "probe", "object")
    if not is_hdf5(path):
        names = (name for name in npz_arrays.members(path) if npz_arrays.header(path, name)[0] == () or name in wanted)
        return {name: npz_arrays.load(path, name) for name in names}
    with open_hdf5(path) as file:
        values: dict[str, Any] = dict(file.attrs)
        for name in wanted:
            item = find(file, name)
            if isinstance(item, h5py.Dataset):
                values[name] = item[()]
                values.update({f"{name}_{key}": value for key, value in item.attrs.items()})
        for name in ("object_pixel_height_m", "object_pixel_width_m", "photon_energy_eV", "probe_energy_eV"):
            item = find(file, name)
            if isinstance(item, h5py.Dataset):
                values[name] = item[()]
        return values


def _number(values: dict[str, Any], *names: str) -> float | None:
    for name in names:
        if name in values and np.size(values[name]) == 1:
            return float(np.asarray(values[name]).ravel()[0])
    return None


def _pair(values: dict[str, Any], name: str, first: str, second: str) -> tuple[float, float] | None:
    y, x = _number(values, name.format(first)), _number(values, name.format(second))
    return None if y is None or x is None else (y, x)


def _focus(values: dict[str, Any]) -> float | None:
    if _number(values, "far_field") != 0:
        return None
    # Only the distance counts; its sign says on which side of the focus the sample stands.
    return abs(_number(values, "focus_object_distance_m") or np.inf)


def stack(array: np.ndarray | None) -> np.ndarray | None:
    """(mode or slice, y, x) complex; from (opr, mode, y, x) the first orthogonal relaxation mode."""
    if array is None or not 2 <= np.ndim(array) <= 4:
        return None
    modes: np.ndarray = array[0] if array.ndim == 4 else array[None] if array.ndim == 2 else array
    return np.ascontiguousarray(modes, dtype=np.complex128 if modes.dtype == np.complex128 else np.complex64)


def _recognises(path: Path) -> bool:
    names = _names(path)
    return names.issuperset((*POSITIONS, "probe", "object")) and "patterns" not in names


FORMAT = Format(
    name="ptychodus-product",
    title="ptychodus product",
    recognises=_recognises,
    read_estimate=read_estimate,
    read_probe=read_probe,
)
