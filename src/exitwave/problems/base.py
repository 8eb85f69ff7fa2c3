"""What a solver is given, whatever was measured: measurement, forward model and noise, with the passes over its frames."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import Estimate
from exitwave.data.geometry import Geometry
from exitwave.data.measurement import Measurement
from exitwave.problems.setup import Setup

E = TypeVar("E", bound=Estimate)
P = TypeVar("P", bound="Problem[Any]")


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem(ABC, Generic[E]):
    """The question put to a solver: a measurement with its forward model, posed on a device with a seed.

    One class a kind of measurement. What is abstract here is all that drivers, combinations of solvers, checkpoints, files
    and reports need to know of a kind; `exitwave.pose` makes the problem of a measurement.
    """

    title: ClassVar[str] = "a measurement"
    """What it is called in messages."""
    measures: ClassVar[type[Measurement]] = Measurement
    """The measurements that are posed as problems of this class."""
    first_work: ClassVar[str] = "finding the first estimate"
    """What is done before the first epoch, in words."""

    seed: int
    device: torch.device

    @property
    @abstractmethod
    def measurement(self) -> Measurement:
        """What was measured."""

    @cached_property
    @abstractmethod
    def power(self) -> float:
        """Sum of the measured photons in the pixels solvers may look at; residuals are relative to it."""

    @abstractmethod
    def misfits(self, x: E, *, held_out: bool = False) -> tuple[Float[Tensor, " frame"], Float[Tensor, " frame"]]:
        """Of each frame, sum (|F| - A)^2 and sum A^2 over the pixels solvers may look at, or over those held out."""

    @abstractmethod
    def initial(self, start: Estimate | None, setup: Setup, *, probe: Complex[Tensor, "mode y x"] | None = None) -> E:
        """The estimate to begin with, on the problem's device: from `start`, else from the data and what `setup` asks for.

        Raises InputError where start, probe or setup do not belong to the measurement.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """A short name for exactly this measurement: a run that goes on from another must have the same."""

    @classmethod
    def all_measures(cls) -> tuple[type[Measurement], ...]:
        """The measurements that are posed as problems of this class or of one derived from it."""
        derived = (kind for below in cls.__subclasses__() for kind in below.all_measures())
        return tuple(dict.fromkeys((cls.measures, *derived)))

    @property
    def has_held_out(self) -> bool:
        """Whether pixels are kept from the solvers, to test them with (free residual)."""
        return False

    @property
    def geometry(self) -> Geometry:
        """Of the measurement."""
        return self.measurement.geometry

    @property
    def object_pixel_m(self) -> tuple[float, ...]:
        """Pixel size of the object along each of its axes, metres."""
        return self.measurement.object_pixel_m

    def __len__(self) -> int:
        """Frames."""
        return len(self.measurement)

    def frame_residual(self, x: E, *, held_out: bool = False) -> Float[Tensor, " frame"]:
        """Squared relative amplitude residual of each frame: sum (|F| - A)^2 / sum A^2, or that of the held-out pixels."""
        return relative(*self.misfits(x, held_out=held_out))[1]

    def residual(self, x: E, *, held_out: bool = False) -> float:
        """Squared relative amplitude residual over all frames and pixels: sum (|F| - A)^2 / sum A^2."""
        return relative(*self.misfits(x, held_out=held_out))[0]

    def begun_anew(self, start: E) -> E:
        """Where a run with this seed begins that repeats another one: from the same start, unless chance makes the start."""
        return start

    def finished(self, x: E) -> E:
        """A last estimate as it is handed out, such as with orthogonal modes."""
        return x

    def with_common_scale(self, x: E, spread: E | None) -> tuple[E, E | None]:
        """A last estimate and its spread at the scale that results have, where no pattern tells the scale."""
        return x, spread

    def features(self, x: E) -> frozenset[str]:
        """What of `solvers.requirements.PHYSICS` problem and estimate bring along, which a method must be able to honour."""
        return frozenset()

    def identity(self, x: E, setup: Setup) -> dict[str, Any]:
        """What a run that goes on from this one's checkpoint must have in common with it, beside the solver. JSON-able."""
        return {"scan_fingerprint": self.fingerprint(), "seed": self.seed}

    def provenance(self, x: E) -> Mapping[str, Any]:
        """What a result says of the estimate, beside what all results say. JSON-able."""
        return {}

    def with_seed(self: P, seed: int) -> P:
        """The same problem with other random numbers."""
        return replace(self, seed=seed)

    def require(self, x: Estimate, cls: type[E]) -> E:
        """The estimate as one of this kind; InputError where it is another."""
        if not isinstance(x, cls):
            raise InputError(
                f"the start is an estimate of {x.kind}, but this is {self.title}; start from another result"
            )
        return x


def relative(misfit: Float[Tensor, " frame"], power: Float[Tensor, " frame"]) -> tuple[float, Float[Tensor, " frame"]]:
    """The residual of a whole measurement and of each frame, from their misfits and powers."""
    whole = float(misfit.double().sum() / power.double().sum().clamp(min=1e-12))
    return whole, misfit / power.clamp(min=1e-12)
