"""Train a network on scans and keep it: the driver around the training loop, with checkpoints, previews and interruption."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Complex
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.scan import Scan
from exitwave.io.atomic import require_writable
from exitwave.io.weights import IN_FOLDER, Weights, read_training, write_training, write_weights
from exitwave.neural.fitting import ALIKE, overlap, trained_on
from exitwave.neural.imaging import Imager
from exitwave.neural.lessons import Lesson
from exitwave.neural.trainable import Trainable, set_gain
from exitwave.physics.fourier import fourier_shift
from exitwave.physics.problem import Problem
from exitwave.posing import choose_device, pose
from exitwave.saving import fingerprint
from exitwave.solver import to_spec
from exitwave.starting import first_estimate
from exitwave.training.course import Course, Epoch, Progress
from exitwave.training.engine import fabric_for
from exitwave.training.log import TrainingLog
from exitwave.training.memory import load

T = TypeVar("T", bound=Trainable)
CHECKPOINT = "training.safetensors"
"""The state of an unfinished training in its folder; it goes when the training is finished."""
NEGLIGIBLE_PX = 0.02
"""Shifts of a label below this are not made."""


@dataclass(frozen=True, kw_only=True)
class Taught:
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
    watch: Callable[[Taught], None] | None = None,
) -> T:
    """Train a network on scans and save it in the folder `save`; returns the same solver with these weights.

    `probes` are one for all scans or one each, in their order; without any they are guessed from the data, which is less
    good. `labels` are known images of the scans, for methods that learn from labels. Ctrl-C keeps what was learned and
    returns; with `resume` a later call goes on exactly. `devices` GPUs share the work. Raises InputError where scans,
    probes and labels do not go together or the folder cannot be written.
    """
    folder = Path(save)
    given = lessons_of(solver, scans, probes, labels, seed=seed, device=device, memory=memory)
    _prepare(folder, resume=resume)
    network = solver.made(scans[0].frame_shape, seed)
    if solver.weights is None:
        set_gain(network, given)
    fabric = fabric_for(choose_device(device), solver.precision, devices)
    agreed = {"solver": to_spec(solver), "scans": [fingerprint(lesson.problem) for lesson in given], "seed": seed}
    course = Course(
        network,
        solver.lessons(given, seed),
        replace(solver.recipe, epochs=solver.epochs),
        fabric=fabric,
        seed=seed,
        memory=_memory(folder / CHECKPOINT, agreed) if resume else None,
    )
    log = TrainingLog(folder, done=course.epochs_done, tensorboard=tensorboard, rank=fabric.global_rank)
    keeper = _Keeper(folder, solver, given, network, course, agreed, seed, writes=fabric.global_rank == 0)
    try:
        for epoch in course.run(_watched(watch, keeper) if watch and keeper.writes else None):
            log.write(epoch)
            keeper.after(epoch, every=checkpoint_every)
        keeper.finish("finished")
    except KeyboardInterrupt:
        keeper.checkpoint()
        keeper.finish(f"interrupted in epoch {course.epochs_done + 1}")
    finally:
        log.close()
    return replace(solver, weights=str(folder), finetune=0)


def lessons_of(
    solver: Trainable,
    scans: Sequence[Scan],
    probes: Sequence[Complex[Tensor, "mode y x"]] = (),
    labels: Sequence[PtychoEstimate] = (),
    *,
    seed: int = 0,
    device: str = "auto",
    memory: str | int | None = None,
) -> list[Lesson]:
    """Scans made ready to learn from. Raises InputError, by the scan's name, where something does not go together."""
    _check(solver, scans, probes, labels)
    made: list[Lesson] = []
    for number, scan in enumerate(scans):
        problem = pose(scan, seed=seed, device=device, memory=memory, margin_px=solver.margin_px)
        probe = None if not probes else probes[number % len(probes)]
        x = first_estimate(problem, probe=probe)
        label = _label(problem, labels[number], name_of(scan, number)) if labels else None
        made.append(Lesson(problem=problem, x=x, label=label))
    _check_probes(solver, scans, made)
    return made


def name_of(scan: Scan, number: int) -> str:
    """What a scan is called in messages: its file, or its place."""
    path = scan.provenance.get("file")
    return Path(str(path)).name if path else f"scan {number + 1}"


def _check(
    solver: Trainable, scans: Sequence[Scan], probes: Sequence[Tensor], labels: Sequence[PtychoEstimate]
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
    shapes = {name_of(scan, n): tuple(scan.frame_shape) for n, scan in enumerate(scans)}
    if solver.network == "encoder" and len(set(shapes.values())) > 1:
        told = ", ".join(f"{name} {h} x {w}" for name, (h, w) in shapes.items())
        raise InputError(
            f"the encoder takes frames of one size, but these are {told}; make them equal with --prepare crop=64 (or bin, pad), "
            "or train them apart"
        )


def _check_probes(solver: Trainable, scans: Sequence[Scan], lessons: Sequence[Lesson]) -> None:
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


def _label(problem: Problem, known: PtychoEstimate, name: str) -> Complex[Tensor, "1 Y X"]:
    """A known object on the canvas of the problem, its mean phase zero."""
    if len(known.positions_px) != len(problem):
        raise InputError(
            f"the label of {name} has {len(known.positions_px)} frames but the scan {len(problem)}; give a result or truth of "
            "the same frames, prepared alike"
        )
    away = (known.positions_px.cpu() - problem.positions_px.cpu()).median(dim=0).values
    whole = away.round().to(torch.int64)
    rest = (away - whole).to(torch.float32)
    obj = known.object[:1].cpu()
    if float(rest.abs().max()) > NEGLIGIBLE_PX:
        obj = fourier_shift(obj, -rest[None])
    height, width = problem.object_shape
    label = torch.ones(1, height, width, dtype=torch.complex64)
    top, left = (int(v) for v in whole)
    rows, columns = _inside(top, height, obj.shape[-2]), _inside(left, width, obj.shape[-1])
    label[0, rows[0], columns[0]] = obj[0, rows[1], columns[1]].to(torch.complex64)
    mean = label.mean()
    return (label * (mean.conj() / mean.abs().clamp(min=1e-12))).to(problem.device)


def _inside(offset: int, size: int, there: int) -> tuple[slice, slice]:
    """Rows of a canvas and those of another one that begins `offset` rows before it, as far as both have them."""
    first, last = max(0, -offset), min(size, there - offset)
    return slice(first, last), slice(first + offset, last + offset)


def _prepare(folder: Path, *, resume: bool) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be made ({error.strerror}); choose another one") from error
    require_writable(folder / IN_FOLDER)
    if not resume and (folder / CHECKPOINT).exists():
        raise InputError(
            f"{folder} holds an unfinished training; go on with it (resume), remove {CHECKPOINT} there, or choose another folder"
        )


def _memory(path: Path, agreed: dict[str, Any]) -> dict[str, Tensor] | None:
    if not path.exists():
        return None
    saved = read_training(path)
    for key, mine in agreed.items():
        if saved.record.get(key) != _as_read(mine):
            raise InputError(
                f"{path} is the training of another {key.removesuffix('s')} ({saved.record.get(key)}, here {mine}); give the "
                "same, or choose another folder"
            )
    return dict(saved.tensors)


def _as_read(value: Any) -> Any:
    """As it comes back from JSON."""
    if isinstance(value, dict):
        return {key: _as_read(inner) for key, inner in value.items()}  # pyright: ignore
    return [_as_read(inner) for inner in value] if isinstance(value, list | tuple) else value  # pyright: ignore


class _Keeper:
    """Writes what a training learned into its folder, and makes previews of it."""

    def __init__(
        self,
        folder: Path,
        solver: Trainable,
        lessons: Sequence[Lesson],
        network: Imager,
        course: Course,
        agreed: dict[str, Any],
        seed: int,
        *,
        writes: bool,
    ) -> None:
        self._folder, self._solver, self._lessons, self._course = folder, solver, lessons, course
        self._network, self._agreed, self._seed = network, agreed, seed
        self.writes = writes
        self._last: Epoch | None = None

    @property
    def epochs(self) -> int:
        """In all."""
        return self._solver.epochs

    def after(self, epoch: Epoch, *, every: int) -> None:
        """Keep what is due after an epoch."""
        self._last = epoch
        if epoch.epoch % every == 0 and epoch.epoch < self._solver.epochs:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Save the state to go on from."""
        if self.writes:
            state = Weights(tensors=self._course.memory(), spec=to_spec(self._solver), record=self._agreed)
            write_training(self._folder / CHECKPOINT, state)

    def finish(self, ending: str) -> None:
        """Save the network as it is now; the checkpoint goes when the training is finished."""
        if not self.writes:
            return
        record, probes = trained_on(self._lessons)
        last = self._last
        record |= {
            "seed": self._seed,
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


def _watched(watch: Callable[[Taught], None], keeper: _Keeper) -> Callable[[Progress], None]:
    return lambda progress: watch(Taught(progress=progress, epochs=keeper.epochs, preview=keeper.preview))
