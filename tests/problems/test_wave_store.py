"""Exit waves of all frames, in memory or on disk: the same values either way, and steps that never change."""

import gc
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from exitwave.data.errors import ExitwaveError, InputError
from exitwave.problems import wave_store
from exitwave.problems.wave_store import WaveStore, wave_bytes

FRAMES, MODES, SHAPE = 150, 2, (6, 5)
ENOUGH = wave_bytes(FRAMES, MODES, SHAPE)
BOTH = pytest.mark.parametrize("memory_bytes", [ENOUGH, ENOUGH - 1], ids=["in memory", "on disk"])


def random_waves(frames: int, seed: int) -> torch.Tensor:
    return torch.randn(frames, MODES, *SHAPE, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def store(memory_bytes: int, tmp_path) -> WaveStore:
    return WaveStore(FRAMES, MODES, SHAPE, memory_bytes=memory_bytes, folder=tmp_path)


@BOTH
def test_waves_are_zero_at_first_and_come_back_as_written_in_any_order(memory_bytes, tmp_path):
    kept = store(memory_bytes, tmp_path)
    assert kept.in_memory == (memory_bytes == ENOUGH)
    frames = torch.tensor([7, 149, 0, 23])
    waves = random_waves(4, seed=1)
    kept.write(frames, waves)
    assert torch.equal(kept.read(frames.flip(0)), waves.flip(0))
    assert not bool(kept.read(torch.tensor([1, 2])).abs().any())


@BOTH
def test_what_was_read_may_be_changed_without_changing_the_store(memory_bytes, tmp_path):
    kept = store(memory_bytes, tmp_path)
    kept.write(torch.arange(FRAMES), random_waves(FRAMES, seed=2))
    for _ in range(2):
        read = kept.read(torch.tensor([3, 4]))
        assert torch.equal(read, random_waves(FRAMES, seed=2)[3:5])
        read.zero_()
        kept.as_memory()


@BOTH
def test_a_step_once_handed_out_never_changes_whatever_is_written_later(memory_bytes, tmp_path):
    kept = store(memory_bytes, tmp_path)
    expected = torch.zeros(FRAMES, MODES, *SHAPE, dtype=torch.complex64)
    handed_out = []
    for epoch in range(6):
        # Epochs that write all frames, some, and none; frames of one batch written before and after a step.
        order = torch.randperm(FRAMES, generator=torch.Generator().manual_seed(epoch))
        for batch in order[: (FRAMES, 90, 0)[epoch % 3]].split(32):
            new = kept.read(batch) * 0.5 + random_waves(len(batch), seed=epoch)
            kept.write(batch, new)
            expected[batch] = new
        assert torch.equal(kept.read(torch.arange(FRAMES)), expected)
        handed_out.append((kept.as_memory()["waves"], expected.clone()))
    for seen, then in handed_out:
        assert torch.equal(seen, then)


@BOTH
def test_a_store_goes_on_from_a_step_and_leaves_the_step_alone(memory_bytes, tmp_path):
    waves = random_waves(FRAMES, seed=3)
    memory = {"dual": waves.clone(), "other": torch.zeros(1)}
    kept = store(memory_bytes, tmp_path)
    assert kept.from_state(memory, "dual")
    kept.write(torch.tensor([5]), torch.ones(1, MODES, *SHAPE, dtype=torch.complex64))
    assert torch.equal(memory["dual"], waves)
    waves[5] = 1
    assert torch.equal(kept.read(torch.arange(FRAMES)), waves)
    assert torch.equal(kept.as_memory("dual")["dual"], waves)


def test_a_fresh_start_has_no_waves_to_go_on_from_and_those_of_another_scan_are_refused(tmp_path):
    kept = store(ENOUGH, tmp_path)
    assert not kept.from_state({})
    with pytest.raises(InputError, match=r"shape .*remove the checkpoint"):
        kept.from_state({"waves": random_waves(3, seed=0)})


def test_nothing_is_left_on_disk_even_while_the_store_lives_and_files_are_closed_with_it(tmp_path):
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    before = open_files()
    kept = store(0, tmp_path)
    for epoch in range(5):
        kept.write(torch.arange(FRAMES), random_waves(FRAMES, seed=epoch))
        kept.as_memory()
    assert list(tmp_path.iterdir()) == []
    del kept
    gc.collect()
    assert open_files() == before


def test_a_full_disk_is_one_sentence_with_advice(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(wave_store.os, "posix_fallocate", full)
    with pytest.raises(ExitwaveError, match="TMPDIR"):
        store(0, tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted in KiB on Linux only")
def test_waves_on_disk_do_not_count_as_memory(tmp_path):
    program = f"""
import resource, torch
from pathlib import Path
from exitwave.problems.wave_store import WaveStore
torch.set_num_threads(1)
kept = WaveStore(800, 1, (128, 128), memory_bytes=2**20, folder=Path({str(tmp_path)!r}))
waves = torch.ones(16, 1, 128, 128, dtype=torch.complex64)
kept.write(torch.arange(16), waves)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for epoch in range(2):
    for frames in torch.arange(800).split(16):
        kept.write(frames, kept.read(frames) + waves)
    step = kept.as_memory()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    grown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    # The waves alone are 100 MiB.
    assert int(grown.stdout) < 25 * 1024


@BOTH
def test_threads_that_write_after_a_step_lose_nothing(memory_bytes, tmp_path):
    kept = store(memory_bytes, tmp_path)
    pieces = torch.arange(FRAMES).tensor_split(6)
    for turn in range(20):
        waves = random_waves(FRAMES, seed=turn)
        kept.as_memory()
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda piece: kept.write(piece, waves[piece]), pieces))  # noqa: B023  # all done in this turn
        assert torch.equal(kept.read(torch.arange(FRAMES)), waves)
