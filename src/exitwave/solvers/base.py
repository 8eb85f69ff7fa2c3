"""What a solver is: a frozen value whose fields are its options, that turns a problem and a start into better estimates."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor

from exitwave.data.estimate import Estimate
from exitwave.data.lengths import number
from exitwave.data.showing import Shown
from exitwave.problems.base import Problem
from exitwave.problems.memory_estimate import OBJECTS
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.solvers.changes import Change
from exitwave.solvers.nested_state import nested, unnested

E = TypeVar("E", bound=Estimate)


@dataclass(frozen=True, kw_only=True, eq=False)
class Step(Shown, Generic[E]):
    """The state after an epoch, complete: a solver given this step goes on exactly as if it had never stopped."""

    epoch: int
    """Epochs done; 0 is a fresh start."""
    estimate: E
    residual: float = float("nan")
    """Squared relative amplitude residual met during the epoch."""
    spread: E | None = None
    state: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    """What an exact resume needs beyond the estimate: momentum, dual waves, optimiser state."""

    def told(self) -> tuple[str, ...]:
        return f"Step: epoch {self.epoch}, residual {number(self.residual)}", *self.estimate.told()[:2]


class Solver(ABC, Generic[E]):
    """A method of phase retrieval. Subclasses are declared with `@solver`; their annotated fields are their options.

    What is said of a solver made of others follows from its `members`, unless it overrides it.
    """

    name: ClassVar[str]
    combines: ClassVar[bool] = False
    """True for solvers made of other solvers, which options on a command line cannot describe."""
    renamed: ClassVar[Mapping[str, str]] = {}
    """Options that had another name in an earlier version, by that name."""
    left_out: ClassVar[Mapping[str, Any]] = {}
    """What options that may be left out were in earlier versions, which had a value of their own for them."""
    own_state_of_0_1_0: ClassVar[Mapping[str, str]] = {}
    """Beginnings of the keys of `Step.state` that were a combining solver's own in version 0.1.0, and what they are now."""
    residual_may_rise: ClassVar[bool] = False
    """True for methods whose residual rises on their way out of a local minimum (hio, dm); for others a steep rise means
    that they diverge."""

    unsupported: ClassVar[frozenset[str]] = frozenset()
    """What of `PHYSICS` the method cannot honour; `require_supported` then refuses it: before a run, and as the first line of `solve`."""

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

    @property
    def members(self) -> "tuple[Solver[Any], ...]":
        """The solvers that it runs, in order; none for a single method."""
        return ()

    def unnested(self, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Of the state of a step, what is its own, and what is that of the member at work."""
        return unnested(self.name, state, self.own_state_of_0_1_0)

    def at_work(self, own: Mapping[str, Tensor]) -> "tuple[int, Solver[Any]]":
        """Which of its members was at work, and its number, by its own state."""
        number = int(own.get("number", 0))
        return number, self.members[min(number, len(self.members) - 1)]

    def locate(self, step: Step[E]) -> "tuple[tuple[int, ...], Solver[Any], int]":
        """Which part of the run a step belongs to, the single method at work there, and its epochs done: parts have residuals
        of their own."""
        if not self.members:
            return (), self, step.epoch
        own, inner = self.unnested(step.state)
        number, member = self.at_work(own)
        within, method, epochs = member.locate(replace(step, epoch=int(own.get("epoch", step.epoch)), state=inner))
        return (number, *within), method, epochs

    def transform_state(self, state: Mapping[str, Tensor], change: Change) -> Mapping[str, Tensor]:
        """The state of a step whose estimate was changed from outside, with the images in it changed alike."""
        if not self.members:
            return state
        own, inner = self.unnested(state)
        return nested(self.name, own, self.at_work(own)[1].transform_state(inner, change))

    def leaf_solvers(self) -> "Iterator[Solver[Any]]":
        """The single methods it is made of: itself, or those inside its members."""
        if not self.members:
            yield self
        for member in self._different():
            yield from member.leaf_solvers()

    def requirements(self, before: frozenset[str]) -> "Iterator[tuple[Solver[Any], frozenset[str]]]":
        """The single methods with what of `PHYSICS` each must honour, when it starts from an estimate with `before`."""
        if not self.members:
            yield self, before
        for member in self._different():
            yield from member.requirements(before)
            # What one found stays in the estimate for the next; positions are numbers there, refined or not.
            before |= member.adds - {"positions"}

    def warnings(self, problem: Any, start: E) -> tuple[str, ...]:
        """Why its image of this problem may not be trusted, with numbers and what to do: said before a run and kept with the
        result."""
        return tuple(text for member in self._different() for text in member.warnings(problem, start))

    def parts(self) -> "Iterator[Solver[Any]]":
        """Itself and all solvers that it is made of, each once, single methods before what combines them."""
        for member in self._different():
            yield from member.parts()
        yield self

    def _different(self) -> "list[Solver[Any]]":
        """Its members, each once."""
        return list({id(member): member for member in self.members}.values())

    @classmethod
    def complete_options(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Options with those that need not be named, because what they name knows them: for trained networks."""
        return options

    @property
    def total_epochs(self) -> int | None:
        """Epochs from start to end, None where it does not say."""
        if not self.members:
            return getattr(self, "epochs", None)
        each = [member.total_epochs for member in self.members]
        return None if None in each else sum(epochs or 0 for epochs in each)

    @property
    def seeds(self) -> int:
        """Seeds, 1000 apart, that it makes use of: several for what begins several times."""
        return max((member.seeds for member in self.members), default=1)

    @property
    def margin_px(self) -> int:
        """Room it needs around the outermost frames, for positions that move."""
        return max((member.margin_px for member in self.members), default=4)

    @property
    def object_arrays(self) -> int:
        """Arrays of the size of the object that it holds, for what is said of memory beforehand."""
        return max((member.object_arrays for member in self.members), default=OBJECTS)

    @property
    def holds_scale(self) -> bool:
        """Whether amplitudes of object or probe are held to what is known, so that their common scale is no matter of choice."""
        return any(member.holds_scale for member in self.members)

    @property
    def adds(self) -> frozenset[str]:
        """What of `PHYSICS` it, or a member, adds to the problem."""
        return frozenset[str]().union(*(member.adds for member in self.members))
