"""Reading ahead: the right frames in the right order, a bounded number of them, errors where they belong, no thread left."""

import threading
from collections.abc import Iterator

import pytest
import torch

from exitwave.data.errors import FormatError
from exitwave.problems.prefetch import Prefetcher, prefetched

PATIENCE_S = 300
"""For what happens at once, but on a busy machine; a test that waits so long has failed."""


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("exitwave-reader")]


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("batches", [0, 1, 7])
def test_every_batch_comes_once_in_order_with_its_frames(depth, batches):
    assert list(prefetched(range(batches), lambda n: n * n, depth)) == [(n, n * n) for n in range(batches)]
    assert not readers()


def test_the_next_batches_are_read_while_one_is_worked_on_and_no_more_than_that():
    read, handed_out = [threading.Event() for _ in range(10)], []

    def batches() -> Iterator[int]:
        for n in range(10):
            handed_out.append(n)
            yield n

    steps = prefetched(batches(), lambda n: read[n].set(), depth=2)
    for n in range(3):
        next(steps)
        # What was not handed out cannot be read, however long one waits; what was, is read while nothing more is asked for.
        assert handed_out == list(range(n + 3))
        assert all(event.wait(PATIENCE_S) for event in read[: n + 3])
        assert not any(event.is_set() for event in read[n + 3 :])
    steps.close()
    assert not readers()


def test_an_error_of_reading_is_raised_where_its_batch_is_asked_for():
    def read(n: int) -> int:
        if n == 2:
            raise FormatError("scan.cxi is cut short")
        return n

    steps = prefetched(range(5), read)
    assert [next(steps)[0], next(steps)[0]] == [0, 1]
    with pytest.raises(FormatError, match=r"scan\.cxi"):
        next(steps)
    assert not readers()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_no_thread_is_left_when_the_work_is_broken_off(error):
    def work() -> None:
        for n, _ in prefetched(range(10), lambda n: n):
            if n == 1:
                raise error

    with pytest.raises(error):
        work()
    assert not readers()


def test_reading_leaves_the_number_of_threads_as_it_was():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert [n for n, threads in prefetched(range(3), lambda _: torch.get_num_threads()) if threads == 1] == [
            0,
            1,
            2,
        ]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_frames_being_worked_on_are_found_in_any_order_and_others_are_not():
    stack = torch.arange(20.0)[:, None, None].expand(20, 2, 3)
    ahead = Prefetcher()
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    for batch in ahead.over(order.split(6), lambda frames: stack[frames]):
        assert torch.equal(ahead.find(batch), stack[batch])
        some = batch.flip(0)[:2]
        assert torch.equal(ahead.find(some), stack[some])
        missing = torch.tensor([f for f in range(20) if f not in batch])[:1]
        assert ahead.find(missing) is None
        assert ahead.find(torch.cat([some, missing])) is None
    assert ahead.find(order[-1:]) is None
