"""What a solver is: a frozen value whose fields are its options, that turns a problem and a start into better estimates."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor

from exitwave.data.estimate import Estimate
from exitwave.problems.base import Problem
from exitwave.problems.memory_estimate import OBJECTS
from exitwave.problems.ptychography import Problem as PtychographyProblem

E = TypeVar("E", bound=Estimate)


@dataclass(frozen=True, kw_only=True, eq=False)
class Step(Generic[E]):
    """The state after an epoch, complete: a solver given this step goes on exactly as if it had never stopped."""

    epoch: int
    """Epochs done; 0 is a fresh start."""
    estimate: E
    residual: float = float("nan")
    """Squared relative amplitude residual met during the epoch."""
    spread: E | None = None
    state: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    """What an exact resume needs beyond the estimate: momentum, dual waves, optimiser state."""


class Solver(ABC, Generic[E]):
    """A method of phase retrieval. Subclasses are declared with `@solver`; their annotated fields are their options."""

    name: ClassVar[str]
    residual_may_rise: ClassVar[bool] = False
    """True for methods whose residual rises on their way out of a local minimum (hio, dm); for others a steep rise means
    that they diverge."""

    unsupported: ClassVar[frozenset[str]] = frozenset()
    """What of `PHYSICS` the method cannot honour; `require_able` then refuses it: before a run, and as the first line of `solve`."""

    solves: ClassVar[type[Problem[Any]]] = PtychographyProblem
    """The problems that it is for: a ptychography scan, one pattern of an isolated object, or another kind of measurement."""

    seeded: ClassVar[bool] = True
    """False for methods that leave nothing to chance: they take all frames together, so that no seed changes the image."""
    stores_exit_waves: ClassVar[bool] = False
    """True for methods that keep the exit waves of all frames from epoch to epoch (dm, raar), as `info` says beforehand."""

    takes_probe_as_given: ClassVar[bool] = False
    """True for methods whose image is no better than the probe they are given."""

    @abstractmethod
    def solve(self, problem: Any, start: Step[E]) -> Iterator[Step[E]]:
        """Yield a step after every epoch of a problem of class `solves`, from `start.epoch + 1` on.

        `start` is not changed, nor is what was yielded.
        """

    def locate(self, step: Step[E]) -> "tuple[tuple[int, ...], Solver[Any], int]":
        """Which part of the run a step belongs to, the solver at work there, and its epochs done: for chains and the like,
        whose parts have residuals of their own."""
        return (), self, step.epoch

    def leaf_solvers(self) -> "Iterator[Solver[Any]]":
        """The single methods it is made of: itself, or those inside a chain and the like."""
        yield self

    def requirements(self, before: frozenset[str]) -> "Iterator[tuple[Solver[Any], frozenset[str]]]":
        """The single methods with what of `PHYSICS` each must honour, when it starts from an estimate with `before`."""
        yield self, before

    def warnings(self, problem: Any, start: E) -> tuple[str, ...]:
        """Why its image of this problem may not be trusted, with numbers and what to do: said before a run and kept with the
        result."""
        return ()

    @classmethod
    def complete_options(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Options with those that need not be named, because what they name knows them: for trained networks."""
        return options

    @property
    def total_epochs(self) -> int | None:
        """Epochs from start to end, None where it does not say."""
        return getattr(self, "epochs", None)

    @property
    def margin_px(self) -> int:
        """Room it needs around the outermost frames, for positions that move."""
        return 4

    @property
    def object_arrays(self) -> int:
        """Arrays of the size of the object that it holds, for what is said of memory beforehand."""
        return OBJECTS

    @property
    def adds(self) -> frozenset[str]:
        """What of `PHYSICS` it adds to the problem for the methods it is made of."""
        return frozenset()
