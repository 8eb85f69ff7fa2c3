"""Log of a training: a line an epoch in `log.jsonl`, and TensorBoard for those who want it."""

import json
import math
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from exitwave.data.errors import InputError
from exitwave.io.atomic import replacing
from exitwave.training.trainer import Epoch

LOG = "log.jsonl"


class TrainingLog:
    """Writes every epoch into a folder. With several processes only the first (`rank` 0) writes.

    `done` epochs of an earlier run stay in the log; what follows them is dropped, because it will be trained again.
    Raises InputError where the folder is missing, or TensorBoard is asked for but not installed.
    """

    def __init__(self, folder: Path, *, done: int = 0, tensorboard: bool = False, rank: int = 0) -> None:
        self._path, self._writes = folder / LOG, rank == 0
        self._board = _board(folder / "tensorboard", done) if tensorboard and self._writes else None
        kept = [entry for entry in read_log(folder) if entry["epoch"] <= done] if done else []
        self._before_s = float(kept[-1].get("seconds") or 0.0) if kept else 0.0
        self._began_s = time.monotonic()
        if self._writes:
            with replacing(self._path) as partial:
                partial.write_text("".join(f"{json.dumps(entry)}\n" for entry in kept))

    def write(self, epoch: Epoch) -> None:
        """Add an epoch."""
        if not self._writes:
            return
        values = {**asdict(epoch), "seconds": self._before_s + time.monotonic() - self._began_s}
        # JSON has no word for what is not a number.
        entry = {name: value if math.isfinite(value) else None for name, value in values.items()}
        with self._path.open("a") as file:
            file.write(f"{json.dumps(entry)}\n")
        if self._board is not None:
            for name in ("loss", "held_out_loss", "learning_rate", "variation"):
                if entry[name] is not None:
                    self._board.add_scalar(name, entry[name], epoch.epoch)
            self._board.flush()

    def close(self) -> None:
        """Nothing more will be written."""
        if self._board is not None:
            self._board.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The epochs in a folder's log, without lines that a crash cut short."""
    entries: list[dict[str, Any]] = []
    with suppress(FileNotFoundError):
        for line in (folder / LOG).read_text(errors="replace").splitlines():
            with suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict) and isinstance(entry.get("epoch"), int):
                    entries.append(entry)
    return entries


def _board(folder: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError("TensorBoard is not installed: pip install 'exitwave[tensorboard]'") from error
    return SummaryWriter(str(folder), purge_step=done + 1)
