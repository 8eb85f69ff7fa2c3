"""Threads that share frames: as many as were ever asked for together, and no more."""

import threading

from exitwave.problems.threads import run_in_threads

PATIENCE_S = 300
"""For what happens at once, but on a busy machine; a test that waits so long has failed."""


def crew() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("exitwave_")]


def squares(parts: int) -> bool:
    return run_in_threads(lambda part: part * part, parts) == [part * part for part in range(parts)]


def test_threads_are_kept_for_the_largest_share_only():
    assert squares(2)
    smaller = crew()
    # More than any test before asked for; one part is done by the thread that asks.
    threads = len(smaller) + 1
    assert squares(threads + 1)
    for thread in smaller:
        thread.join(PATIENCE_S)
    larger = crew()
    assert len(larger) == threads
    assert not set(smaller) & set(larger)
    assert squares(3)
    assert squares(threads)
    assert set(crew()) == set(larger)
