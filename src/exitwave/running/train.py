"""Train a solver and keep it: the driver around the training loop, with checkpoints, previews and interruption."""

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from jaxtyping import Complex
from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass as validated
from torch import Tensor, nn

from exitwave.data.errors import InputError
from exitwave.data.estimate import Estimate
from exitwave.data.measurement import Measurement
from exitwave.io.atomic import require_writable
from exitwave.io.hdf5.values import json_text
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
from exitwave.problems.base import Problem
from exitwave.problems.setup import Memory, Seed, Setup
from exitwave.running.examined import examined
from exitwave.running.pose import choose_device, pose
from exitwave.solvers.neural.trained_solver import TrainedSolver
from exitwave.solvers.requirements import require_solved
from exitwave.solvers.spec import to_spec
from exitwave.training.engine import fabric_for
from exitwave.training.log import TrainingLog
from exitwave.training.source import TrainingSource
from exitwave.training.state import load
from exitwave.training.trainer import Epoch, Progress, Trainer

T = TypeVar("T", bound=TrainedSolver[Any, Any])
CHECKPOINT_SECONDS = 600.0
"""A training that is killed loses at most the work of so long, however long its epochs are."""


@validated(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class TrainingRun:
    """How to train, whatever is trained."""

    seed: Seed = 0
    """Seed of everything random; the same seed gives the same network."""
    device: str = "auto"
    """auto, cpu or cuda."""
    devices: PositiveInt = 1
    """GPUs that share the work."""
    memory: Memory | None = None
    """What each scan may hold, such as 8GB; frames that do not fit are read in every epoch."""
    as_is: bool = False
    """Take the scans as they are: without the examination, and what it cures or refuses."""
    resume: bool = False
    """Go on exactly where this training was interrupted; does nothing when it is finished."""
    checkpoint_every: PositiveInt = 5
    """Epochs between checkpoints; long epochs are saved every 10 minutes, too."""
    tensorboard: bool = False
    """Also write the losses for TensorBoard."""


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """Where a training stands after a step, for those who watch."""

    progress: Progress
    epochs: int
    """In all."""
    preview: Callable[[], Estimate]
    """What the network makes of the first example now; takes as long as a reconstruction with it."""
    previewed: Callable[[], Measurement]
    """That example."""


def train(
    solver: T,
    data: Sequence[Any] | TrainingSource[Any],
    *,
    save: str | Path,
    run: TrainingRun | None = None,
    watch: Callable[[TrainingProgress], None] | None = None,
) -> T:
    """Train a network and save it in the folder `save`; returns the same solver with these weights.

    `data` are what the solver learns from: for networks of ptychography scans, or a `TrainingExample` of each with its probe
    and label; as a list, or as a `TrainingSource` that makes them when they are needed; for AutoPhaseNN rocking curves, or
    nothing, [], for made crystals. Ctrl-C keeps what was learned and
    returns; with `run.resume` a later call goes on exactly, and does nothing where the same training is finished. Raises
    InputError where the data do not go together, or the folder holds another training or cannot be written.
    """
    folder, run = Path(save), run or TrainingRun()
    fabric = fabric_for(choose_device(run.device), solver.precision, run.devices)
    given = training_data(solver, data, run)
    network = solver.new_network(given, run.seed)
    identity = {**solver.identity(given), "seed": run.seed}
    if run.resume and _is_finished(folder, solver, identity):
        return _trained(solver, folder)
    task = solver.training_task(given, run.seed)
    _prepare(folder, resume=run.resume)
    course = Trainer(
        network,
        task,
        replace(solver.training_settings, epochs=solver.epochs),
        fabric=fabric,
        seed=run.seed,
        state=_saved_state(folder / CHECKPOINT, solver, identity, given) if run.resume else None,
    )
    log = TrainingLog(folder, done=course.epochs_done, tensorboard=run.tensorboard, rank=fabric.global_rank)
    keeper = TrainingFolder(folder, solver, given, network, course, identity, writes=fabric.global_rank == 0)
    try:
        for epoch in course.run(partial(keeper.after_step, watch) if keeper.writes else None):
            log.write(epoch)
            keeper.after(epoch, every=run.checkpoint_every)
        keeper.finish("finished")
        # One that leaves while another still talks to it may abort.
        fabric.barrier()
    except KeyboardInterrupt:
        keeper.checkpoint()
        keeper.finish(f"interrupted in epoch {course.epochs_done + 1}")
    finally:
        log.close()
    return _trained(solver, folder)


def training_data(solver: TrainedSolver[Any, Any], data: Any, run: TrainingRun | None = None) -> Any:
    """Training examples made ready for the solver. Raises InputError where something does not go together."""
    run = run or TrainingRun()
    return solver.training_data(data, Posing(solver, run), run.seed)


@dataclass(frozen=True)
class Posing:
    """Poses what was measured for a solver, as the run says."""

    solver: TrainedSolver[Any, Any]
    run: TrainingRun

    def pose(self, measurement: Measurement) -> Any:
        require_solved(self.solver, measurement)
        return pose(examined(measurement, self._setup), self._setup, solver=self.solver)

    def begin(self, problem: Problem[Any], probe: Complex[Tensor, "mode y x"] | None) -> Any:
        return problem.initial(None, self._setup, probe=probe)

    @property
    def _setup(self) -> Setup:
        return Setup(seed=self.run.seed, device=self.run.device, memory=self.run.memory, as_is=self.run.as_is)


def _trained(solver: T, folder: Path) -> T:
    return replace(solver, **{"weights": str(folder.absolute()), **solver.once_trained})


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


def _is_finished(folder: Path, solver: TrainedSolver[Any, Any], identity: Mapping[str, Any]) -> bool:
    """Whether this very training came to its end in the folder; InputError where another one did."""
    if not (folder / IN_FOLDER).is_file() or (folder / CHECKPOINT).exists():
        return False
    record = read_record(folder)
    if other := _other(solver, read_spec(folder), record, identity):
        raise InputError(
            f"{folder} holds a finished training with another {other}; choose another folder, and start from the weights {folder} "
            "to train that network further"
        )
    return str(record.get("ending")) == "finished"


def _saved_state(
    path: Path, solver: TrainedSolver[Any, Any], identity: Mapping[str, Any], given: Any
) -> dict[str, Tensor] | None:
    """The state to go on from, if there is one; InputError where it is that of another training."""
    if not path.exists():
        return None
    saved = read_training(path)
    if other := _other(solver, saved.spec, saved.record, identity):
        raise InputError(f"{path} is a training with another {other}; give the same, or choose another folder")
    return solver.resumed(given, saved.tensors, str(path))


def _other(
    solver: TrainedSolver[Any, Any], spec: Mapping[str, Any], record: Mapping[str, Any], identity: Mapping[str, Any]
) -> str:
    """What differs between a training that is kept and this one, in words; nothing when they are the same."""
    if spec.get("name") != solver.name:
        return f"solver: {spec.get('name')} (here {solver.name})"
    theirs, own = solver.like_stored(spec).plain_options(), solver.plain_options()
    if differing := [option for option in own if theirs.get(option) != own[option]]:
        return ", ".join(f"{option}: {theirs.get(option)} (here {own[option]})" for option in differing)
    for key, mine in identity.items():
        before, now = record.get(key), json.loads(json_text(mine))
        if before != now:
            return solver.identity_terms.get(key, f"{key}: {before} (here {now})")
    return ""


class TrainingFolder:
    """Writes what a training learned into its folder, and makes previews of it."""

    def __init__(
        self,
        folder: Path,
        solver: TrainedSolver[Any, Any],
        given: Any,
        network: nn.Module,
        course: Trainer,
        identity: Mapping[str, Any],
        *,
        writes: bool,
    ) -> None:
        self._folder, self._solver, self._given, self._course = folder, solver, given, course
        self._network, self._identity = network, identity
        self._record, self._kept = solver.record(given)
        self.writes = writes
        self._last: Epoch | None = None
        self._saved_s = time.monotonic()

    def after(self, epoch: Epoch, *, every: int) -> None:
        """Keep what is due after an epoch."""
        self._last = epoch
        if epoch.epoch % every == 0 and epoch.epoch < self._solver.epochs:
            self.checkpoint()

    def after_step(self, watch: Callable[[TrainingProgress], None] | None, progress: Progress) -> None:
        """Keep what is due in the middle of a long epoch, and let it be watched."""
        if time.monotonic() - self._saved_s > CHECKPOINT_SECONDS:
            self.checkpoint()
        if watch is not None:
            watch(
                TrainingProgress(
                    progress=progress, epochs=self._solver.epochs, preview=self.preview, previewed=self.previewed
                )
            )

    def checkpoint(self) -> None:
        """Save the state to go on from."""
        if self.writes:
            state = Weights(
                tensors=self._course.state() | self._kept, spec=to_spec(self._solver), record=self._identity
            )
            write_training(self._folder / CHECKPOINT, state)
            self._saved_s = time.monotonic()

    def finish(self, ending: str) -> None:
        """Save the network as it is now; the checkpoint goes when the training is finished."""
        if not self.writes:
            return
        last = self._last
        record = {
            **self._record,
            **self._identity,
            "ending": ending,
            "epochs": self._course.epochs_done,
            "loss": None if last is None else last.loss,
            "held_out_loss": None if last is None or last.held_out_loss != last.held_out_loss else last.held_out_loss,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {name: version(name) for name in ("exitwave", "torch")} | {"python": platform.python_version()},
        }
        tensors = {f"network.{name}": value for name, value in self._course.weights().items()} | self._kept
        spec = to_spec(replace(self._solver, weights=None))
        write_weights(self._folder / IN_FOLDER, Weights(tensors=tensors, spec=spec, record=record))
        if ending == "finished":
            (self._folder / CHECKPOINT).unlink(missing_ok=True)

    def preview(self) -> Estimate:
        """What the network makes of the first example now."""
        load(self._network, self._course.weights())
        return self._solver.preview(self._network, self._given)

    def previewed(self) -> Measurement:
        """The first example."""
        return self._solver.previewed(self._given)
