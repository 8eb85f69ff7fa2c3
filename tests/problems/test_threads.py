"""Threads that share frames: as many as were ever asked for together, and no more."""

import threading
import time

from exitwave.problems.threads import run_in_threads


def idle() -> int:
    return sum(thread.name.startswith("exitwave_") for thread in threading.enumerate())


def test_threads_are_kept_for_the_largest_share_only():
    before = max(idle(), 4)
    for parts in (2, before + 1, 3, before):
        assert run_in_threads(lambda part: part * part, parts) == [part * part for part in range(parts)]
    until = time.monotonic() + 5
    while idle() > before and time.monotonic() < until:
        time.sleep(0.01)
    assert idle() == before
