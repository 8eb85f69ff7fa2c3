"""Threads that share frames: as many as were ever asked for together, and no more."""

import gc
import threading

import pytest
import torch

from exitwave.problems.threads import CHUNK_PIXELS, LEAST_PIXELS, Schedule, run_in_threads

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
    # An error in an earlier test may hold the smaller pool in a cycle of its traceback.
    gc.collect()
    for thread in smaller:
        thread.join(PATIENCE_S)
    larger = crew()
    assert len(larger) == threads
    assert not set(smaller) & set(larger)
    assert squares(3)
    assert squares(threads)
    assert set(crew()) == set(larger)


@pytest.mark.parametrize(("frames", "pixels"), [(1, 10), (7, 2**15), (100, 2**14), (5, 2**18)])
def test_a_schedule_gives_every_frame_to_one_thread_in_order(frames, pixels, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    schedule = Schedule.of(frames, pixels, torch.device("cpu"))
    found = schedule.run(lambda part, some: (part, some), torch.arange(frames))
    assert [part for part, _ in found] == list(range(schedule.parts))
    assert torch.equal(torch.cat([some for _, some in found]), torch.arange(frames))
    # A thread is woken for no less than it is worth; a chunk stays in the cache, if one frame does.
    assert schedule.parts == 1 or frames * pixels >= schedule.parts * LEAST_PIXELS
    assert schedule.chunk == 1 or schedule.chunk * pixels <= CHUNK_PIXELS


def test_a_gpu_is_fed_by_one_thread_in_larger_chunks(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    frames, pixels = 1000, 2**14
    gpu, cpu = (Schedule.of(frames, pixels, torch.device(name)) for name in ("cuda", "cpu"))
    assert (gpu.parts, cpu.parts) == (1, 8)
    assert gpu.chunk > cpu.chunk


def test_no_thread_gets_nothing_to_do_where_frames_are_fewer_than_threads():
    met: list[int] = []
    Schedule(parts=3, chunk=4).run(lambda _, frames: met.append(len(frames)), torch.arange(2))
    assert met == [1, 1]
