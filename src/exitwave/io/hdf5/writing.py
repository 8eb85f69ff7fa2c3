"""HDF5 files that appear whole or not at all, even when the disk fills up or Ctrl-C is pressed while they are written.

HDF5 cannot close a file that it cannot write: the process crashes. So it writes into a sink that never fails in its
sight; what went wrong is raised once the file is closed.
"""

import os
import shutil
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import h5py

from exitwave.io.atomic import replacing


@contextmanager
def new_hdf5(path: Path, *, like: Path | None = None) -> Generator[h5py.File]:
    """A new HDF5 file, or a copy of `like` to be changed; it takes the place of `path` when all is written.

    Raises InputError or ExitwaveError as `replacing` does. Ctrl-C takes effect when the file is finished; pressed twice,
    the file is given up.
    """
    with _interrupts() as pressed, replacing(path) as partial:
        if like is not None:
            shutil.copyfile(like, partial)
        with partial.open("r+b", buffering=0) as raw:
            sink = _Sink(raw.fileno(), pressed)
            try:
                with h5py.File(sink, "w" if like is None else "r+") as file:
                    yield file
            finally:
                if sink.failure is not None:
                    raise sink.failure


class _Sink:
    """A file for HDF5 in which every write succeeds; after the first that did not, nothing more is written."""

    def __init__(self, descriptor: int, pressed: list[int]) -> None:
        self._descriptor, self._pressed = descriptor, pressed
        self._place = 0
        self._end = os.fstat(descriptor).st_size
        self.failure: OSError | KeyboardInterrupt | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._end}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def write(self, data: memoryview) -> int:
        left = memoryview(data).cast("B")
        count = len(left)
        if len(self._pressed) > 1:
            self.failure = self.failure or KeyboardInterrupt()
        while len(left) and self.failure is None:
            try:
                done = os.pwrite(self._descriptor, left, self._place + count - len(left))
                left = left[done:]
            except OSError as error:
                self.failure = error
        self._place += count
        self._end = max(self._end, self._place)
        return count

    def readinto(self, buffer: memoryview) -> int:
        room = memoryview(buffer).cast("B")
        done = 0
        while done < len(room):
            # What was not written reads as zero.
            got = os.pread(self._descriptor, len(room) - done, self._place + done) or bytes(len(room) - done)
            room[done : done + len(got)] = got
            done += len(got)
        self._place += len(room)
        return len(room)

    def read(self, count: int) -> bytes:
        data = bytearray(count)
        self.readinto(memoryview(data))
        return bytes(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def truncate(self, size: int | None = None) -> int:
        self._end = self._place if size is None else size
        try:
            if self.failure is None:
                os.ftruncate(self._descriptor, self._end)
        except OSError as error:
            self.failure = error
        return self._end


@contextmanager
def _interrupts() -> Generator[list[int]]:
    """Ctrl-C is counted instead of raised in the middle of HDF5, and raised at the end."""
    pressed: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return

    def count(number: int, frame: FrameType | None) -> None:
        pressed.append(number)

    usual = signal.signal(signal.SIGINT, count)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, usual)
    if pressed:
        raise KeyboardInterrupt
