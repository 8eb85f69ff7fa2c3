"""Prefetching: frames are read ahead by a thread while a solver works on those before."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count, islice
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

B = TypeVar("B")
V = TypeVar("V")


def prefetched(batches: Iterable[B], read: Callable[[B], V], depth: int = 2) -> Iterator[tuple[B, V]]:
    """Each batch with `read(batch)`, in order; a thread reads up to `depth` batches ahead of the one that is worked on.

    At most `depth` + 1 batches are in memory. An error of `read` is raised where its batch is asked for. The thread ends
    with the iteration, however that ends: done, error, closed or Ctrl-C.
    """
    reader = ThreadPoolExecutor(1, thread_name_prefix="exitwave-reader")
    waiting: deque[tuple[B, Future[V]]] = deque()
    source = iter(batches)
    try:
        _with_one_thread(reader)
        waiting.extend((batch, reader.submit(read, batch)) for batch in islice(source, depth))
        while waiting:
            batch, coming = waiting.popleft()
            values = coming.result()
            waiting.extend((following, reader.submit(read, following)) for following in islice(source, 1))
            yield batch, values
            del values
    finally:
        reader.shutdown(wait=True, cancel_futures=True)


def _with_one_thread(reader: ThreadPoolExecutor) -> None:
    """Keep what the reader calculates off the processors that the solver works on."""
    threads = torch.get_num_threads()
    reader.submit(torch.set_num_threads, 1).result()
    # A thread takes over what was set last, by whichever thread, when it first asks: that must be now.
    reader.submit(torch.get_num_threads).result()
    torch.set_num_threads(threads)


class Prefetcher:
    """Frames that were read ahead and are being worked on, to be found by their numbers, whoever asks."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[np.ndarray, np.ndarray, Tensor]] = {}
        self._numbers = count()
        self._lock = threading.Lock()

    def over(
        self, batches: Iterable[Int[Tensor, " _"]], read: Callable[[Int[Tensor, " _"]], Float[Tensor, "_ y x"]]
    ) -> Iterator[Int[Tensor, " _"]]:
        """Each batch, in order, its frames read by then; they are held until the next batch is asked for."""
        number = next(self._numbers)
        steps = prefetched(batches, read)
        try:
            for batch, frames in steps:
                order = batch.numpy().argsort()
                with self._lock:
                    self._held[number] = batch.numpy()[order], order, frames
                yield batch
        finally:
            with self._lock:
                self._held.pop(number, None)
            steps.close()  # pyright: ignore[reportAttributeAccessIssue]  # a generator

    def find(self, wanted: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"] | None:
        """These frames, in this order, where one batch being worked on has them all."""
        with self._lock:
            held = list(self._held.values())
        asked = wanted.cpu().numpy()
        for known, order, frames in reversed(held):
            places = np.searchsorted(known, asked)
            if len(known) and bool((known[np.minimum(places, len(known) - 1)] == asked).all()):
                rows = torch.from_numpy(order[places])
                # The whole batch as it was read needs no copy.
                whole = len(rows) == len(frames) and bool((rows == torch.arange(len(rows))).all())
                return frames if whole else frames[rows.to(frames.device)]
        return None
