"""The state of a run in its checkpoint file, and what a later run must have in common with it to go on."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from exitwave.data.errors import InputError, RenamedOptionWarning
from exitwave.data.estimate import Estimate
from exitwave.data.result import Checkpoint
from exitwave.io import checkpoints as states
from exitwave.solvers.base import Step
from exitwave.solvers.registry import solvers
from exitwave.solvers.spec import from_spec, to_spec


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Where and how often a run saves its state. A run that is killed loses at most `every` epochs."""

    path: Path
    every: int = 10
    """Epochs between two checkpoints."""
    resume: bool = False
    """Go on from the file if it exists; exact, as if the run had never stopped."""


@dataclass(frozen=True, eq=False, kw_only=True)
class CheckpointFile:
    """The checkpoint file of a run, if it keeps one."""

    checkpoints: Checkpoints | None
    spec: Mapping[str, Any]
    """The solver as plain names and numbers."""
    identity: Mapping[str, Any]
    """What runs that go on from each other have in common beside the solver: the measurement, the seed and the like."""

    def resumed(self, begin: Step[Any]) -> tuple[Step[Any], list[float]]:
        """The step to go on from, on the device of `begin`, and the residuals so far: from the file if there is one to resume.

        Raises InputError where the file is that of another run.
        """
        if not self.checkpoints or not self.checkpoints.resume or not self.checkpoints.path.exists():
            return begin, []
        saved = states.read_checkpoint(self.checkpoints.path)
        self._check(saved, begin.estimate)
        estimate = saved.estimate.to(begin.estimate.object.device)
        return Step(epoch=saved.epoch, estimate=estimate, state=saved.state), list(saved.history)

    def _check(self, saved: Checkpoint, start: Estimate) -> None:
        path = self.checkpoints.path if self.checkpoints else None
        if dict(saved.provenance) != dict(self.identity):
            raise InputError(f"{path} was saved for another scan, preparation or seed; remove it or start anew")
        if _but_for_epochs(self.spec) not in map(_but_for_epochs, (saved.spec, _in_names_of_today(saved.spec))):
            raise InputError(
                f"{path} was saved by {dict(saved.spec)} but this run is {dict(self.spec)}; use the same options to resume"
            )
        if _shapes(saved.estimate) != _shapes(start):
            raise InputError(
                f"{path} holds an estimate of shapes {_shapes(saved.estimate)} but this run needs "
                f"{_shapes(start)}; use the same modes and start to resume, or remove it"
            )

    def after_epoch(self, step: Step[Any], history: Sequence[float]) -> None:
        """Save the step when it is due."""
        if self.checkpoints and step.epoch % self.checkpoints.every == 0:
            self.save(step, history)

    def save(self, step: Step[Any], history: Sequence[float]) -> None:
        """Save the step, unless nothing has been done yet."""
        if not self.checkpoints or not history:
            return
        state = Checkpoint(
            estimate=step.estimate.to("cpu"),
            epoch=step.epoch,
            history=tuple(history),
            state={name: value.to("cpu") for name, value in step.state.items()},
            spec=self.spec,
            provenance=self.identity,
        )
        states.write_checkpoint(self.checkpoints.path, state)


def _in_names_of_today(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """A spec as it would be written now; as it is where its solver cannot be made, so that it is another one's."""
    with warnings.catch_warnings():
        # Nobody can rename what is in a checkpoint.
        warnings.simplefilter("ignore", RenamedOptionWarning)
        try:
            return to_spec(from_spec(spec))
        except InputError:
            return spec


def _but_for_epochs(spec: Mapping[str, Any]) -> dict[str, Any]:
    inner = spec.get("solver")
    # Named or left out it is the noise model of the problem, which the identity holds.
    spec = {**spec, "noise": None} if spec.get("noise") == "amplitude" else spec
    known = solvers().get(str(spec.get("name")))
    stated = {} if known is None else {key: value for key, value in known.left_out.items() if spec.get(key) is None}
    spec = {**spec, **stated}
    return {**spec, "epochs": None} | ({"solver": _but_for_epochs(inner)} if isinstance(inner, Mapping) else {})


def _shapes(x: Estimate) -> dict[str, tuple[int, ...]]:
    # Further unknowns, such as a brightness that is refined, are not there at the start.
    return {f.name: tuple(getattr(x, f.name).shape) for f in fields(x) if f.default is MISSING}
