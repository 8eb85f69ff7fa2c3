"""Trained networks in files: safetensors with what the network is and what it learned from. Nothing is ever unpickled."""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from exitwave.data.errors import ExitwaveError, FormatError
from exitwave.io.atomic import replacing
from exitwave.io.hdf5.values import json_text
from exitwave.io.memory import require_memory

WEIGHTS_FORMAT = 1
ENDING = ".safetensors"
IN_FOLDER = f"weights{ENDING}"
"""The weights in a folder that training filled."""
CHECKPOINT = f"training{ENDING}"
"""The state of an unfinished training in its folder; it goes when the training is finished."""
_MAGIC = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (such as Keras writes)"),
    (b"\x80", "a pickle, which can run programs when it is opened"),
    (b"\x1f\x8b", "a compressed file"),
)
Kind = Literal["weights", "training"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """A trained network: its tensors by name, the solver it belongs to, and what it was trained on."""

    tensors: Mapping[str, Tensor]
    spec: Mapping[str, Any]
    """The solver as plain names and numbers, as `to_spec` gives it."""
    record: Mapping[str, Any]
    """Scans, probe, photons per frame, frame size, seed, date, versions, final losses: whatever tells later whether a
    network fits a measurement."""


def write_weights(path: str | Path, weights: Weights) -> None:
    """Save a trained network. The file appears whole or not at all.

    Raises InputError where it cannot be written, ExitwaveError when the disk is full or a weight is not a number.
    """
    for name, tensor in weights.tensors.items():
        if not bool(tensor.isfinite().all()):
            raise ExitwaveError(
                f"{name} of the network holds values that are not finite: the training diverged; lower learning_rate"
            )
    _write(Path(path), weights, "weights")


def write_training(path: str | Path, state: Weights) -> None:
    """Save an unfinished training, bit for bit: its memory as tensors. Raises what `write_weights` raises."""
    _write(Path(path), state, "training")


def read_weights(path: str | Path) -> Weights:
    """Read a trained network from its file or from the folder of its training, onto the CPU.

    Raises FormatError for missing, foreign, damaged, edited or newer files, naming what was found.
    """
    return _read(find_weights(path), "weights")


def read_training(path: str | Path) -> Weights:
    """Read an unfinished training. Raises what `read_weights` raises."""
    return _read(Path(path), "training")


def read_spec(path: str | Path) -> dict[str, Any]:
    """The solver that the weights in a file or folder belong to, without reading the weights. Raises as `read_weights`."""
    found = find_weights(path)
    return _words(_header(found, "weights"), "spec", found)


def read_record(path: str | Path) -> dict[str, Any]:
    """What the weights in a file or folder were trained on, without reading the weights. Raises as `read_weights`."""
    found = find_weights(path)
    return _words(_header(found, "weights"), "record", found)


def find_weights(path: str | Path) -> Path:
    """The file of weights: itself, or the one in a folder of a training. Raises FormatError when there is none."""
    path = Path(path)
    if not path.is_dir():
        return path
    if not (path / IN_FOLDER).is_file():
        if (path / CHECKPOINT).is_file():
            raise FormatError(
                f"the folder {path} holds an unfinished training; go on with it: exitwave train ... --resume"
            )
        raise FormatError(
            f"the folder {path} holds no {IN_FOLDER}; give a folder that `exitwave train ... --save {path}` filled"
        )
    return path / IN_FOLDER


def is_weights(path: str | Path) -> bool:
    """True for a trained network of any version: its file, or the folder of its training."""
    with suppress(FormatError):
        return _metadata(find_weights(path)).get("exitwave") == "weights"
    return False


def _write(path: Path, weights: Weights, kind: Kind) -> None:
    # Clones, because safetensors takes neither views of one another nor tensors on other devices.
    tensors = {
        name: value.detach().cpu().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
        for name, value in weights.tensors.items()
    }
    told = {
        "exitwave": kind,
        "format": str(WEIGHTS_FORMAT),
        "version": version("exitwave"),
        "spec": json_text(weights.spec),
        "record": json_text(weights.record),
    }
    with replacing(path) as partial:
        mode = partial.stat().st_mode
        try:
            save_file(tensors, partial, metadata={**told, "digest": _digest(tensors, told)})
        except SafetensorError as error:
            # It keeps no error number; the only thing that fails here besides a fault of ours is the disk.
            raise ExitwaveError(f"could not write {path}: {error}; free space or write elsewhere") from error
        # It lets only the owner read the file.
        partial.chmod(mode)


def _read(path: Path, kind: Kind) -> Weights:
    told = _header(path, kind)
    require_memory(2 * path.stat().st_size, f"{path} holds {kind}")
    try:
        with safe_open(path, "pt") as file:
            # Clones, because the tensors of an open file change when somebody writes into that file.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError) as error:
        raise FormatError(f"{path} is damaged: {error}; copy it again or train again") from error
    digest = told.pop("digest", "")
    if digest != _digest(tensors, told):
        raise FormatError(f"{path} is damaged or was edited; copy it again or train again")
    return Weights(tensors=tensors, spec=_words(told, "spec", path), record=_words(told, "record", path))


def _header(path: Path, kind: Kind) -> dict[str, str]:
    """What a file says about itself, when it is ours, of this kind and of a version that we understand."""
    told = _metadata(path)
    found = told.get("exitwave")
    if found is None:
        raise FormatError(
            f"{path} is a safetensors file of another program; expected exitwave {kind}, as `exitwave train` writes them"
        )
    if found != kind:
        raise FormatError(f"{path} holds exitwave {found}; expected exitwave {kind}")
    number = told.get("format", "")
    if not number.isdecimal() or len(number) > 9:
        raise FormatError(f"{path} is damaged or was edited: its format is {number[:20]!r}; copy it again")
    if int(number) > WEIGHTS_FORMAT:
        raise FormatError(
            f"{path} holds exitwave {kind} in format {number}, written by exitwave {told.get('version', '')}; this is "
            f"exitwave {version('exitwave')}, which reads up to format {WEIGHTS_FORMAT}: update exitwave"
        )
    return told


def _metadata(path: Path) -> dict[str, str]:
    """The words in the header of a safetensors file. Raises FormatError for anything else."""
    if not path.exists():
        raise FormatError(f"{path} does not exist; give the file or folder that `exitwave train ... --save` wrote")
    if not path.is_file():
        raise FormatError(f"{path} is no file; give the file or folder that `exitwave train ... --save` wrote")
    if not os.access(path, os.R_OK):
        raise FormatError(f"no permission to read {path}; ask its owner or copy it")
    foreign = _foreign(path)
    if foreign:
        raise FormatError(
            f"{path} is {foreign}; it was not opened. exitwave reads only networks that `exitwave train` wrote: train one, "
            "or give its weights.safetensors"
        )
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError) as error:
        raise FormatError(
            f"{path} is no safetensors file, or it is damaged or cut short ({error}); copy it again or train again"
        ) from error


def _foreign(path: Path) -> str | None:
    """What a file of another program is, None for what may be safetensors."""
    with path.open("rb") as file:
        start = file.read(10)
    # A safetensors file begins with the length of its header, then "{".
    if start[8:9] == b"{":
        return None
    if not start:
        return "empty"
    if zipfile.is_zipfile(path):
        with suppress(zipfile.BadZipFile, OSError, ValueError, NotImplementedError), zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any(name.endswith("data.pkl") for name in names):
                return "a PyTorch file, which holds a pickle and can run programs when it is opened"
            if "config.json" in names:
                return "a Keras file"
        return "a ZIP archive"
    return next((words for magic, words in _MAGIC if start.startswith(magic)), None)


def _words(told: Mapping[str, str], name: str, path: Path) -> dict[str, Any]:
    try:
        read = json.loads(told.get(name, ""))
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise FormatError(f"{path} is damaged or was edited: its {name} does not hold names and values")
    return cast("dict[str, Any]", read)


def _digest(tensors: Mapping[str, Tensor], told: Mapping[str, str]) -> str:
    """A fingerprint of every tensor and word."""
    digest = hashlib.blake2b(json.dumps(dict(told), sort_keys=True).encode(), digest_size=32)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
