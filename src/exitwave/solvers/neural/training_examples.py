"""Scans to learn from, made ready: posed, with probe and label in place; refused by name where they do not go together."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.data.errors import DoubtfulImageWarning, InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.scan import Scan
from exitwave.problems.examination import of_frames_left
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.solvers.neural.compatibility import ALIKE, SAME_PLACE, overlap, strays_told, unlike
from exitwave.solvers.neural.labels import label_on
from exitwave.solvers.neural.trained_solver import Posing
from exitwave.solvers.neural.training_data import SourceScans, TrainingScan, TrainingScans
from exitwave.training.source import TrainingSource

if TYPE_CHECKING:
    from exitwave.solvers.neural.network_solver import NetworkSolver


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingExample:
    """A scan to learn from, and what is known of it beforehand."""

    scan: Scan
    probe: Complex[Tensor, "mode y x"] | None = None
    """That of the label or guessed from the data when left out, which is less good."""
    label: PtychoEstimate | None = None
    """A known image of the scan, for methods that learn from labels."""

    @property
    def given_probe(self) -> Complex[Tensor, "mode y x"] | None:
        """The probe, if one is known."""
        return self.label.probe if self.probe is None and self.label is not None else self.probe

    def title(self, number: int) -> str:
        """What the scan is called in messages: its file, or its place."""
        path = self.scan.provenance.get("file")
        return Path(str(path)).name if path else f"scan {number + 1}"


def training_scans(solver: "NetworkSolver", data: Any, posing: Posing, seed: int) -> TrainingScans:
    """Scans made ready to learn from: all of a list, those of a source as they are needed.

    Raises InputError, by the scan's name, where something does not go together. Warns (DoubtfulImageWarning) where a label
    seems to be that of another scan.
    """
    made = _Preparation(solver, posing, seed)
    if isinstance(data, TrainingSource):
        source: TrainingSource[Any] = data
        return SourceScans(source, lambda number: made.one(_example(source.make(number)), number))
    examples = [_example(given) for given in data]
    _check(solver, examples)
    _check_sizes(solver, examples)
    lessons = [made.ready(example, number) for number, example in enumerate(examples)]
    for number in range(1, len(lessons)):
        _check_probe(solver, lessons[0], lessons[number], [examples[n].title(n) for n in (0, number)])
    first: Tensor | None = None
    for number, (example, lesson) in enumerate(zip(examples, lessons, strict=True)):
        here = _arrangement(solver, lesson, example.title(number))
        first = here if first is None else first
        _check_arrangement(solver, first, here, [examples[0].title(0), example.title(number)])
    return lessons


def _example(given: Any) -> TrainingExample:
    if isinstance(given, TrainingExample):
        return given
    if isinstance(given, Scan):
        return TrainingExample(scan=given)
    raise InputError(
        f"found {type(given).__name__} to learn from; expected a scan, or TrainingExample(scan=..., probe=..., label=...)"
    )


class _Preparation:
    """Makes examples ready one by one; the first is what later ones of a source have to be like."""

    def __init__(self, solver: "NetworkSolver", posing: Posing, seed: int) -> None:
        self._solver, self._posing, self._seed = solver, posing, seed
        self._first: tuple[TrainingScan, str, Tensor | None] | None = None

    def one(self, example: TrainingExample, number: int) -> TrainingScan:
        """An example of a source."""
        name = example.title(number)
        _check(self._solver, [example])
        lesson = self.ready(example, number)
        here = _arrangement(self._solver, lesson, name)
        self._first = self._first or (lesson, name, here)
        first, called, arranged = self._first
        if not self._solver.network.any_frame_shape and first.problem.trusted.shape != lesson.problem.trusted.shape:
            raise InputError(_unequal(self._solver, [(called, first.problem.scan), (name, example.scan)]))
        _check_probe(self._solver, first, lesson, [called, name])
        _check_arrangement(self._solver, arranged, here, [called, name])
        return lesson

    def ready(self, example: TrainingExample, number: int) -> TrainingScan:
        """The example posed, its label in place."""
        name, solver, label = example.title(number), self._solver, None
        try:
            problem = self._posing.pose(example.scan)
        except InputError as error:
            raise type(error)(f"{name}: {error}") from error
        if example.label is not None:
            label = label_on(problem, of_frames_left(example.label, problem.scan.provenance), name)
        x = self._posing.begin(problem, example.given_probe)
        if label is not None and example.label is not None:
            self._warn_of_another(problem, label, example.label.probe, name)
            label = _scaled(label, example.label, x)
        return solver.training_scan(problem, x, label=label, seed=self._seed)

    def _warn_of_another(
        self,
        problem: PtychographyProblem,
        label: Complex[Tensor, "1 Y X"],
        probe: Complex[Tensor, "mode y x"],
        name: str,
    ) -> None:
        """Nothing but their patterns tells scans on the same positions apart."""
        empty = self._posing.begin(problem, probe)
        found, nothing = (
            problem.residual(replace(empty, probe=probe.to(empty.probe), object=label)),
            problem.residual(empty),
        )
        # Written so that NaN is told, too.
        if not found < nothing:
            warnings.warn(
                f"the label of {name} explains its patterns no better than an empty sample (residual {found:.3g}, empty "
                f"{nothing:.3g}): it may be that of another scan, or turned otherwise than the frames; below 1000 photons a frame "
                "it may be right nevertheless",
                DoubtfulImageWarning,
                stacklevel=7,
            )


def _scaled(label: Complex[Tensor, "1 Y X"], known: PtychoEstimate, x: PtychoEstimate) -> Complex[Tensor, "1 Y X"]:
    """The label as it is seen with the photons that the probe was given."""
    theirs, ours = (float(probe.abs().double().square().sum()) for probe in (known.probe, x.probe))
    return label * math.sqrt(theirs / max(ours, 1e-30))


def _check(solver: "NetworkSolver", examples: Sequence[TrainingExample]) -> None:
    if not examples:
        raise InputError("there is nothing to train on; give at least one scan")
    labels = sum(example.label is not None for example in examples)
    if solver.learns_from_labels and labels != len(examples):
        raise InputError(
            f"{solver.name} learns from known images: {labels} labels for {len(examples)} scans; give each scan a result or "
            "truth of the same frames (--labels)"
        )
    if labels and not solver.learns_from_labels:
        raise InputError(f"{solver.name} learns without labels; leave them out, or train ptychonn")
    for number, example in enumerate(examples):
        if len(example.scan) < solver.group:
            raise InputError(
                f"{example.title(number)} has {len(example.scan)} frames, less than one group of {solver.group}; lower group, or "
                "leave the scan out"
            )


def _check_sizes(solver: "NetworkSolver", examples: Sequence[TrainingExample]) -> None:
    if not solver.network.any_frame_shape and len({example.scan.frame_shape for example in examples}) > 1:
        raise InputError(_unequal(solver, [(example.title(n), example.scan) for n, example in enumerate(examples)]))


def _unequal(solver: "NetworkSolver", scans: Sequence[tuple[str, Scan]]) -> str:
    told = ", ".join(f"{name} {scan.frame_shape[0]} x {scan.frame_shape[1]}" for name, scan in scans)
    return (
        f"the {solver.network.name} takes frames of one size, but these are {told}; make them equal with --prepare crop=64 (or "
        "bin, pad), or train them apart"
    )


def _check_probe(solver: "NetworkSolver", first: TrainingScan, lesson: TrainingScan, names: Sequence[str]) -> None:
    """A network that sees patterns alone cannot know which probe made them."""
    if solver.network.needs_fixed_probe and (alike := overlap(first.x.probe[0], lesson.x.probe[0])) < ALIKE:
        raise InputError(
            f"the probe of {names[1]} is another than that of {names[0]} (overlap {alike:.3f}, {ALIKE} is needed): the "
            f"{solver.network.name} sees patterns alone; train them apart, or take --network unet, which is told the probe"
        )


def _arrangement(solver: "NetworkSolver", lesson: TrainingScan, name: str) -> Float[Tensor, "member 2"] | None:
    """Where the frames of a group are; warns of those that are elsewhere."""
    try:
        stray = strays_told(solver.groups, lesson.problem)
        here = solver.groups.arrangement(lesson.problem.positions_px)
    except InputError as error:
        raise type(error)(f"{name}: {error}") from error
    if stray:
        warnings.warn(f"{name}: {stray}", DoubtfulImageWarning, stacklevel=6)
    return here


def _check_arrangement(
    solver: "NetworkSolver",
    first: Float[Tensor, "member 2"] | None,
    here: Float[Tensor, "member 2"] | None,
    names: Sequence[str],
) -> None:
    """Nor can it know where frames are."""
    if first is None or here is None or solver.network.sees_positions:
        return
    if (away := unlike(here, first)) > SAME_PLACE:
        raise InputError(
            f"frames of a group of {names[1]} stand up to {away:.2g} steps from where they stand in {names[0]} "
            f"({SAME_PLACE} at most is needed): the {solver.network.name} is not told where frames are; train them apart, or take "
            "--network unet, which is told"
        )
