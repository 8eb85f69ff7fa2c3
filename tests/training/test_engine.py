"""Devices and precision of a training; what is not installed or not there is named."""

import builtins
import sys

import pytest
import torch
from torch import nn

from exitwave.data.errors import InputError
from exitwave.training.engine import fabric_for, halves_bits
from toy_training import Blurred, course


def test_importing_the_loop_does_not_import_its_engine():
    # In a process of its own, because other tests have imported it.
    import subprocess

    code = "import sys, exitwave.training.trainer, exitwave.training.engine; print('lightning_fabric' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_extra_is_named_where_it_is_not_installed(monkeypatch):
    usual = builtins.__import__

    def without(name, *more):
        if name.startswith("lightning_fabric"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return usual(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"\(lightning_fabric\): pip install 'exitwave\[train\]'"):
        fabric_for("cpu")


def test_more_devices_than_there_are_is_refused():
    with pytest.raises(InputError, match="GPUs here; devices is 99"):
        fabric_for("cuda", devices=99)
    with pytest.raises(InputError, match="devices is 0"):
        fabric_for("cpu", devices=0)
    with pytest.raises(InputError, match="devices is 2 on cuda:1"):
        fabric_for("cuda:1", devices=2)


class Probing(nn.Module):
    """Notes in which types it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 3, padding=1)
        self.types: list[torch.dtype] = []

    def forward(self, images):
        result = self.layer(images)
        self.types += [images.dtype, result.dtype]
        return result


@pytest.mark.parametrize("precision", ["32", "bf16", "auto"])
def test_half_precision_is_inside_the_network_only(precision):
    fabric, network = fabric_for("cpu", precision), Probing()
    wrapped = fabric.setup(network)
    images = 1e4 + torch.arange(64.0).reshape(1, 1, 8, 8)
    assert wrapped(images).dtype == torch.float32
    half = precision == "bf16" or (precision == "auto" and halves_bits(torch.device("cpu")))
    assert network.types == [torch.float32, torch.bfloat16 if half else torch.float32]


def test_a_network_learns_in_half_precision():
    learning = course(Blurred(), precision="bf16", epochs=20)
    seen = list(learning.run())
    assert seen[-1].held_out_loss < 0.9 * seen[0].held_out_loss
    assert all(value.dtype == torch.float32 for value in learning.weights().values())
