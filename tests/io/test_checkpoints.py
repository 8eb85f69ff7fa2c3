"""A checkpoint comes back bit for bit, and a kill at any moment leaves one that is whole."""

import os
import signal
import subprocess
import sys
import time

import h5py
import pytest
import torch

from exitwave.data.errors import ExitwaveError, FormatError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.result import Checkpoint
from exitwave.io.checkpoints import read_checkpoint, write_checkpoint

MEMORY = {
    "dual/waves": torch.randn(3, 2, 4, 5, dtype=torch.complex64, generator=torch.Generator().manual_seed(1)),
    "exact": torch.tensor([1 / 3, float("nan"), -0.0, float("inf")], dtype=torch.float64),
    "wide": torch.tensor([1 / 3 + 2j / 7], dtype=torch.complex128),
    "half": torch.tensor([1.5, 2.25], dtype=torch.float16),
    "brain": torch.tensor([[1.5, -3.0]], dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "small": torch.tensor([1, 255], dtype=torch.uint8),
    "flags": torch.tensor([[True, False]]),
    "nothing": torch.zeros(0, 2, dtype=torch.float64),
    "conjugate": torch.tensor([1 + 2j]).conj(),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    ".": torch.ones(1),
}


def checkpoint_of(scale: float = 1.0, **changes) -> Checkpoint:
    fields = {
        "estimate": PtychoEstimate(
            object=torch.full((1, 30, 30), scale, dtype=torch.complex64),
            probe=torch.full((2, 8, 8), 1j * scale, dtype=torch.complex128),
            positions_px=torch.tensor([[1 / 3, 2.0]], dtype=torch.float64),
        ),
        "epoch": int(scale),
        "history": (0.1, 1 / 3, float("nan")),
        "state": MEMORY,
        "spec": {"name": "rpie", "alpha": 0.1},
        "provenance": {"scan_fingerprint": "abc", "seed": 3},
    }
    return Checkpoint(**(fields | changes))


def bits(tensor: torch.Tensor) -> bytes:
    flat = tensor.resolve_conj().contiguous().flatten()
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def test_every_type_and_shape_comes_back_bit_for_bit(tmp_path):
    saved = checkpoint_of(4.0)
    write_checkpoint(tmp_path / "run.ckpt", saved)
    back = read_checkpoint(tmp_path / "run.ckpt")
    assert set(back.state) == set(MEMORY)
    pairs = [(saved.state[name], back.state[name]) for name in MEMORY]
    pairs += [(getattr(saved.estimate, name), getattr(back.estimate, name)) for name in vars(saved.estimate)]
    for before, after in pairs:
        assert (before is None) == (after is None)
        if before is None:
            continue
        assert before.dtype == after.dtype
        assert before.shape == after.shape
        assert bits(before) == bits(after)
    assert back.epoch == 4
    assert back.history[:2] == saved.history[:2]
    assert back.history[2] != back.history[2]
    assert (back.spec, back.provenance) == (saved.spec, saved.provenance)


def test_what_was_read_may_be_changed_in_place(tmp_path):
    write_checkpoint(tmp_path / "run.ckpt", checkpoint_of())
    read_checkpoint(tmp_path / "run.ckpt").state["count"].add_(1)


def test_a_newer_or_other_file_is_refused_by_name(tmp_path):
    path = tmp_path / "run.ckpt"
    write_checkpoint(path, checkpoint_of())
    with h5py.File(path, "r+") as file:
        file.attrs["exitwave_format"] = 99
    with pytest.raises(FormatError, match=r"checkpoint in format 99.*update exitwave"):
        read_checkpoint(path)
    path.write_bytes(b"garbage")
    with pytest.raises(FormatError):
        read_checkpoint(path)


KILLED = """
import sys, torch
from pathlib import Path
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.result import Checkpoint
from exitwave.io.checkpoints import write_checkpoint
epoch = 0
while True:
    epoch += 1
    value = torch.full((1, 600, 600), epoch, dtype=torch.complex64)
    estimate = PtychoEstimate(object=value, probe=value[:, :8, :8], positions_px=torch.zeros(1, 2, dtype=torch.float64))
    state = Checkpoint(estimate=estimate, epoch=epoch, history=(), state={"dual": value}, spec={}, provenance={})
    write_checkpoint(Path(sys.argv[1]), state)
    print(epoch, flush=True)
"""


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    path = tmp_path / "run.ckpt"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
    for _ in range(5):
        process.stdout.readline()
    time.sleep(0.0137)
    process.send_signal(signal.SIGKILL)
    done = 5 + len(process.communicate()[0].split())
    back = read_checkpoint(path)
    assert back.epoch in (done, done + 1)
    assert bool((back.state["dual"] == back.epoch).all())
    assert bool((back.estimate.object == back.epoch).all())


FULL = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from test_checkpoints import checkpoint_of
from exitwave.io.checkpoints import write_checkpoint
import torch
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
write_checkpoint(sys.argv[1], checkpoint_of(state={"big": torch.zeros(10**6)}))
"""


def test_a_file_that_cannot_grow_leaves_the_old_checkpoint_and_says_so(tmp_path):
    path = tmp_path / "run.ckpt"
    write_checkpoint(path, checkpoint_of(2.0))
    here = os.path.dirname(__file__)
    done = subprocess.run([sys.executable, "-c", FULL, str(path), here], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "ExitwaveError: the disk is full" in done.stderr
    assert read_checkpoint(path).epoch == 2
    assert [p.name for p in tmp_path.iterdir()] == ["run.ckpt"]


def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(ExitwaveError, match="is a folder"):
        write_checkpoint(tmp_path, checkpoint_of())
