"""Training scans that are made when they are needed: quickly begun, few in memory, and gone on with exactly."""

import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.io.weights import read_record, read_weights
from exitwave.running.reconstruct import reconstruct
from exitwave.running.train import TrainingProgress, TrainingRun, train
from exitwave.solvers.neural.compatibility import MOST_PROBES, most_unlike
from exitwave.solvers.neural.network_solver import NetworkSolver
from exitwave.solvers.neural.ptychonn import PtychoNN
from exitwave.solvers.neural.ptychopinn import PtychoPINN
from exitwave.solvers.neural.trained_solver import TrainedSolver
from exitwave.solvers.neural.training_data import KEPT, TrainingScan
from exitwave.solvers.neural.training_examples import TrainingExample
from exitwave.training.log import read_log
from exitwave.training.source import JUDGES, TrainingSource
from scans import known_scan

SMALL = PtychoPINN(epochs=3, stages=1, group=4, batch=16, warm_start=None)

AS_IS = TrainingRun(as_is=True)
"""The examination of so many scans would take most of the time; it is tested in test_examined.py."""


class Made:
    """Makes scans by their number, and counts them."""

    def __init__(self, *, labels: bool = False) -> None:
        self.numbers: list[int] = []
        self.labels = labels

    def __call__(self, number: int) -> TrainingExample:
        self.numbers.append(number)
        known = known_scan(side=4, seed=number % 2**31)
        label = known.truth if self.labels else None
        return TrainingExample(scan=known.scan, probe=known.truth.probe, label=label)


def source(made: Made | None = None, *, examples: int | None = 10_000, **options) -> TrainingSource:
    return TrainingSource(
        make=made or Made(), examples=examples, **{"samples_per_epoch": 24, "draws_per_example": 4, **options}
    )


@pytest.mark.parametrize("examples", [10_000, None])
def test_a_large_source_begins_within_seconds_and_holds_few_scans(
    tmp_path: Path, examples: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, held, first = Made(), [], []
    alive = weakref.WeakSet[TrainingScan]()
    # Going through all objects for those that are alive would take most of the time.
    begin = TrainingScan.__init__

    def begun(scan: TrainingScan, **parts: Any) -> None:
        begin(scan, **parts)
        alive.add(scan)

    monkeypatch.setattr(TrainingScan, "__init__", begun)
    began_s = time.monotonic()

    def look(taught: TrainingProgress) -> None:
        first.append((time.monotonic() - began_s, len(made.numbers)))
        held.append(len(alive))

    solver = replace(SMALL, epochs=8)
    train(solver, source(made, examples=examples, draws_per_example=2), save=tmp_path, watch=look, run=AS_IS)
    seconds, makes = first[0]
    # Those that judge, and one for each group of the first step.
    assert makes <= JUDGES + 4
    assert seconds < 30
    trained = set(made.numbers[JUDGES:])
    assert len(trained) > 2 * KEPT
    assert JUDGES < max(held) <= JUDGES + KEPT
    assert trained.isdisjoint(range(JUDGES))
    # No scan is made again while it is in use.
    assert len(made.numbers) == JUDGES + len(trained)


def test_all_of_a_finite_source_are_seen_before_one_comes_again() -> None:
    of = source(examples=JUDGES + 30)
    order = [of.drawn(place, seed=3, rank=0) for place in range(90)]
    for passed in (order[:30], order[30:60], order[60:]):
        assert sorted(passed) == list(range(JUDGES, JUDGES + 30))
    assert order[:30] != order[30:60]
    assert order != [of.drawn(place, seed=4, rank=0) for place in range(90)]
    assert order != [of.drawn(place, seed=3, rank=1) for place in range(90)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    train(SMALL, source(), save=folder, run=AS_IS)
    return folder


@pytest.mark.parametrize("after", [2, 6, 8])
def test_a_training_from_a_source_goes_on_exactly(tmp_path: Path, uninterrupted: Path, after: int) -> None:
    left = after

    def press(taught: TrainingProgress) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt

    train(SMALL, source(), save=tmp_path, watch=press, run=AS_IS)
    taught = train(SMALL, source(), save=tmp_path, run=replace(AS_IS, resume=True))
    whole, resumed = (read_weights(folder) for folder in (uninterrupted, tmp_path))
    assert set(whole.tensors) == set(resumed.tensors)
    assert all(torch.equal(value, resumed.tensors[name]) for name, value in whole.tensors.items())
    losses = [[(e["loss"], e["held_out_loss"]) for e in read_log(folder)] for folder in (uninterrupted, tmp_path)]
    assert losses[0] == losses[1]
    known = known_scan(side=4, seed=77)
    assert "warnings" not in reconstruct(known.scan, taught, probe=known.truth.probe).provenance
    with pytest.raises(InputError, match="finished training with another source"):
        train(SMALL, source(samples_per_epoch=32), save=uninterrupted, run=replace(AS_IS, resume=True))


def test_a_network_is_taught_labels_from_a_source(tmp_path: Path) -> None:
    solver = PtychoNN(network="unet", group=4, batch=16, epochs=4, stages=1, warm_start=None)
    train(solver, source(Made(labels=True)), save=tmp_path, run=AS_IS)
    losses = [entry["held_out_loss"] for entry in read_log(tmp_path)]
    assert losses[-1] < losses[0]
    with pytest.raises(InputError, match="learns from known images"):
        train(solver, source(), save=tmp_path / "other")


def test_what_goes_wrong_in_a_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too small, for the first 8 only judge"):
        source(examples=8)
    with pytest.raises(InputError, match="found int to learn from; expected a scan, or TrainingExample"):
        train(SMALL, TrainingSource(make=lambda number: number), save=tmp_path)
    with pytest.raises(InputError, match="has 16 frames, less than one group of 25"):
        train(replace(SMALL, group=25), source(), save=tmp_path)


def test_few_probes_are_kept_of_many_scans_and_the_odd_one_is_among_them(tmp_path: Path) -> None:
    known = known_scan(side=4)
    probes = [known.truth.probe] * 20
    odd = known.truth.probe * torch.linspace(0.1, 1, 32)
    probes[11] = odd
    examples = [TrainingExample(scan=known.scan, probe=probe) for probe in probes]
    train(replace(SMALL, epochs=1), examples, save=tmp_path, run=AS_IS)
    kept = {name: value for name, value in read_weights(tmp_path).tensors.items() if name.startswith("probe.")}
    assert len(kept) == MOST_PROBES
    assert read_record(tmp_path)["frames"] == 20 * 16
    assert [torch.equal(probe, odd[0]) for probe in most_unlike([p[0] for p in probes], 2)] == [False, True]
    strayed = [
        torch.allclose(value / value.abs().max(), odd[0] / odd[0].abs().max(), atol=1e-5) for value in kept.values()
    ]
    assert sum(strayed) == 1


def test_every_trained_solver_keeps_to_the_protocol() -> None:
    from exitwave.solvers.registry import solvers

    trained = [cls for cls in solvers().values() if issubclass(cls, TrainedSolver)]
    assert {cls.name for cls in trained} >= {"autophasenn", "ptychonn", "ptychopinn"}
    for cls in trained:
        solver = cls()
        stored = {"name": cls.name, **({"grouping": "auto"} if issubclass(cls, NetworkSolver) else {})}
        assert solver.like_stored(stored).plain_options() == solver.plain_options()
        assert not {"weights", "name"} & set(solver.plain_options())
