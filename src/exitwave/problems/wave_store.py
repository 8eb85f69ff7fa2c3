"""Exit waves of all frames, which projection methods hold between epochs: in memory while they fit, on disk when not."""

import errno
import math
import os
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Complex, Int
from torch import Tensor

from exitwave.data.errors import ExitwaveError, InputError

COPIES = 2
"""Arrays that live at a time: the waves of the epoch before, which a step may still hold, and those being made."""
TILE = 64
"""Frames copied together."""


def wave_bytes(frames: int, modes: int, shape: tuple[int, int]) -> int:
    """What a store of these exit waves takes, in memory or on disk."""
    return COPIES * 8 * frames * modes * math.prod(shape)


class WaveStore:
    """One complex wave for each frame and mode, zero at first, to be read and written frame by frame.

    In memory on `device` when `wave_bytes` of it are within `memory_bytes`, else in a temporary file that has no name
    and so vanishes with the store, whatever ends the program. The file lies in `folder`, or where TMPDIR says.

    `as_memory` hands the waves to a `Step` without copying them: what is written later goes to a new array, so that a
    step once yielded never changes. Raises ExitwaveError when the disk is full. Threads may read and write different
    frames at the same time.
    """

    def __init__(
        self,
        frames: int,
        modes: int,
        shape: tuple[int, int],
        *,
        memory_bytes: int,
        device: torch.device | str = "cpu",
        folder: Path | None = None,
    ) -> None:
        self.shape = (frames, modes, *shape)
        self.device = torch.device(device)
        self.in_memory = wave_bytes(frames, modes, shape) <= memory_bytes
        self._folder = folder
        self._waves: _Array = self._new()
        self._before: _Array | None = None
        """The waves last handed out; frames not written since are still there."""
        self._written = torch.ones(frames, dtype=torch.bool)
        self._turning = threading.Lock()

    def read(self, frames: Int[Tensor, " batch"]) -> Complex[Tensor, "batch mode y x"]:
        """The waves of these frames, in that order; a copy that may be changed."""
        frames = frames.cpu()
        recent, before = self._written[frames], self._before
        if before is None or bool(recent.all()):
            return self._waves.read(frames).to(self.device)
        waves = before.read(frames)
        if bool(recent.any()):
            waves[recent.to(waves.device)] = self._waves.read(frames[recent])
        return waves.to(self.device)

    def write(self, frames: Int[Tensor, " batch"], waves: Complex[Tensor, "batch mode y x"]) -> None:
        """Put in the waves of these frames, each named once."""
        frames = frames.cpu()
        with self._turning:
            # Of all threads, the first to write after a step makes the new array.
            if self._waves is self._before:
                self._waves = self._new()
        self._waves.write(frames, waves.detach())
        with self._turning:
            self._written[frames] = True
            if bool(self._written.all()):
                self._before = None

    def as_memory(self, name: str = "waves") -> dict[str, Tensor]:
        """All waves as an entry for `Step.state`, which no later write changes."""
        if self._before is None or bool(self._written.any()):
            self._complete()
            self._before, self._written = self._waves, torch.zeros(self.shape[0], dtype=torch.bool)
        return {name: self._before.whole()}

    def from_state(self, memory: Mapping[str, Tensor], name: str = "waves") -> bool:
        """Go on with the waves of a `Step.state`; False, and nothing changed, where it has none under this name."""
        if name not in memory:
            return False
        waves = memory[name]
        if tuple(waves.shape) != self.shape:
            raise InputError(
                f"the saved exit waves have shape {tuple(waves.shape)} but this run needs {self.shape}; remove the "
                "checkpoint or start with the same frames and modes"
            )
        if self.in_memory:
            # Not copied: nothing is ever written into what was handed out.
            self._before = self._waves = _InMemory(waves.to(self.device, torch.complex64))
        else:
            self._waves = self._new()
            for tile in torch.arange(self.shape[0]).split(TILE):
                self._waves.write(tile, waves[int(tile[0]) : int(tile[-1]) + 1])
            self._before = self._waves
        self._written = torch.zeros(self.shape[0], dtype=torch.bool)
        return True

    def _complete(self) -> None:
        """Copy what was not written since the last step, so that one array holds all."""
        if self._before is None:
            return
        missing: Bool[Tensor, " frame"] = ~self._written
        for tile in missing.nonzero()[:, 0].split(TILE):
            self._waves.write(tile, self._before.read(tile))

    def _new(self) -> "_Array":
        if self.in_memory:
            return _InMemory(torch.zeros(self.shape, dtype=torch.complex64, device=self.device))
        return _OnDisk(self.shape, self._folder)


class _Array(Protocol):
    def read(self, frames: Tensor) -> Tensor: ...
    def write(self, frames: Tensor, waves: Tensor) -> None: ...
    def whole(self) -> Tensor: ...


class _InMemory:
    def __init__(self, waves: Tensor) -> None:
        self._waves = waves

    def read(self, frames: Tensor) -> Tensor:
        return self._waves[frames.to(self._waves.device)]

    def write(self, frames: Tensor, waves: Tensor) -> None:
        self._waves[frames.to(self._waves.device)] = waves.to(self._waves.device)

    def whole(self) -> Tensor:
        return self._waves


class _OnDisk:
    """Read and written as a file, not mapped: mapped pages would count as memory of the program."""

    def __init__(self, shape: tuple[int, ...], folder: Path | None) -> None:
        self._shape = shape
        self._frame_bytes = 8 * math.prod(shape[1:])
        self._place = threading.Lock()
        """The file has one place at which it is read or written next."""
        total = self._frame_bytes * shape[0]
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, prefix="exitwave-", buffering=0)  # noqa: SIM115  # closed with the store
            if hasattr(os, "posix_fallocate"):
                # All of the space now, so that a full disk is told at the start and not by a crash in the middle.
                os.posix_fallocate(self._file.fileno(), 0, total)
            else:
                self._file.truncate(total)
        except OSError as error:
            raise self._explained(error, folder, total) from error

    def read(self, frames: Tensor) -> Tensor:
        waves = np.empty((len(frames), *self._shape[1:]), dtype=np.complex64)
        with self._place:
            for place, frame in enumerate(frames.tolist()):
                self._file.seek(frame * self._frame_bytes)
                left = memoryview(waves[place]).cast("B")
                while len(left):
                    # One call may give less than asked for.
                    count = self._file.readinto(left)  # pyright: ignore[reportAttributeAccessIssue]  # an unbuffered file has it
                    if not count:
                        raise ExitwaveError("the temporary file with the exit waves was cut short; run again")
                    left = left[count:]
        return torch.from_numpy(waves)

    def write(self, frames: Tensor, waves: Tensor) -> None:
        values = waves.cpu().resolve_conj().resolve_neg().to(torch.complex64).contiguous().numpy()
        try:
            with self._place:
                for frame, wave in zip(frames.tolist(), values, strict=True):
                    self._file.seek(frame * self._frame_bytes)
                    left = memoryview(wave).cast("B")
                    while len(left):
                        left = left[self._file.write(left) :]
        except OSError as error:
            raise self._explained(error, None, self._frame_bytes * self._shape[0]) from error

    def whole(self) -> Tensor:
        # Private pages, read only when somebody looks (a checkpoint does).
        return torch.from_numpy(np.memmap(self._file, dtype=np.complex64, mode="c", shape=self._shape))  # pyright: ignore[reportArgumentType, reportCallIssue]

    def _explained(self, error: OSError, folder: Path | None, total: int) -> ExitwaveError:
        where = folder or Path(tempfile.gettempdir())
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return ExitwaveError(
                f"the exit waves do not fit into memory and take {COPIES} files of {total / 2**30:.3g} GiB on disk, but "
                f"{where} is full; set TMPDIR to a folder with more room, or use fewer modes"
            )
        return ExitwaveError(f"no temporary file for the exit waves in {where}: {error}; set TMPDIR to another folder")
