"""Train a network on scans and keep it: the driver around the training loop, with checkpoints, previews and interruption."""

import json
import math
import platform
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, cast

from jaxtyping import Complex
from torch import Tensor

from exitwave.data.errors import DoubtfulImageWarning, InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.scan import Scan
from exitwave.io.atomic import require_writable
from exitwave.io.hdf5_values import json_text
from exitwave.io.weights import (
    CHECKPOINT,
    IN_FOLDER,
    Weights,
    read_record,
    read_spec,
    read_training,
    write_training,
    write_weights,
)
from exitwave.problems.initial_guess import first_estimate
from exitwave.problems.ptychography import Problem
from exitwave.problems.setup import Setup
from exitwave.running.pose import choose_device, pose
from exitwave.solvers.neural.compatibility import ALIKE, SAME_PLACE, overlap, settled, strays_told, trained_on, unlike
from exitwave.solvers.neural.labels import label_on
from exitwave.solvers.neural.network_solver import NetworkSolver, set_gain
from exitwave.solvers.neural.reconstruction_network import ReconstructionNetwork
from exitwave.solvers.neural.training_data import TrainingScan
from exitwave.solvers.requirements import require_solved
from exitwave.solvers.spec import to_spec
from exitwave.training.engine import fabric_for
from exitwave.training.log import TrainingLog
from exitwave.training.state import load
from exitwave.training.trainer import Epoch, Progress, Trainer

T = TypeVar("T", bound=NetworkSolver)
CHECKPOINT_SECONDS = 600.0
"""A training that is killed loses at most the work of so long, however long its epochs are."""
SAME_PROBE = 0.999
"""Overlap of a probe with itself, when it was guessed again with another number of threads."""
PREDICTION_OPTIONS = ("finetune", "frames_per_batch", "runtime", "prediction_precision")
"""Options that have no part in training."""


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """Where a training stands after a step, for those who watch."""

    progress: Progress
    epochs: int
    """In all."""
    preview: Callable[[], PtychoEstimate]
    """What the network makes of the first scan now; takes as long as a reconstruction with it."""


def train(
    solver: T,
    scans: Sequence[Scan],
    *,
    save: str | Path,
    probes: Sequence[Complex[Tensor, "mode y x"]] = (),
    labels: Sequence[PtychoEstimate] = (),
    seed: int = 0,
    device: str = "auto",
    devices: int = 1,
    memory: str | int | None = None,
    resume: bool = False,
    checkpoint_every: int = 5,
    tensorboard: bool = False,
    watch: Callable[[TrainingProgress], None] | None = None,
) -> T:
    """Train a network on scans and save it in the folder `save`; returns the same solver with these weights.

    `probes` are one for all scans or one each, in their order; without any they are those of the labels, or guessed from
    the data, which is less good. `labels` are known images of the scans, for methods that learn from labels. Ctrl-C keeps
    what was learned and returns; with `resume` a later call goes on exactly, and does nothing where the same training is
    finished. `devices` GPUs share the work. Raises InputError where scans, probes and labels do not go together, or the
    folder holds another training or cannot be written.
    """
    folder = Path(save)
    fabric = fabric_for(choose_device(device), solver.precision, devices)
    given = training_scans(solver, scans, probes, labels, seed=seed, device=device, memory=memory)
    network = solver.made(scans[0].frame_shape, seed)
    if solver.weights is None:
        set_gain(network, given)
    identity = _identity(solver, given, seed)
    if resume and _is_finished(folder, identity):
        return _trained(solver, folder)
    taught = solver.training_task(given, seed)
    _prepare(folder, resume=resume)
    course = Trainer(
        network,
        taught,
        replace(solver.training_settings, epochs=solver.epochs),
        fabric=fabric,
        seed=seed,
        state=_saved_state(folder / CHECKPOINT, identity, given) if resume else None,
    )
    log = TrainingLog(folder, done=course.epochs_done, tensorboard=tensorboard, rank=fabric.global_rank)
    keeper = TrainingFolder(folder, solver, given, network, course, identity, writes=fabric.global_rank == 0)
    try:
        for epoch in course.run(_watched(watch, keeper) if keeper.writes else None):
            log.write(epoch)
            keeper.after(epoch, every=checkpoint_every)
        keeper.finish("finished")
        # One that leaves while another still talks to it may abort.
        fabric.barrier()
    except KeyboardInterrupt:
        keeper.checkpoint()
        keeper.finish(f"interrupted in epoch {course.epochs_done + 1}")
    finally:
        log.close()
    return _trained(solver, folder)


def _trained(solver: T, folder: Path) -> T:
    return replace(solver, weights=str(folder.absolute()), finetune=0)


def _identity(solver: NetworkSolver, given: Sequence[TrainingScan], seed: int) -> dict[str, Any]:
    """What a training that goes on from another must have in common with it, beside the probes."""
    labels = [None if x.label is None else f"{float(x.label.abs().mean()):.4g}" for x in given]
    scans = [lesson.problem.fingerprint() for lesson in given]
    return {"solver": to_spec(solver), "scan_fingerprints": scans, "labels": labels, "seed": seed}


def training_scans(
    solver: NetworkSolver,
    scans: Sequence[Scan],
    probes: Sequence[Complex[Tensor, "mode y x"]] = (),
    labels: Sequence[PtychoEstimate] = (),
    *,
    seed: int = 0,
    device: str = "auto",
    memory: str | int | None = None,
) -> list[TrainingScan]:
    """Scans made ready to learn from. Raises InputError, by the scan's name, where something does not go together.

    Warns (DoubtfulImageWarning) where a label seems to be that of another scan.
    """
    _check(solver, scans, probes, labels)
    made: list[TrainingScan] = []
    for number, scan in enumerate(scans):
        name = name_of(scan, number)
        probe = probes[number % len(probes)] if probes else labels[number].probe if labels else None
        try:
            require_solved(solver, scan)
            posed = pose(scan, Setup(seed=seed, device=device, memory=memory), solver=solver)
            problem = cast(Problem, posed)
        except InputError as error:
            raise type(error)(f"{name}: {error}") from error
        label = label_on(problem, labels[number], name) if labels else None
        x = first_estimate(problem, probe=probe)
        if label is not None:
            _warn_of_another(problem, label, labels[number].probe, name)
            label = _scaled(label, labels[number], x)
        made.append(solver.training_scan(problem, x, label=label, seed=seed))
    _check_probes(solver, scans, made)
    _check_arrangements(solver, scans, made)
    return made


def _warn_of_another(problem: Problem, label: Complex[Tensor, "1 Y X"], probe: Tensor, name: str) -> None:
    """Nothing but their patterns tells scans on the same positions apart."""
    empty = first_estimate(problem, probe=probe)
    found, nothing = (
        problem.residual(replace(empty, probe=probe.to(empty.probe), object=label)),
        problem.residual(empty),
    )
    # Written so that NaN is told, too.
    if not found < nothing:
        warnings.warn(
            f"the label of {name} explains its patterns no better than an empty sample (residual {found:.3g}, empty "
            f"{nothing:.3g}): it may be that of another scan, or turned otherwise than the frames; below 1000 photons a frame it "
            "may be right nevertheless",
            DoubtfulImageWarning,
            stacklevel=4,
        )


def _scaled(label: Complex[Tensor, "1 Y X"], known: PtychoEstimate, x: PtychoEstimate) -> Complex[Tensor, "1 Y X"]:
    """The label as it is seen with the photons that the probe was given."""
    theirs, ours = (float(probe.abs().double().square().sum()) for probe in (known.probe, x.probe))
    return label * math.sqrt(theirs / max(ours, 1e-30))


def name_of(scan: Scan, number: int) -> str:
    """What a scan is called in messages: its file, or its place."""
    path = scan.provenance.get("file")
    return Path(str(path)).name if path else f"scan {number + 1}"


def _check(
    solver: NetworkSolver, scans: Sequence[Scan], probes: Sequence[Tensor], labels: Sequence[PtychoEstimate]
) -> None:
    if not scans:
        raise InputError("there is nothing to train on; give at least one scan")
    if len(probes) not in (0, 1, len(scans)):
        raise InputError(
            f"{len(probes)} probes for {len(scans)} scans; give one for all, or one for each in their order"
        )
    if solver.learns_from_labels and len(labels) != len(scans):
        raise InputError(
            f"{solver.name} learns from known images: {len(labels)} labels for {len(scans)} scans; give each scan a result or "
            "truth of the same frames (--labels)"
        )
    if labels and not solver.learns_from_labels:
        raise InputError(f"{solver.name} learns without labels; leave them out, or train ptychonn")
    for number, scan in enumerate(scans):
        if len(scan) < solver.group:
            raise InputError(
                f"{name_of(scan, number)} has {len(scan)} frames, less than one group of {solver.group}; lower group, or leave the "
                "scan out"
            )
    if solver.network == "encoder" and len({scan.frame_shape for scan in scans}) > 1:
        each = ((name_of(scan, n), *scan.frame_shape) for n, scan in enumerate(scans))
        told = ", ".join(f"{name} {height} x {width}" for name, height, width in each)
        raise InputError(
            f"the encoder takes frames of one size, but these are {told}; make them equal with --prepare crop=64 (or bin, pad), "
            "or train them apart"
        )


def _check_probes(solver: NetworkSolver, scans: Sequence[Scan], lessons: Sequence[TrainingScan]) -> None:
    """The encoder sees patterns alone and cannot know which probe made them."""
    first = lessons[0].x.probe[0]
    for number, lesson in enumerate(lessons[1:], start=1):
        probe = lesson.x.probe[0]
        if solver.network == "encoder" and (alike := overlap(first, probe)) < ALIKE:
            raise InputError(
                f"the probe of {name_of(scans[number], number)} is another than that of {name_of(scans[0], 0)} (overlap "
                f"{alike:.3f}, {ALIKE} is needed): the encoder sees patterns alone; train them apart, or take --network unet, "
                "which is told the probe"
            )


def _check_arrangements(solver: NetworkSolver, scans: Sequence[Scan], lessons: Sequence[TrainingScan]) -> None:
    """Nor can it know where frames are."""
    first = None
    for number, lesson in enumerate(lessons):
        name = name_of(scans[number], number)
        try:
            stray = strays_told(solver.groups, lesson.problem)
            here = solver.groups.arrangement(lesson.problem.positions_px)
        except InputError as error:
            raise type(error)(f"{name}: {error}") from error
        if stray:
            warnings.warn(f"{name}: {stray}", DoubtfulImageWarning, stacklevel=4)
        if here is None or solver.network != "encoder":
            continue
        first = here if first is None else first
        if (away := unlike(here, first)) > SAME_PLACE:
            raise InputError(
                f"frames of a group of {name} stand up to {away:.2g} steps from where they stand in {name_of(scans[0], 0)} "
                f"({SAME_PLACE} at most is needed): the encoder is not told where frames are; train them apart, or take "
                "--network unet, which is told"
            )


def _prepare(folder: Path, *, resume: bool) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be made ({error.strerror}); choose another one") from error
    require_writable(folder / IN_FOLDER)
    if resume:
        return
    if (folder / CHECKPOINT).exists():
        raise InputError(
            f"{folder} holds an unfinished training; go on with it (--resume), remove {CHECKPOINT} there, or choose another folder"
        )
    if (folder / IN_FOLDER).exists():
        raise InputError(f"{folder} holds a trained network; choose another folder, or remove {IN_FOLDER} there")


def _is_finished(folder: Path, identity: dict[str, Any]) -> bool:
    """Whether this very training came to its end in the folder; InputError where another one did."""
    if not (folder / IN_FOLDER).is_file() or (folder / CHECKPOINT).exists():
        return False
    record = read_record(folder)
    if other := _other({"solver": read_spec(folder), **record}, identity):
        raise InputError(
            f"{folder} holds a finished training with another {other}; choose another folder, and start from the weights {folder} "
            "to train that network further"
        )
    return str(record.get("ending")) == "finished"


def _saved_state(path: Path, identity: dict[str, Any], lessons: Sequence[TrainingScan]) -> dict[str, Tensor] | None:
    """The state to go on from, if there is one; InputError where it is that of another training."""
    if not path.exists():
        return None
    saved = read_training(path)
    if other := _other(saved.record, identity):
        raise InputError(f"{path} is a training with another {other}; give the same, or choose another folder")
    kept = dict(saved.tensors)
    for number, lesson in enumerate(lessons):
        alike = overlap(lesson.x.probe[0].cpu(), kept.pop(f"probe.{number}"))
        if alike < SAME_PROBE:
            raise InputError(
                f"{path} is a training with another probe for scan {number + 1} (overlap {alike:.3f}); give the same, or choose "
                "another folder"
            )
    return kept


def _other(record: Mapping[str, Any], identity: Mapping[str, Any]) -> str:
    """What differs between two trainings, in words; nothing when they are the same."""
    for key, mine in identity.items():
        theirs, own = record.get(key), json.loads(json_text(mine))
        if key == "solver" and isinstance(theirs, dict):
            theirs, own = settled(cast("dict[str, Any]", theirs)), settled(own)
            # What has no part in training may change.
            ignored = {*PREDICTION_OPTIONS, "weights"}
            differing = [o for o in own if o not in ignored and theirs.get(o) != own[o]]
            if differing:
                return ", ".join(f"{o}: {theirs.get(o)} (here {own[o]})" for o in differing)
        elif theirs != own:
            return {"labels": "image as label", "scan_fingerprints": "scan or preparation"}.get(
                key, f"{key}: {theirs} (here {own})"
            )
    return ""


class TrainingFolder:
    """Writes what a training learned into its folder, and makes previews of it."""

    def __init__(
        self,
        folder: Path,
        solver: NetworkSolver,
        lessons: Sequence[TrainingScan],
        network: ReconstructionNetwork,
        course: Trainer,
        identity: dict[str, Any],
        *,
        writes: bool,
    ) -> None:
        self._folder, self._solver, self._lessons, self._course = folder, solver, lessons, course
        self._network, self._identity = network, identity
        self.writes = writes
        self._last: Epoch | None = None
        self._saved_s = time.monotonic()

    @property
    def epochs(self) -> int:
        """In all."""
        return self._solver.epochs

    def after(self, epoch: Epoch, *, every: int) -> None:
        """Keep what is due after an epoch."""
        self._last = epoch
        if epoch.epoch % every == 0 and epoch.epoch < self._solver.epochs:
            self.checkpoint()

    def after_step(self) -> None:
        """Keep what is due in the middle of a long epoch."""
        if time.monotonic() - self._saved_s > CHECKPOINT_SECONDS:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Save the state to go on from."""
        if self.writes:
            _, probes = trained_on(self._lessons)
            state = Weights(tensors=self._course.state() | probes, spec=to_spec(self._solver), record=self._identity)
            write_training(self._folder / CHECKPOINT, state)
            self._saved_s = time.monotonic()

    def finish(self, ending: str) -> None:
        """Save the network as it is now; the checkpoint goes when the training is finished."""
        if not self.writes:
            return
        record, probes = trained_on(self._lessons)
        last, arranged = self._last, self._solver.groups.arrangement(self._lessons[0].problem.positions_px)
        record |= {
            **{key: value for key, value in self._identity.items() if key != "solver"},
            "arrangement": None if arranged is None else arranged.tolist(),
            "ending": ending,
            "epochs": self._course.epochs_done,
            "loss": None if last is None else last.loss,
            "held_out_loss": None if last is None or last.held_out_loss != last.held_out_loss else last.held_out_loss,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {name: version(name) for name in ("exitwave", "torch")} | {"python": platform.python_version()},
        }
        tensors = {f"network.{name}": value for name, value in self._course.weights().items()} | probes
        spec = to_spec(replace(self._solver, weights=None))
        write_weights(self._folder / IN_FOLDER, Weights(tensors=tensors, spec=spec, record=record))
        if ending == "finished":
            (self._folder / CHECKPOINT).unlink(missing_ok=True)

    def preview(self) -> PtychoEstimate:
        """What the network makes of the first scan now."""
        lesson = self._lessons[0]
        load(self._network, self._course.weights())
        self._network.to(lesson.problem.device)
        return replace(lesson.x, object=self._solver.image(self._network, lesson.problem, lesson.x))


def _watched(watch: Callable[[TrainingProgress], None] | None, keeper: TrainingFolder) -> Callable[[Progress], None]:
    def after_step(progress: Progress) -> None:
        keeper.after_step()
        if watch is not None:
            watch(TrainingProgress(progress=progress, epochs=keeper.epochs, preview=keeper.preview))

    return after_step
