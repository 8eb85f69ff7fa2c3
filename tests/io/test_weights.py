"""Weights come back bit for bit; whatever else lies there is refused by name, and nothing is ever unpickled."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from exitwave.data.errors import ExitwaveError, FormatError, InputError
from exitwave.io.weights import (
    IN_FOLDER,
    Weights,
    find_weights,
    is_weights,
    read_record,
    read_spec,
    read_training,
    read_weights,
    write_training,
    write_weights,
)
from mutations import byte_changes, spoil_bytes

BASE = torch.arange(6.0).reshape(2, 3)
TENSORS = {
    "first.weight": torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(1)),
    "turned": BASE.T,
    "shares memory with turned": BASE,
    "wide": torch.tensor([1 / 3, -0.0], dtype=torch.float64),
    "brain": torch.tensor([[1.5, -3.0]], dtype=torch.bfloat16),
    "probe": torch.tensor([1 + 2j]).conj(),
    "count": torch.tensor(7),
    "flags": torch.tensor([True, False]),
    "nothing": torch.zeros(0, 2),
    "channels last": torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
}
SPEC = {"name": "ptychopinn", "width": 24, "overlaps": True, "shift": (4, 4.5)}
RECORD = {"scans": ["µm.cxi"], "photons": [1e3, float("inf")], "seed": 3, "loss": np.float32(0.5)}
settled = settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "pinn.safetensors"
    write_weights(path, Weights(tensors=TENSORS, spec=SPEC, record=RECORD))
    return path


def bits(tensor: torch.Tensor) -> bytes:
    flat = tensor.resolve_conj().contiguous().flatten()
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def unchanged(tensors) -> bool:
    same = (
        (tensors[n].dtype, tensors[n].shape, bits(tensors[n])) == (t.dtype, t.shape, bits(t))
        for n, t in TENSORS.items()
    )
    return set(tensors) == set(TENSORS) and all(same)


def test_every_tensor_and_word_comes_back(good):
    back = read_weights(good)
    assert unchanged(back.tensors)
    assert back.spec == {**SPEC, "shift": [4, 4.5]}
    assert back.record == {**RECORD, "loss": 0.5}
    assert read_spec(good) == back.spec
    assert read_record(good) == back.record


def test_what_was_read_may_be_changed_in_place(good):
    before = good.read_bytes()
    read_weights(good).tensors["count"].add_(1)
    assert good.read_bytes() == before


def test_the_folder_of_a_training_is_as_good_as_the_file(good, tmp_path):
    (tmp_path / IN_FOLDER).write_bytes(good.read_bytes())
    assert find_weights(tmp_path) == find_weights(tmp_path / IN_FOLDER) == tmp_path / IN_FOLDER
    assert unchanged(read_weights(tmp_path).tensors)
    assert read_spec(str(tmp_path))["name"] == "ptychopinn"
    assert is_weights(tmp_path)
    (tmp_path / IN_FOLDER).unlink()
    assert not is_weights(tmp_path)
    with pytest.raises(FormatError, match=r"holds no weights\.safetensors; give a folder that `exitwave train"):
        read_weights(tmp_path)


def test_other_programs_read_the_weights(good):
    with safe_open(good, "numpy") as file:
        assert file.get_tensor("wide").tolist() == [1 / 3, 0.0]
        assert json.loads(file.metadata()["spec"])["width"] == 24


def test_an_unfinished_training_is_no_network(good, tmp_path):
    path = tmp_path / "training.safetensors"
    state = {"best": torch.tensor([float("inf")]), **TENSORS}
    write_training(path, Weights(tensors=state, spec=SPEC, record=RECORD))
    assert bits(read_training(path).tensors["best"]) == bits(state["best"])
    assert not is_weights(path)
    with pytest.raises(FormatError, match="holds exitwave training; expected exitwave weights"):
        read_weights(path)
    with pytest.raises(FormatError, match="holds exitwave weights; expected exitwave training"):
        read_training(good)


def test_a_network_that_diverged_is_not_saved(tmp_path):
    spoilt = Weights(tensors={"a": torch.tensor([1.0, float("nan")])}, spec={}, record={})
    with pytest.raises(ExitwaveError, match=r"a of the network .* lower learning_rate"):
        write_weights(tmp_path / "a.safetensors", spoilt)
    assert not list(tmp_path.iterdir())


@settled
@given(place=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(good, place):
    cut = good.with_name("cut.safetensors")
    data = good.read_bytes()
    cut.write_bytes(data[: int(place * len(data))])
    for read in (read_weights, read_spec, read_record):
        with pytest.raises(FormatError, match=r"cut\.safetensors is"):
            read(cut)
    assert not is_weights(cut)


@settled
@given(changes=byte_changes)
def test_a_file_with_wrong_bytes_is_refused_or_whole(good, changes):
    spoilt = good.with_name("spoilt.safetensors")
    spoilt.write_bytes(good.read_bytes())
    spoil_bytes(spoilt, changes)
    same = spoilt.read_bytes() == good.read_bytes()
    try:
        back = read_weights(spoilt)
    except FormatError:
        assert not same
    else:
        # Bytes that mean nothing, such as the padding of the header, may differ.
        assert unchanged(back.tensors)


@pytest.mark.parametrize("change", ["spec", "record", "version", "tensor", "name", "missing", "digest"])
def test_an_edited_file_is_refused(good, tmp_path, change):
    with safe_open(good, "pt") as file:
        told, tensors = dict(file.metadata()), {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    if change in ("spec", "record", "version"):
        told[change] = told[change].replace("24", "25").replace("3", "4").replace("0", "1")
    elif change == "tensor":
        tensors["wide"][0] += 1e-15
    elif change == "name":
        tensors["width"] = tensors.pop("wide")
    elif change == "missing":
        del tensors["nothing"]
    else:
        del told["digest"]
    save_file(tensors, tmp_path / "edited.safetensors", metadata=told)
    with pytest.raises(FormatError, match="is damaged or was edited"):
        read_weights(tmp_path / "edited.safetensors")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"format": "pt"}, "is a safetensors file of another program"),
        (None, "is a safetensors file of another program"),
        (
            {"exitwave": "weights", "format": "2", "version": "9.9"},
            r"in format 2, written by exitwave 9\.9.*update exitwave",
        ),
        ({"exitwave": "weights", "format": "two"}, "its format is 'two'"),
        ({"exitwave": "weights", "format": "1"}, "is damaged or was edited"),
        ({"exitwave": "soup", "format": "1"}, "holds exitwave soup; expected exitwave weights"),
    ],
)
def test_foreign_and_newer_files_are_refused_by_name(tmp_path, told, message):
    save_file({"a": torch.ones(2)}, tmp_path / "other.safetensors", metadata=told)
    with pytest.raises(FormatError, match=message):
        read_weights(tmp_path / "other.safetensors")


class Bomb:
    """Unpickling this leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("ending", [".pt", ".pth", ".ckpt", ".safetensors"])
@pytest.mark.parametrize("old", [False, True])
def test_a_pickle_is_named_and_not_opened(tmp_path, ending, old):
    path, trace = tmp_path / f"net{ending}", tmp_path / "exploded"
    torch.save({"a": torch.ones(2), "bomb": Bomb(trace)}, path, _use_new_zipfile_serialization=not old)
    for read in (read_weights, read_spec, read_record, read_training):
        with pytest.raises(
            FormatError, match=r"a (PyTorch file, which holds a )?pickle.*it was not opened.*exitwave train"
        ):
            read(path)
    assert not is_weights(path)
    assert not trace.exists()
    path.write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(FormatError, match="pickle"):
        read_weights(path)
    assert not trace.exists()


def test_other_things_are_named(tmp_path):
    with h5py.File(tmp_path / "keras.h5", "w") as file:
        file["a"] = 1
    np.savez(tmp_path / "a.npz", a=np.ones(2))
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "words").write_text("some words that are longer than a header")
    (tmp_path / "a.onnx").write_bytes(b"\x08\x07\x12\x07pytorch" + bytes(50))
    named = {
        "keras.h5": "an HDF5 file",
        "a.npz": "a ZIP archive",
        "net.keras": "a Keras file",
        "empty": "is empty",
        "words": "is no safetensors file",
        "a.onnx": "is no safetensors file",
        "nowhere": "does not exist",
    }
    for name, words in named.items():
        with pytest.raises(FormatError, match=words):
            read_weights(tmp_path / name)


def test_where_nothing_can_be_written_is_told(tmp_path):
    weights = Weights(tensors=TENSORS, spec=SPEC, record=RECORD)
    with pytest.raises(InputError, match="is a folder"):
        write_weights(tmp_path, weights)
    with pytest.raises(InputError, match="does not exist"):
        write_weights(tmp_path / "nowhere" / "a.safetensors", weights)


FULL = """
import resource, sys, torch
from exitwave.io.weights import Weights, write_weights
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
write_weights(sys.argv[1], Weights(tensors={"big": torch.zeros(10**6)}, spec={}, record={}))
"""


def test_a_full_disk_leaves_the_old_file(good, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(good.read_bytes())
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "ExitwaveError" in done.stderr
    assert unchanged(read_weights(path).tensors)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
