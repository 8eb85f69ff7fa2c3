"""Tensors, words and versions in exitwave's own HDF5 files; every value comes back bit for bit."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import torch
from torch import Tensor

from exitwave.data.errors import FormatError, InputError
from exitwave.data.estimate import Estimate, PtychoEstimate, SupportEstimate, estimate_kinds
from exitwave.io.hdf5.reading import attribute_text, is_hdf5, open_hdf5
from exitwave.io.memory import require_memory

_PLAIN = {
    torch.bool: np.bool_,
    torch.uint8: np.uint8,
    torch.int8: np.int8,
    torch.int16: np.int16,
    torch.int32: np.int32,
    torch.int64: np.int64,
    torch.float16: np.float16,
    torch.float32: np.float32,
    torch.float64: np.float64,
    torch.complex64: np.complex64,
    torch.complex128: np.complex128,
}
"""Types that HDF5 and torch both have; others, such as bfloat16, are stored as their bytes."""


def group_at(parent: h5py.Group, name: str) -> h5py.Group:
    """The group under `name`. Raises FormatError when it is not there."""
    found = parent.get(name)
    if not isinstance(found, h5py.Group):
        raise FormatError(f"{parent.file.filename} lacks {parent.name}/{name}; it is damaged or was edited")
    return found


def attribute_number(item: h5py.Group, name: str) -> float | None:
    """A number in an attribute; None when it is not there."""
    values = np.asarray(item.attrs.get(name, ()))
    return float(values.ravel()[0]) if values.size == 1 and values.dtype.kind in "biuf" else None


def write_tensor(group: h5py.Group, name: str, tensor: Tensor) -> h5py.Dataset:
    """Store a tensor of any type and shape under `name`."""
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    if tensor.dtype in _PLAIN:
        # Checksums, so that a byte that went wrong on the way is told, not shown as an image.
        return group.create_dataset(name, data=tensor.numpy(), fletcher32=tensor.ndim > 0 and tensor.numel() > 0)
    stored = group.create_dataset(name, data=tensor.flatten().view(torch.uint8).numpy())
    stored.attrs["torch_dtype"] = str(tensor.dtype).removeprefix("torch.")
    stored.attrs["torch_shape"] = np.asarray(tensor.shape, dtype=np.int64)
    return stored


def read_tensor(group: h5py.Group, name: str) -> Tensor:
    """The tensor under `name`. Raises FormatError when it is not there or is no array of numbers."""
    stored = group.get(name)
    if not isinstance(stored, h5py.Dataset) or stored.shape is None:
        raise FormatError(f"{group.file.filename} lacks {group.name}/{name}; it is damaged or was edited")
    native = stored.dtype.newbyteorder("=")
    if native not in [np.dtype(known) for known in _PLAIN.values()]:
        raise FormatError(f"{group.file.filename}: {stored.name} is {stored.dtype}; expected numbers: it was edited")
    require_memory(stored.size * native.itemsize, f"{stored.name} in {group.file.filename} has shape {stored.shape}")
    array = np.empty(stored.shape, dtype=native)
    array[...] = stored[()]
    tensor = torch.from_numpy(array)
    word = attribute_text(stored, "torch_dtype")
    if word is None:
        return tensor
    dtype = next((d for d in (torch.bfloat16, torch.complex32) if str(d) == f"torch.{word}"), None)
    shape = np.asarray(stored.attrs.get("torch_shape", ()))
    if dtype is None or tensor.dtype != torch.uint8 or shape.dtype.kind not in "iu":
        raise FormatError(f"{group.file.filename} holds {stored.name} of type {word}, which this version does not know")
    if tensor.numel() != dtype.itemsize * math.prod(shape.tolist()):
        raise FormatError(f"{group.file.filename}: {stored.name} is too short or too long; it is damaged or was edited")
    return tensor.view(dtype).reshape(shape.tolist())


def read_floats(group: h5py.Group, name: str) -> tuple[float, ...]:
    """A list of real numbers, such as residuals. Raises FormatError when it is anything else."""
    values = read_tensor(group, name)
    if values.is_complex():
        raise FormatError(f"{group.file.filename}: {group.name}/{name} is complex; it was edited")
    return tuple(values.double().flatten().tolist())


def write_estimate(group: h5py.Group, estimate: Estimate) -> None:
    """Store all that an estimate holds, by name, and of which kind it is; what is there already is left."""
    group.attrs["kind"] = estimate.kind
    for name, value in estimate.tensors().items():
        if name not in group:
            write_tensor(group, name, value)


def read_estimate(group: h5py.Group) -> Estimate:
    """An estimate of any kind that `write_estimate` stored. Raises FormatError where it is not what it should be."""
    kind = kind_of(group)
    if kind is None:
        return estimate_of_0_1_0(group.file, {str(key): read_tensor(group, str(key)) for key in group})
    return checked_estimate(group.file, kind, tensors_of(group, kind))


def kind_of(group: h5py.Group) -> type[Estimate] | None:
    """The kind of the estimate in a group; None in files of 0.1.0. Raises FormatError for one that is not known here."""
    name, kinds = attribute_text(group, "kind"), estimate_kinds()
    if name is not None and name not in kinds:
        raise FormatError(
            f"{group.file.filename} holds an estimate of kind {name}, which is not installed here: import or install its package"
        )
    return None if name is None else kinds[name]


def tensors_of(group: h5py.Group, kind: type[Estimate]) -> dict[str, Tensor]:
    """The tensors of an estimate of this kind, by name. Raises FormatError where one is missing that it cannot be without."""
    return {
        value.name: read_tensor(group, value.name)
        for value in fields(kind)
        if value.name in group or value.default is MISSING
    }


def estimate_of_0_1_0(file: h5py.File, tensors: Mapping[str, Tensor]) -> Estimate:
    """The estimate in a file of 0.1.0, where an isolated object was one slice under an even probe."""
    if "support" not in tensors:
        return checked_estimate(file, PtychoEstimate, tensors)
    obj, probe, support = tensors.get("object"), tensors.get("probe"), tensors["support"]
    if obj is None or probe is None or obj.ndim != 3 or support.ndim != 3 or len(obj) != 1 or len(support) != 1:
        raise FormatError(f"{file.filename} lacks object, probe or support of one slice; it is damaged or was edited")
    photons = probe.abs().double().square().mean()
    return checked_estimate(file, SupportEstimate, {"object": obj[0], "support": support[0], "beam_photons": photons})


def checked_estimate(file: h5py.File, kind: type[Estimate], tensors: Mapping[str, Tensor]) -> Estimate:
    """An estimate from tensors by name. Raises FormatError when they are not what they should be."""
    try:
        made = kind(**tensors)  # pyright: ignore[reportArgumentType]
        fault = made.fault()
    except (InputError, TypeError, RuntimeError, IndexError) as error:
        raise FormatError(f"{file.filename} is damaged or was edited: {error}") from error
    if fault:
        raise FormatError(f"{file.filename} is damaged or was edited: {fault}; reconstruct again")
    return made


def write_json(group: h5py.Group, name: str, value: Mapping[str, Any]) -> None:
    """Store names and numbers as JSON text."""
    group.create_dataset(name, data=json_text(value))


def json_text(value: Mapping[str, Any]) -> str:
    """Names and numbers as JSON."""
    return json.dumps(value, default=_plain, ensure_ascii=False)


def read_json(group: h5py.Group, name: str) -> dict[str, Any]:
    """Names and numbers stored as JSON text; empty when they are not there."""
    stored = group.get(name)
    if not isinstance(stored, h5py.Dataset):
        return {}
    try:
        read = json.loads(str(stored.asstr()[()]))
    except (TypeError, ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise FormatError(f"{group.file.filename}: {group.name}/{name} does not hold names and values; it was edited")
    return cast("dict[str, Any]", read)


def stamp(file: h5py.File, kind: str, format_version: int) -> None:
    """Say in the root attributes which of our files this is and who wrote it."""
    file.attrs["creator"] = "exitwave"
    file.attrs["exitwave_version"] = version("exitwave")
    file.attrs["exitwave_file"] = kind
    file.attrs["exitwave_format"] = format_version


def is_stamped(path: Path, kind: str) -> bool:
    """True for an exitwave file of this kind, of any version."""
    if not is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return attribute_text(file, "exitwave_file") == kind


def check_stamp(file: h5py.File, path: Path, kind: str, format_version: int) -> None:
    """Raise FormatError unless this is our file of `kind`, in a version that we understand."""
    found = attribute_text(file, "exitwave_file")
    if found != kind:
        what = f"an exitwave {found}" if found else "not a file that exitwave wrote"
        raise FormatError(f"{path} is {what}; expected an exitwave {kind}")
    number = attribute_number(file, "exitwave_format") or 0
    if number > format_version:
        writer = attribute_text(file, "exitwave_version") or "a newer version"
        raise FormatError(
            f"{path} is an exitwave {kind} in format {number:g}, written by exitwave {writer}; this is exitwave "
            f"{version('exitwave')}, which reads up to format {format_version}: update exitwave"
        )


def _plain(value: object) -> Any:
    """JSON for what provenance may hold besides plain values."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.ndarray | np.generic | Tensor):
        return value.tolist()
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    return str(value)
