"""Threads that share the frames of a batch. Chunks of frames, not pixels, are shared: threads then meet once, not at every step."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import TypeVar

import torch

T = TypeVar("T")


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
