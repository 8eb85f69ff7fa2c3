"""Checkpoints: the state of a run, to go on from exactly."""

import hashlib
import json
from dataclasses import fields
from pathlib import Path

import h5py
import torch

from exitwave.data.errors import FormatError
from exitwave.data.result import Checkpoint
from exitwave.io.hdf5 import attribute_text, find, open_hdf5
from exitwave.io.hdf5_values import (
    ESSENTIAL,
    attribute_number,
    check_stamp,
    estimate_of,
    group_at,
    json_text,
    read_floats,
    read_further,
    read_json,
    read_tensor,
    stamp,
    write_further,
    write_json,
    write_tensor,
)
from exitwave.io.hdf5_writing import new_hdf5

CHECKPOINT_FORMAT = 1


def write_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Save the state of a run, bit for bit. A kill at any moment leaves the file before or the file after, whole."""
    with new_hdf5(Path(path)) as file:
        stamp(file, "checkpoint", CHECKPOINT_FORMAT)
        file.attrs["epoch"] = checkpoint.epoch
        estimate = file.create_group("estimate")
        for name in ESSENTIAL:
            write_tensor(estimate, name, getattr(checkpoint.estimate, name))
        write_further(estimate, checkpoint.estimate)
        memory = file.create_group("memory")
        for number, (name, tensor) in enumerate(checkpoint.state.items()):
            # Numbered, because a name may hold a slash, which HDF5 takes for a group.
            write_tensor(memory, str(number), tensor).attrs["name"] = name
        write_tensor(file, "history", torch.tensor(list(checkpoint.history), dtype=torch.float64))
        write_json(file, "spec", checkpoint.spec)
        write_json(file, "provenance", checkpoint.provenance)
        file.attrs["digest"] = _digest(checkpoint)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a saved state. Raises FormatError for other, damaged, edited or newer files."""
    path = Path(path)
    with open_hdf5(path) as file:
        check_stamp(file, path, "checkpoint", CHECKPOINT_FORMAT)
        estimate = group_at(file, "estimate")
        memory = group_at(file, "memory")
        named = {_name(memory, str(key)): str(key) for key in memory}
        found = Checkpoint(
            estimate=estimate_of(
                file,
                object=read_tensor(estimate, "object"),
                probe=read_tensor(estimate, "probe"),
                positions_px=read_tensor(estimate, "positions_px"),
                further=read_further(estimate),
            ),
            epoch=int(attribute_number(file, "epoch") or 0),
            history=read_floats(file, "history"),
            state={name: read_tensor(memory, key) for name, key in named.items()},
            spec=read_json(file, "spec"),
            provenance=read_json(file, "provenance"),
        )
        if attribute_text(file, "digest") != _digest(found):
            raise FormatError(
                f"{path} is damaged or was edited, so that no exact resume is possible; remove it and start anew"
            )
        return found


def _name(memory: h5py.Group, key: str) -> str:
    stored = find(memory, key)
    return key if stored is None else attribute_text(stored, "name") or key


def _digest(checkpoint: Checkpoint) -> str:
    """A fingerprint of everything a resume depends on: nothing else in a solver's memory can be checked from outside."""
    # As read back from JSON, which knows neither tuples nor numbers for keys.
    told = [json.loads(json_text(words)) for words in (checkpoint.spec, checkpoint.provenance)]
    said = [int(checkpoint.epoch), [float(value) for value in checkpoint.history], *told]
    digest = hashlib.blake2b(json.dumps(said, sort_keys=True).encode())
    values = {field.name: getattr(checkpoint.estimate, field.name) for field in fields(checkpoint.estimate)}
    estimate = {name: value for name, value in values.items() if value is not None}
    for name, tensor in sorted(
        {**estimate, **{f"memory.{key}": value for key, value in checkpoint.state.items()}}.items()
    ):
        tensor = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
