"""Networks learn from scans, are kept without a pickle, and go on after Ctrl-C as if nothing had been."""

import json
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from exitwave.data import prepare
from exitwave.data.errors import DoubtfulImageWarning, FormatError, InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.scan import Scan
from exitwave.io.weights import read_record, read_training, read_weights, write_weights
from exitwave.physics.fourier import fourier_shift
from exitwave.problems.initial_guess import first_guess
from exitwave.running.pose import pose
from exitwave.running.reconstruct import reconstruct
from exitwave.running.train import TrainingProgress, TrainingRun, train, training_data
from exitwave.solvers.base import Solver
from exitwave.solvers.chain import chain
from exitwave.solvers.ensemble import ensemble
from exitwave.solvers.neural.ptychonn import PtychoNN
from exitwave.solvers.neural.ptychopinn import PtychoPINN
from exitwave.solvers.neural.reconstruction_network import ReconstructionNetwork
from exitwave.solvers.neural.training_examples import TrainingExample
from exitwave.solvers.ptychography.pie import RPIE
from exitwave.solvers.refined import Refined
from exitwave.solvers.spec import from_spec
from exitwave.training.log import read_log
from scans import known_scan

SMALL = PtychoPINN(epochs=3, stages=2, group=4, batch=16)
KNOWN = known_scan(side=6)
OTHER = known_scan(side=6, seed=9)
PROBE = KNOWN.truth.probe


class Pressed:
    """Ctrl-C after so many steps."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, taught: TrainingProgress) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def pinn(folder: Path, solver: PtychoPINN = SMALL, *, probe=PROBE, watch=None, **run) -> PtychoPINN:
    example = TrainingExample(scan=KNOWN.scan, probe=probe)
    return train(solver, [example], save=folder, run=TrainingRun(**run), watch=watch)


def seen(*scans: Scan, probe=PROBE) -> list[TrainingExample]:
    """Scans to learn from that have one probe."""
    return [TrainingExample(scan=scan, probe=probe) for scan in scans]


def labelled(label: PtychoEstimate) -> list[TrainingExample]:
    return [TrainingExample(scan=KNOWN.scan, label=label)]


def epochs_of(folder: Path) -> list[dict]:
    """The log but for the time it took."""
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in read_log(folder)]


def test_a_kept_network_is_the_trained_one_bit_for_bit(tmp_path: Path) -> None:
    shown: list[TrainingProgress] = []
    solver = pinn(tmp_path / "pinn", watch=shown.append)
    known_as = replace(SMALL, weights=str(tmp_path / "pinn"))
    assert solver == known_as
    # What it makes of its own scan in memory, and when it was read back from its folder.
    in_memory = shown[-1].preview().object
    assert torch.equal(reconstruct(KNOWN.scan, solver, probe=PROBE).estimate.object, in_memory.cpu())
    assert torch.equal(
        reconstruct(KNOWN.scan, from_spec(str(tmp_path / "pinn")), probe=PROBE).estimate.object, in_memory
    )


@pytest.mark.parametrize("after", [1, 2, 4, 8])
def test_a_training_that_goes_on_ends_exactly_as_one_without_a_break(tmp_path: Path, after: int) -> None:
    pinn(tmp_path / "whole")
    pinn(tmp_path / "broken", watch=Pressed(after))
    record = read_record(tmp_path / "broken")
    assert record["ending"] == f"interrupted in epoch {record['epochs'] + 1}"
    read_training(tmp_path / "broken" / "training.safetensors")
    pinn(tmp_path / "broken", resume=True)
    whole, resumed = (read_weights(tmp_path / name) for name in ("whole", "broken"))
    assert set(whole.tensors) == set(resumed.tensors)
    assert all(torch.equal(value, resumed.tensors[name]) for name, value in whole.tensors.items())
    assert epochs_of(tmp_path / "whole") == epochs_of(tmp_path / "broken")
    assert not (tmp_path / "broken" / "training.safetensors").exists()
    assert resumed.record["ending"] == "finished"


def test_an_interrupted_network_is_doubted(tmp_path: Path) -> None:
    pinn(tmp_path, watch=Pressed(1))
    with pytest.warns(DoubtfulImageWarning, match="was interrupted in epoch 1: go on with it"):
        result = reconstruct(KNOWN.scan, from_spec(str(tmp_path)), probe=PROBE)
    assert len(result.provenance["warnings"]) == 1


def test_groups_unlike_those_trained_on_are_doubted(tmp_path: Path) -> None:
    pinn(tmp_path)
    with pytest.warns(DoubtfulImageWarning, match="groups are of 1 frames, but .* on groups of 4; take --group"):
        reconstruct(KNOWN.scan, from_spec({"name": str(tmp_path), "group": 1}), probe=PROBE)


def test_a_finished_training_is_neither_repeated_nor_overwritten(tmp_path: Path) -> None:
    first = pinn(tmp_path)
    kept = (tmp_path / "weights.safetensors").read_bytes()

    def never(taught: TrainingProgress) -> None:
        raise AssertionError("it trained again")

    assert pinn(tmp_path, resume=True, watch=never) == first
    with pytest.raises(InputError, match="holds a trained network; choose another folder"):
        pinn(tmp_path)
    with pytest.raises(InputError, match=r"finished training with another epochs: 3 \(here 5\)"):
        pinn(tmp_path, replace(SMALL, epochs=5), resume=True)
    assert (tmp_path / "weights.safetensors").read_bytes() == kept


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"seed": 1}, "seed: 0"),
        ({"probe": PROBE.flip(-1) * torch.linspace(0.2, 1, 32)}, "another probe for scan 1"),
        ({"solver": replace(SMALL, learning_rate=1e-4)}, "learning_rate: "),
    ],
    ids=["seed", "probe", "option"],
)
def test_another_training_is_not_gone_on_with(tmp_path: Path, change: dict, told: str) -> None:
    pinn(tmp_path, watch=Pressed(2))
    kept = (tmp_path / "training.safetensors").read_bytes()
    with pytest.raises(InputError, match=told):
        pinn(tmp_path, resume=True, **change)
    with pytest.raises(InputError, match="holds an unfinished training"):
        pinn(tmp_path)
    assert (tmp_path / "training.safetensors").read_bytes() == kept


def test_a_training_can_start_from_earlier_weights(tmp_path: Path) -> None:
    first = pinn(tmp_path / "first")
    pinn(tmp_path / "further", replace(SMALL, weights=first.weights))
    scratch, further = epochs_of(tmp_path / "first"), epochs_of(tmp_path / "further")
    assert further[0]["loss"] < scratch[0]["loss"]
    assert read_record(tmp_path / "further")["ending"] == "finished"
    with pytest.raises(InputError, match=r"stages 2 \(here 3\)"):
        pinn(tmp_path / "other", replace(SMALL, weights=first.weights, stages=3))


def test_a_folder_of_a_training_holds_no_pickle(tmp_path: Path) -> None:
    pinn(tmp_path, watch=Pressed(7))
    for path in tmp_path.iterdir():
        assert not zipfile.is_zipfile(path)
        start = path.read_bytes()[:9]
        # The length of a safetensors header may begin with any byte.
        assert start[:1] != b"\x80" or start[8:] == b"{"
    assert {path.name for path in tmp_path.iterdir()} == {"weights.safetensors", "training.safetensors", "log.jsonl"}
    for line in (tmp_path / "log.jsonl").read_text().splitlines():
        json.loads(line)


def moved(known: PtychoEstimate, by: int) -> PtychoEstimate:
    """The same estimate on a canvas that has so many pixels more above and left, and some fewer below."""
    obj = torch.nn.functional.pad(known.object, (by, 3, by, -1 if by > 0 else 5), value=0.3)
    return replace(known, object=obj, positions_px=known.positions_px + by)


@pytest.mark.parametrize("by", [0, 7, -2])
def test_a_label_lands_in_place_whatever_the_margin_of_its_canvas(by: int) -> None:
    solver = PtychoNN(network="unet", group=4)
    (lesson,) = training_data(solver, labelled(moved(KNOWN.truth, by)))
    assert lesson.label is not None
    # A noise-free scan of an asymmetric object: no pixel elsewhere, no other scale, and the patterns are others.
    assert lesson.problem.residual(replace(lesson.x, object=lesson.label)) < 1e-8
    shifted = lesson.label.roll(1, dims=-1)
    assert lesson.problem.residual(replace(lesson.x, object=shifted)) > 1e-4


def test_a_label_lands_in_place_between_pixels() -> None:
    by = torch.tensor([[0.4, -0.3]])
    known = replace(
        KNOWN.truth, object=fourier_shift(KNOWN.truth.object, by), positions_px=KNOWN.truth.positions_px + by.double()
    )
    (lesson,) = training_data(PtychoNN(network="unet", group=4), labelled(known))
    (exact,) = training_data(PtychoNN(network="unet", group=4), labelled(KNOWN.truth))
    assert lesson.label is not None
    assert exact.label is not None
    inner = (0, slice(12, -12), slice(12, -12))
    assert float((lesson.label - exact.label)[inner].abs().max()) < 0.02


def test_labels_of_other_frames_are_refused() -> None:
    def lessons(known: PtychoEstimate) -> None:
        training_data(PtychoNN(), labelled(known))

    truth = KNOWN.truth
    with pytest.raises(InputError, match="has 35 frames but the scan 36; give a result or truth of the same frames"):
        lessons(replace(truth, positions_px=truth.positions_px[1:]))
    with pytest.raises(InputError, match=r"stand .* pixels from those of the scan"):
        lessons(replace(truth, positions_px=2 * truth.positions_px))
    with pytest.raises(InputError, match="of frames of 16 x 32 pixels but these are 32 x 32"):
        lessons(replace(truth, probe=truth.probe[:, :16]))
    spoilt = truth.object.clone()
    spoilt[0, 3, 3] = float("nan")
    with pytest.raises(InputError, match="not finite"):
        lessons(replace(truth, object=spoilt))


def test_a_label_of_another_scan_on_the_same_positions_is_doubted() -> None:
    for wrong in (OTHER.truth.object, KNOWN.truth.object.flip(-1), torch.ones_like(KNOWN.truth.object)):
        with pytest.warns(DoubtfulImageWarning, match=r"no better than an empty sample \(residual .*another scan"):
            training_data(PtychoNN(), labelled(replace(KNOWN.truth, object=wrong)))


def test_a_right_label_is_not_doubted() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training_data(PtychoNN(), labelled(KNOWN.truth))


def test_one_training_takes_scans_and_frames_of_any_size(tmp_path: Path) -> None:
    scans = [known_scan(frame=64, side=4, step=12.0), known_scan(frame=48, side=5, step=9.0, seed=3)]
    examples = [TrainingExample(scan=s.scan, probe=s.truth.probe) for s in scans]
    taught = train(replace(SMALL, epochs=1), examples, save=tmp_path)
    assert read_record(tmp_path)["frame_shapes"] == [[48, 48], [64, 64]]
    for known in scans:
        result = reconstruct(known.scan, taught, probe=known.truth.probe)
        assert "warnings" not in result.provenance
        assert result.residual < 0.5


def test_the_encoder_takes_one_size_and_one_probe_by_name(tmp_path: Path) -> None:
    solver = PtychoPINN(network="encoder", group=4, width=0.25)
    wide = known_scan(frame=64, side=4)
    with pytest.raises(InputError, match=r"frames of one size, but these are .* 32 x 32, .* 64 x 64"):
        train(solver, [KNOWN.scan, wide.scan], save=tmp_path)
    flat = PROBE.abs().to(PROBE.dtype)
    with pytest.raises(InputError, match="is another than that of"):
        train(solver, seen(KNOWN.scan) + seen(OTHER.scan, probe=flat), save=tmp_path)
    assert not list(tmp_path.iterdir())


ENCODER = PtychoPINN(network="encoder", epochs=1, group=4, width=0.25)


def test_the_encoder_takes_scans_of_one_arrangement_by_name(tmp_path: Path) -> None:
    near, far = (known_scan(side=6, jitter=0.0, step=step) for step in (8.0, 12.0))
    with pytest.raises(InputError, match=r"frames of a group of .* stand up to 0\.\d+ steps from where they stand in"):
        train(ENCODER, seen(near.scan, far.scan), save=tmp_path)
    with pytest.raises(InputError, match=r"^made in a test: \d+ % of the frames stand in no group of 4"):
        train(ENCODER, seen(known_scan(side=6, jitter=0.45).scan), save=tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_arrangement_unlike_that_trained_on_is_doubted(tmp_path: Path) -> None:
    near, far, jittered = (known_scan(side=6, jitter=j, step=s) for j, s in ((0.0, 8.0), (0.0, 12.0), (0.15, 8.0)))
    taught = train(ENCODER, seen(near.scan), save=tmp_path)
    kept = np.asarray(read_record(tmp_path)["arrangement"])
    assert np.allclose(kept, [[-4, -4], [-4, 4], [4, -4], [4, 4]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reconstruct(near.scan, taught, probe=PROBE)
    with pytest.warns(DoubtfulImageWarning, match=r"frames of a group stand up to 0\.35 steps from where those stood"):
        reconstruct(far.scan, taught, probe=PROBE)
    with pytest.warns(
        DoubtfulImageWarning, match=r"\d+ % of the frames stand in no group of 4 that is arranged like the others"
    ):
        reconstruct(jittered.scan, taught, probe=PROBE)


def of_before(folder: Path) -> None:
    """Make a trained network one of 0.1.0, which had no word for its groups: neighbours."""
    kept = read_weights(folder)
    spec = {option: value for option, value in kept.spec.items() if option != "grouping"}
    record = {key: value for key, value in kept.record.items() if key != "arrangement"}
    # It wrote the encoder under two names, and its options beside those of the solver.
    network = spec.pop("network")
    spec |= {"network": network.pop("name"), "stages": 2, "warm_start_epochs": 5, **network}
    spec.pop("warm_start")
    spec.pop("whole_frames", None)
    twice = {n.replace(".parts.0.", ".network."): v for n, v in kept.tensors.items() if spec["network"] == "encoder"}
    write_weights(
        folder / "weights.safetensors", replace(kept, tensors={**kept.tensors, **twice}, spec=spec, record=record)
    )


@pytest.mark.parametrize("network", ["unet", "encoder"])
def test_a_network_of_before_groups_as_it_was_trained(tmp_path: Path, network: Literal["unet", "encoder"]) -> None:
    fresh = PtychoPINN(network=network, epochs=1, group=4, width=0.25, grouping="neighbours")
    taught = train(fresh, seen(KNOWN.scan), save=tmp_path)
    now = reconstruct(KNOWN.scan, taught, probe=PROBE).estimate.object
    of_before(tmp_path)
    before = from_spec(str(tmp_path))
    assert before == taught
    assert torch.equal(reconstruct(KNOWN.scan, before, probe=PROBE).estimate.object, now)
    # The same training is known as such.
    assert train(fresh, seen(KNOWN.scan), save=tmp_path, run=TrainingRun(resume=True)) == taught


def test_weights_that_learned_from_neighbours_are_not_shown_clusters(tmp_path: Path) -> None:
    near = known_scan(side=6, jitter=0.0)
    taught = train(replace(ENCODER, grouping="neighbours"), seen(near.scan), save=tmp_path)
    with pytest.raises(InputError, match=r"grouping 'neighbours' \(here 'clusters'\)"):
        reconstruct(near.scan, replace(taught, grouping="auto"), probe=PROBE)


def test_a_scan_too_small_for_a_group_is_named(tmp_path: Path) -> None:
    few = prepare.select(KNOWN.scan, torch.arange(3))
    with pytest.raises(InputError, match="has 3 frames, less than one group of 4"):
        train(SMALL, [KNOWN.scan, few], save=tmp_path)


def held_out_loss(solver: PtychoPINN, network: ReconstructionNetwork) -> float:
    """Of frames that no network here has trained on."""
    lessons = training_data(solver, seen(OTHER.scan))
    scenes = solver.training_task(lessons, 0)
    with torch.no_grad():
        loss, _ = scenes.loss(network, torch.arange(len(scenes)), held_out=False, seed=(0,))
    return float(loss)


def test_a_network_learns_what_holds_for_another_sample(tmp_path: Path) -> None:
    fresh = replace(SMALL, epochs=20, learning_rate=5e-3)
    taught = train(fresh, seen(KNOWN.scan), save=tmp_path)
    before, after = (held_out_loss(s, s.made((32, 32), 0)) for s in (fresh, taught))
    assert after < 0.7 * before


def test_missing_weights_are_told_from_unfinished_ones(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"holds no weights\.safetensors"):
        from_spec(str(tmp_path))
    pinn(tmp_path, watch=Pressed(1))
    (tmp_path / "weights.safetensors").unlink()
    with pytest.raises(FormatError, match="holds an unfinished training; go on with it: exitwave train"):
        from_spec(str(tmp_path))


def test_long_epochs_are_saved_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exitwave.running.train.CHECKPOINT_SECONDS", 0.0)
    found: list[int] = []

    def look(taught: TrainingProgress) -> None:
        state = read_training(tmp_path / "training.safetensors")
        found.append(int(state.tensors["course.numbers"][0]))

    pinn(tmp_path, replace(SMALL, epochs=1), watch=look)
    assert found == list(range(1, len(found) + 1))
    assert len(found) > 1


def test_a_scan_that_is_refused_is_named(tmp_path: Path) -> None:
    dark = replace(OTHER.scan, patterns=torch.zeros(36, 32, 32), provenance={"file": "/data/dark.cxi"})
    with pytest.raises(InputError, match=r"^dark\.cxi: every frame is empty"):
        train(SMALL, seen(KNOWN.scan, dark), save=tmp_path)


@pytest.mark.parametrize(
    "around",
    [
        lambda inner: chain(RPIE(epochs=1), inner),
        lambda inner: ensemble(inner, size=2),
        lambda inner: Refined(solver=inner, refine_brightness=True),
        lambda inner: chain(Refined(solver=inner, refine_positions=True), ensemble(inner, size=2)),
        # One doubt, however many stages have it.
        lambda inner: chain(inner, inner),
    ],
    ids=["chain", "ensemble", "refined", "nested", "twice"],
)
def test_doubts_reach_the_result_from_inside_other_solvers(around: Callable[[Solver], Solver]) -> None:
    # An even probe is its own twin, so that single frames are ambiguous.
    probe = PROBE.abs().to(PROBE.dtype)
    inner = PtychoPINN(epochs=1, stages=1, group=1, learning_rate=1e-4)
    solver = around(inner)
    problem = pose(KNOWN.scan, margin_px=solver.margin_px)
    (doubt,) = set(solver.warnings(problem, first_guess(problem, probe=probe)))
    assert "cannot tell the sample from its mirror image" in doubt


def test_python_warns_once_and_keeps_the_doubt() -> None:
    solver = chain(*[PtychoPINN(epochs=1, stages=1, group=1)] * 2)
    with pytest.warns(DoubtfulImageWarning) as told:
        result = reconstruct(KNOWN.scan, solver, probe=PROBE.abs().to(PROBE.dtype))
    assert result.provenance["warnings"] == [str(warning.message) for warning in told]
    assert len(told) == 1
    assert told[0].filename == __file__


def test_nothing_is_kept_where_nothing_is_doubtful() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = reconstruct(KNOWN.scan, replace(SMALL, epochs=1), probe=PROBE)
    assert "warnings" not in result.provenance
