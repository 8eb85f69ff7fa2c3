"""Threads that share the frames of a batch. Chunks of frames, not pixels, are shared: threads then meet once, not at every step."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from threading import Barrier
from typing import TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

T = TypeVar("T")

CHUNK_PIXELS = 2**17
"""Pixels of all waves worked on together: a megabyte, which stays in a processor's cache."""
GPU_CHUNK_PIXELS = 2**23
"""The same for a GPU, which wants much work at once: 64 MB for each of the few buffers."""
LEAST_PIXELS = 2**16
"""Pixels of waves that are worth a thread of their own: with fewer, waking it takes longer than it saves."""


def threads_on(device: torch.device, at_most: int) -> int:
    """Threads for so many pieces of work; a GPU is fed by one."""
    return max(1, min(torch.get_num_threads(), at_most)) if device.type == "cpu" else 1


def frames_in_cache(frames: int, wave_pixels: int, device: torch.device) -> int:
    """Frames of so many pixels in all their waves that are worked on together."""
    pixels = CHUNK_PIXELS if device.type == "cpu" else GPU_CHUNK_PIXELS
    return max(1, min(pixels // wave_pixels, frames))


@dataclass(frozen=True)
class Schedule:
    """How frames are divided: among threads, in runs of neighbours, and by each thread in chunks. Sums come in this order."""

    parts: int
    """Threads."""
    chunk: int
    """Frames that a thread works on together."""
    few: bool = False
    """Whether there is so little to do that array operations, too, are better off on one thread."""

    @classmethod
    def of(cls, frames: int, wave_pixels: int, device: torch.device) -> "Schedule":
        """For frames of so many pixels in all their waves."""
        pixels = frames * wave_pixels
        parts = threads_on(device, min(frames, pixels // LEAST_PIXELS))
        return cls(parts, frames_in_cache(frames, wave_pixels, device), few=pixels < 2 * LEAST_PIXELS)

    def pieces(self, frames: Int[Tensor, " frame"]) -> tuple[Int[Tensor, " _"], ...]:
        """What each thread gets; fewer pieces where there are not so many frames."""
        return frames.tensor_split(max(1, min(self.parts, len(frames))))

    def run(self, work: Callable[[int, Int[Tensor, " _"]], T], frames: Int[Tensor, " frame"]) -> list[T]:
        """`work(part, its frames)` for every part at the same time; their answers in order."""
        pieces = self.pieces(frames)
        with single_threaded() if self.few else nullcontext():
            return run_in_threads(lambda part: work(part, pieces[part]), len(pieces))


def run_in_threads(work: Callable[[int], T], parts: int) -> list[T]:
    """`work(0)` ... `work(parts - 1)` at the same time, one thread each; their answers in order.

    Each runs its array operations on one thread: compiled loops and transforms hold no Python lock.
    """
    if parts == 1:
        return [work(0)]
    pool = _pool(parts - 1)
    others = [pool.submit(work, part) for part in range(1, parts)]
    with single_threaded():
        try:
            return [work(0), *(other.result() for other in others)]
        finally:
            # An error in one part must not leave the others at work on arrays that the caller goes on with.
            for other in others:
                other.exception()


@contextmanager
def single_threaded() -> Generator[None]:
    """Array operations take one thread meanwhile: for work so small that waking others takes longer than it does."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


_largest: list[tuple[int, ThreadPoolExecutor]] = []
"""The pool there is, with its number of threads."""


def _pool(size: int) -> ThreadPoolExecutor:
    """At least so many threads. Those of a smaller pool end when nobody works with it any more."""
    if not _largest or _largest[0][0] < size:
        _largest[:] = [(size, _started(size))]
    return _largest[0][1]


def _started(size: int) -> ThreadPoolExecutor:
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(size, thread_name_prefix="exitwave", initializer=torch.set_num_threads, initargs=(1,))
    # Threads start with their first task; the setting of the last one made would otherwise become everybody's.
    # None takes two, so that all of them start.
    together = Barrier(size)
    list(pool.map(lambda _: together.wait(), range(size)))
    torch.set_num_threads(threads)
    return pool
