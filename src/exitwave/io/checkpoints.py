"""Checkpoints: the state of a run, to go on from exactly."""

from dataclasses import fields
from pathlib import Path

import h5py
import torch

from exitwave.data.estimate import PtychoEstimate
from exitwave.data.result import Checkpoint
from exitwave.io.atomic import replacing
from exitwave.io.hdf5 import attribute_text, open_hdf5
from exitwave.io.store import (
    attribute_number,
    check_stamp,
    group_at,
    read_json,
    read_tensor,
    stamp,
    write_json,
    write_tensor,
)

CHECKPOINT_FORMAT = 1


def write_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Save the state of a run, bit for bit. A kill at any moment leaves the file before or the file after, whole."""
    with replacing(Path(path)) as partial, h5py.File(partial, "w") as file:
        stamp(file, "checkpoint", CHECKPOINT_FORMAT)
        file.attrs["epoch"] = checkpoint.epoch
        estimate = file.create_group("estimate")
        for field in fields(checkpoint.estimate):
            write_tensor(estimate, field.name, getattr(checkpoint.estimate, field.name))
        memory = file.create_group("memory")
        for number, (name, tensor) in enumerate(checkpoint.memory.items()):
            # Numbered, because a name may hold a slash, which HDF5 takes for a group.
            write_tensor(memory, str(number), tensor).attrs["name"] = name
        write_tensor(file, "history", torch.tensor(list(checkpoint.history), dtype=torch.float64))
        write_json(file, "spec", checkpoint.spec)
        write_json(file, "provenance", checkpoint.provenance)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a saved state. Raises FormatError for other, damaged or newer files."""
    path = Path(path)
    with open_hdf5(path) as file:
        check_stamp(file, path, "checkpoint", CHECKPOINT_FORMAT)
        estimate = group_at(file, "estimate")
        memory = group_at(file, "memory")
        named = {attribute_text(stored, "name") or key: key for key, stored in memory.items()}
        return Checkpoint(
            estimate=PtychoEstimate(
                object=read_tensor(estimate, "object"),
                probe=read_tensor(estimate, "probe"),
                positions_px=read_tensor(estimate, "positions_px"),
            ),
            epoch=int(attribute_number(file, "epoch") or 0),
            history=tuple(read_tensor(file, "history").tolist()),
            memory={name: read_tensor(memory, key) for name, key in named.items()},
            spec=read_json(file, "spec"),
            provenance=read_json(file, "provenance"),
        )
