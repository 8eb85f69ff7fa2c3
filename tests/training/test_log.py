"""The log of a training: a line an epoch, whole after a crash and after going on."""

import builtins
import json
import math

import pytest

from exitwave.data.errors import InputError
from exitwave.training.log import TrainingLog, read_log
from exitwave.training.trainer import Epoch


def epoch_of(number: int) -> Epoch:
    return Epoch(
        epoch=number, step=10 * number, loss=1 / number, held_out_loss=math.nan, learning_rate=1e-3, variation=0.5
    )


def test_an_epoch_is_a_line_of_json(tmp_path):
    log = TrainingLog(tmp_path)
    for number in (1, 2):
        log.write(epoch_of(number))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(entry["epoch"], entry["step"], entry["loss"]) for entry in lines] == [(1, 10, 1.0), (2, 20, 0.5)]
    assert lines[0]["held_out_loss"] is None
    assert 0 <= lines[0]["seconds"] <= lines[1]["seconds"]


def test_going_on_drops_what_is_trained_again(tmp_path):
    log = TrainingLog(tmp_path)
    for number in (1, 2, 3):
        log.write(epoch_of(number))
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"epoch": 4, "lo')
    again = TrainingLog(tmp_path, done=2)
    again.write(epoch_of(3))
    entries = read_log(tmp_path)
    assert [entry["epoch"] for entry in entries] == [1, 2, 3]
    assert entries[2]["seconds"] >= entries[1]["seconds"]
    TrainingLog(tmp_path)
    assert read_log(tmp_path) == []


def test_other_processes_write_nothing(tmp_path):
    TrainingLog(tmp_path, rank=1, tensorboard=True).write(epoch_of(1))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        TrainingLog(tmp_path / "nowhere")


def test_tensorboard_gets_the_same_numbers(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = TrainingLog(tmp_path, tensorboard=True)
    for number in (1, 2):
        log.write(epoch_of(number))
    log.close()
    board = accumulators.EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [(event.step, event.value) for event in board.Scalars("loss")] == [(1, 1.0), (2, 0.5)]
    assert "held_out_loss" not in board.Tags()["scalars"]


def test_the_extra_is_named_where_tensorboard_is_not_installed(tmp_path, monkeypatch):
    usual = builtins.__import__

    def without(name, *more):
        if name.startswith("torch.utils.tensorboard"):
            raise ModuleNotFoundError(name)
        return usual(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'exitwave\[tensorboard\]'"):
        TrainingLog(tmp_path, tensorboard=True)
    assert list(tmp_path.iterdir()) == []
