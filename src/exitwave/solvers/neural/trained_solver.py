"""What all solvers with something trained inside share, and what the driver of a training asks of them."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, ClassVar, Generic, Literal, Protocol, TypeVar, runtime_checkable

from pydantic import ConfigDict, Field, PositiveInt, field_validator
from pydantic.dataclasses import dataclass as validated
from torch import Tensor, nn

from exitwave.data.estimate import Estimate
from exitwave.data.measurement import Measurement
from exitwave.io.network_paths import network_name, network_path
from exitwave.io.weights import read_spec
from exitwave.solvers.base import Solver
from exitwave.solvers.neural.compatibility import require_same_solver
from exitwave.solvers.spec import make, renamed_options, to_spec
from exitwave.training.settings import TrainingSettings
from exitwave.training.trainer import TrainingTask

E = TypeVar("E", bound=Estimate)
D = TypeVar("D")
S = TypeVar("S", bound="TrainedSolver[Any, Any]")
CLIP = 1.0
"""Longest gradient that is followed: a few bright frames must not undo what was learned."""


@runtime_checkable
class Posing(Protocol):
    """How the driver of a training poses what was measured, for solvers that learn from measurements."""

    def pose(self, measurement: Any) -> Any:
        """The problem. Raises InputError where it cannot be posed for this solver."""

    def begin(self, problem: Any, probe: Tensor | None) -> Any:
        """The estimate to begin with, empty but for the probe. Raises InputError where that is none."""


@validated(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class TrainedSolver(Solver[E], Generic[E, D]):
    """A solver with something inside that is trained once and then used alike on any measurement.

    `D` is what it makes of training examples beforehand. A training asks for `training_data`, then for `new_network` and
    `training_task`; the rest is what it keeps of the data and shows on the way.
    """

    not_trained: ClassVar[frozenset[str]] = frozenset({"weights"})
    """Options that have no part in training, and may change when it goes on."""
    once_trained: ClassVar[Mapping[str, Any]] = {}
    """Options that are other ones in a solver that comes from its training."""
    identity_terms: ClassVar[Mapping[str, str]] = {}
    """What the keys of `identity` are called in messages."""

    makes_examples: ClassVar[bool] = False
    """True for what makes its own examples where none are given."""
    renamed: ClassVar[Mapping[str, str]] = {}
    """Options that had another name in an earlier version, by that name."""

    weights: str | None = None
    """Trained network: the file or folder that exitwave train made. Without it the network learns on the scan at hand."""
    epochs: PositiveInt = 20
    """Passes over all groups when training; 5-50, fewer for many frames."""
    batch: PositiveInt = 64
    """Frames of a training step: 4 groups of 16, or 16 of 4 as published."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 4e-3
    """Largest step of Adam; 1e-3 for the encoder. Lower it when the loss jumps."""
    schedule: Literal["cosine", "plateau"] = "cosine"
    """cosine: warm-up, then falling to a hundredth; plateau: halved whenever the held-out loss stalls, as published."""
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the running average of the weights, which is what predicts; 0 takes the last weights as published."""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """Numbers of the network while training: bf16 is faster on GPUs and some processors, which auto knows."""

    @field_validator("weights")
    @classmethod
    def _from_anywhere(cls, value: str | None) -> str | None:
        """A result made with it can be made again in another folder."""
        return None if value is None else network_name(value)

    @classmethod
    def understood(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options in the form they have in Python, whatever form files and command lines have for them."""
        return dict(options)

    @classmethod
    def settled(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        """The options in a file of weights, those that it does not name as they were before they were options."""
        options = cls.understood(renamed_options(cls, stored))
        return {option: value for option, value in options.items() if option not in ("name", "weights")}

    @classmethod
    def complete_options(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Options with those that the named weights were trained with, where these are not given."""
        given = cls.understood(renamed_options(cls, options))
        name = given.get("weights")
        if not isinstance(name, str) or all(option.name in given for option in fields(cls)):
            return given
        stored = read_spec(network_path(name))
        require_same_solver(cls.name, name, stored)
        return cls.understood({**cls.settled(stored), **renamed_options(cls, options)})

    def plain_options(self) -> dict[str, Any]:
        """What decides a training, as plain words and numbers in one table: to compare two of them."""
        return {option: value for option, value in to_spec(self).items() if option not in {"name", *self.not_trained}}

    def like_stored(self: S, stored: Mapping[str, Any]) -> S:
        """The solver of this kind that a file of weights or a checkpoint describes, without its weights."""
        return make(type(self), self.settled(stored))

    @property
    def frames_per_sample(self) -> int:
        """Frames of a training sample, for what is said of speed."""
        return 1

    @property
    def training_settings(self) -> TrainingSettings:
        """How the network is trained."""
        return TrainingSettings(
            epochs=self.epochs,
            batch=self.batch,
            learning_rate=self.learning_rate,
            schedule=self.schedule,
            averaging=self.averaging,
            clip=CLIP,
            precision=self.precision,
        )

    @abstractmethod
    def training_data(self, data: Any, posing: Posing, seed: int) -> D:
        """Training examples made ready. Raises InputError, by the example's name, where something does not go together."""

    @abstractmethod
    def new_network(self, data: D, seed: int) -> nn.Module:
        """The network to be trained: with the weights of the solver where there are such, else as the seed draws it."""

    @abstractmethod
    def training_task(self, data: D, seed: int) -> TrainingTask:
        """What the network learns from these examples."""

    @abstractmethod
    def identity(self, data: D) -> dict[str, Any]:
        """What a training that goes on from another must have in common with it, beside options and seed. JSON-able."""

    @abstractmethod
    def record(self, data: D) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What is kept with the weights, to tell later whether a measurement is like those trained on: words and tensors."""

    @abstractmethod
    def resumed(self, data: D, kept: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
        """Of the tensors kept in a checkpoint, the state of the training to go on from.

        Raises InputError, naming the file `where`, unless those of `record` there are the ones of these examples.
        """

    @abstractmethod
    def previewed(self, data: D) -> Measurement:
        """The first example, for pictures of it."""

    @abstractmethod
    def preview(self, network: nn.Module, data: D) -> E:
        """What a network makes of that."""
