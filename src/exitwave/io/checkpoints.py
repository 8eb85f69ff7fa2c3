"""Checkpoints: the state of a run, to go on from exactly."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import h5py
import torch
from torch import Tensor

from exitwave.data.errors import FormatError
from exitwave.data.result import Checkpoint
from exitwave.io.hdf5.reading import attribute_text, find, open_hdf5
from exitwave.io.hdf5.values import (
    attribute_number,
    check_stamp,
    group_at,
    json_text,
    read_estimate,
    read_floats,
    read_json,
    read_tensor,
    stamp,
    write_estimate,
    write_json,
    write_tensor,
)
from exitwave.io.hdf5.writing import new_hdf5

CHECKPOINT_FORMAT = 2


def write_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Save the state of a run, bit for bit. A kill at any moment leaves the file before or the file after, whole."""
    with new_hdf5(Path(path)) as file:
        stamp(file, "checkpoint", CHECKPOINT_FORMAT)
        file.attrs["epoch"] = checkpoint.epoch
        write_estimate(file.create_group("estimate"), checkpoint.estimate)
        state = file.create_group("state")
        for number, (name, tensor) in enumerate(checkpoint.state.items()):
            # Numbered, because a name may hold a slash, which HDF5 takes for a group.
            write_tensor(state, str(number), tensor).attrs["name"] = name
        write_tensor(file, "history", torch.tensor(list(checkpoint.history), dtype=torch.float64))
        write_json(file, "spec", checkpoint.spec)
        write_json(file, "provenance", checkpoint.provenance)
        file.attrs["digest"] = _digest(checkpoint, checkpoint.estimate.tensors(), "state")


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a saved state. Raises FormatError for other, damaged, edited or newer files."""
    path = Path(path)
    with open_hdf5(path) as file:
        check_stamp(file, path, "checkpoint", CHECKPOINT_FORMAT)
        # What 0.1.0 called memory.
        old = (attribute_number(file, "exitwave_format") or 0) < 2
        state = group_at(file, "memory" if old else "state")
        named = {_name(state, str(key)): str(key) for key in state}
        tensors = {name: read_tensor(state, key) for name, key in named.items()}
        group = group_at(file, "estimate")
        found = Checkpoint(
            estimate=read_estimate(group),
            epoch=int(attribute_number(file, "epoch") or 0),
            history=read_floats(file, "history"),
            state=tensors,
            spec=read_json(file, "spec"),
            provenance=read_json(file, "provenance"),
        )
        stored = {str(key): read_tensor(group, str(key)) for key in group}
        if attribute_text(file, "digest") != _digest(found, stored, "memory" if old else "state"):
            raise FormatError(
                f"{path} is damaged or was edited, so that no exact resume is possible; remove it and start anew"
            )
        return found


def read_epoch(path: str | Path) -> int:
    """How many epochs the run had done that a file keeps. Raises FormatError where it is no checkpoint."""
    path = Path(path)
    with open_hdf5(path) as file:
        check_stamp(file, path, "checkpoint", CHECKPOINT_FORMAT)
        return int(attribute_number(file, "epoch") or 0)


def _name(state: h5py.Group, key: str) -> str:
    stored = find(state, key)
    return key if stored is None else attribute_text(stored, "name") or key


def _digest(checkpoint: Checkpoint, estimate: Mapping[str, Tensor], word: str) -> str:
    """A fingerprint of everything a resume depends on: nothing else in a solver's memory can be checked from outside."""
    # As read back from JSON, which knows neither tuples nor numbers for keys.
    told = [json.loads(json_text(words)) for words in (checkpoint.spec, checkpoint.provenance)]
    said = [int(checkpoint.epoch), [float(value) for value in checkpoint.history], *told]
    digest = hashlib.blake2b(json.dumps(said, sort_keys=True).encode())
    for name, tensor in sorted(
        {**estimate, **{f"{word}.{key}": value for key, value in checkpoint.state.items()}}.items()
    ):
        tensor = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
