"""What a solver is: a frozen value whose fields are its options, that turns a problem and a start into better estimates."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, cast, dataclass_transform

import torch
from pydantic import ConfigDict, InstanceOf, ValidationError, field_validator
from pydantic.dataclasses import dataclass as validated
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import Estimate, PtychoEstimate
from exitwave.io.network_names import network_path, shipped_networks
from exitwave.io.weights import read_spec
from exitwave.physics.needs import OBJECTS
from exitwave.physics.problem import Problem

E = TypeVar("E", bound=Estimate)
S = TypeVar("S", bound="Solver[Any]")


@dataclass(frozen=True, kw_only=True, eq=False)
class Step(Generic[E]):
    """The state after an epoch, complete: a solver given this step goes on exactly as if it had never stopped."""

    epoch: int
    """Epochs done; 0 is a fresh start."""
    estimate: E
    residual: float = float("nan")
    """Squared relative amplitude residual met during the epoch."""
    spread: E | None = None
    memory: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    """What an exact resume needs beyond the estimate: momentum, dual waves, optimiser state."""


class Solver(ABC, Generic[E]):
    """A method of phase retrieval. Subclasses are declared with `@solver`; their annotated fields are their options."""

    name: ClassVar[str]
    residual_may_rise: ClassVar[bool] = False
    """True for methods whose residual rises on their way out of a local minimum (hio, dm); for others a steep rise means
    that they diverge."""

    cannot: ClassVar[frozenset[str]] = frozenset()
    """What of `PHYSICS` the method cannot honour; `require_able` then refuses it: before a run, and as the first line of `solve`."""

    one_pattern: ClassVar[bool] = False
    """True for methods that phase one pattern of an isolated object; others need a ptychography scan."""

    seeded: ClassVar[bool] = True
    """False for methods that leave nothing to chance: they take all frames together, so that no seed changes the image."""
    holds_waves: ClassVar[bool] = False
    """True for methods that keep the exit waves of all frames from epoch to epoch (dm, raar), as `info` says beforehand."""

    takes_probe_as_given: ClassVar[bool] = False
    """True for methods whose image is no better than the probe they are given."""

    @abstractmethod
    def solve(self, problem: Problem, start: Step[E]) -> Iterator[Step[E]]:
        """Yield a step after every epoch, from `start.epoch + 1` on. `start` is not changed, nor is what was yielded."""

    def stage(self, step: Step[E]) -> "tuple[tuple[int, ...], Solver[Any], int]":
        """Which part of the run a step belongs to, the solver at work there, and its epochs done: for chains and the like,
        whose parts have residuals of their own."""
        return (), self, step.epoch

    def parts(self) -> "Iterator[Solver[Any]]":
        """The single methods it is made of: itself, or those inside a chain and the like."""
        yield self

    def asked(self, before: frozenset[str]) -> "Iterator[tuple[Solver[Any], frozenset[str]]]":
        """The single methods with what of `PHYSICS` each must honour, when it starts from an estimate with `before`."""
        yield self, before

    def doubts(self, problem: Problem, start: E) -> tuple[str, ...]:
        """Why its image of this problem may not be trusted, with numbers and what to do: said before a run and kept with the
        result."""
        return ()

    @classmethod
    def completed(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Options with those that need not be named, because what they name knows them: for trained networks."""
        return options

    @property
    def epochs_in_all(self) -> int | None:
        """Epochs from start to end, None where it does not say."""
        return getattr(self, "epochs", None)

    @property
    def margin_px(self) -> int:
        """Room it needs around the outermost frames, for positions that move."""
        return 4

    @property
    def objects(self) -> int:
        """Arrays of the size of the object that it holds, for what is said of memory beforehand."""
        return OBJECTS

    @property
    def brings(self) -> frozenset[str]:
        """What of `PHYSICS` it adds to the problem for the methods it is made of."""
        return frozenset()


PHYSICS: Mapping[str, str] = {
    "modes": "several incoherent modes of the probe",
    "positions": "positions refined between epochs",
    "variations": "a probe that varies from frame to frame",
    "brightness": "a beam whose intensity varies from frame to frame",
    "background": "photons that did not come through the sample's window",
    "slices": "thick samples of several slices",
    "exposure": "fly scans",
}
"""What may be unknown or different beyond a thin object, one probe and known positions; what a method cannot do, it names."""

_REGISTRY: dict[str, type[Solver[Any]]] = {}


@dataclass_transform(kw_only_default=True, frozen_default=True)
def solver(cls: type[S]) -> type[S]:
    """Register a solver class and make it a frozen, keyword-only, validated value."""
    config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
    made = cast("type[S]", validated(cls, frozen=True, kw_only=True, config=config))
    # pydantic reads docstrings of a class's own options only.
    for base in reversed(cls.__mro__[1:]):
        for option, inherited in getattr(base, "__pydantic_fields__", {}).items():
            known = cast(Any, made).__pydantic_fields__[option]
            known.description = known.description or inherited.description
    if made.name in _REGISTRY:
        raise ValueError(f"two solvers are called {made.name!r}")
    _REGISTRY[made.name] = made
    return made


def solvers() -> Mapping[str, type[Solver[Any]]]:
    """All solvers by name, those of other packages (entry points `exitwave.solvers`) included."""
    for entry in entry_points(group="exitwave.solvers"):
        entry.load()
    return dict(_REGISTRY)


def require_able(solver: Solver[Any], problem: Problem, start: Estimate) -> None:
    """Refuse, by name, physics that the start or the solver brings along and that one of its methods cannot honour."""
    given = frozenset(_present(start)) | ({"exposure"} if problem.model.exposure_px is not None else set[str]())
    for part, wanted in solver.asked(given):
        missing = [name for name in PHYSICS if name in wanted & part.cannot]
        if missing:
            able = sorted(
                name
                for name, cls in solvers().items()
                if not wanted & cls.cannot and not cls.one_pattern and name not in COMBINED
            )
            raise InputError(
                f"{part.name} cannot reconstruct with {' and '.join(missing)} ({'; '.join(PHYSICS[m] for m in missing)}); "
                f"{', '.join(able)} can"
            )


def _present(x: Estimate) -> set[str]:
    found = {"slices"} if len(x.object) > 1 else set[str]()
    if isinstance(x, PtychoEstimate):
        found |= {"modes"} if len(x.probe) > 1 else set()
        found |= {name for name in ("variations", "brightness", "background") if getattr(x, name) is not None}
    return found


COMBINED = ("best_of", "chain", "ensemble", "refined")
"""Made of other solvers, which options on a command line cannot describe; what these can, they can."""


def to_spec(value: Solver[Any]) -> dict[str, Any]:
    """A solver as plain names and numbers, for YAML, result files and messages."""
    spec: dict[str, Any] = {"name": value.name}
    for option in fields(cast(Any, value)):
        spec[option.name] = _plain(getattr(value, option.name))
    return spec


def _plain(value: Any) -> Any:
    if isinstance(value, Solver):
        return to_spec(cast("Solver[Any]", value))
    if isinstance(value, tuple):
        return [_plain(item) for item in cast("tuple[Any, ...]", value)]
    return value


def from_spec(spec: Any) -> Solver[Any]:
    """The solver that a spec describes; a name alone means its defaults, a list is a chain.

    The folder or file of a trained network stands for its solver, with the options that it was trained with. Raises
    InputError that names an unknown solver, unknown options or values out of range.
    """
    if isinstance(spec, str):
        spec = {"name": spec}
    if isinstance(spec, list | tuple):
        return build(Chain, {"stages": tuple(from_spec(stage) for stage in cast("list[Any]", spec))})
    if not isinstance(spec, Mapping) or "name" not in spec:
        raise InputError(
            f"a solver is described by its name and options, such as {{name: rpie, alpha: 0.1}}; found {spec!r}"
        )
    options = dict(cast("Mapping[str, Any]", spec))
    name, known = cast(str, options.pop("name")), solvers()
    if not isinstance(name, str) or name not in known:
        require_network(name)
        if "weights" in options:
            raise InputError(f"{name} and weights {options['weights']!r} are two networks; leave one of them out")
        options["weights"] = name
        name = str(read_spec(network_path(name)).get("name"))
    if name not in known:
        raise InputError(f"{options['weights']} is a trained {name}, which is not installed here: install its package")
    return build(known[name], known[name].completed(options))


def require_network(name: object) -> None:
    """Raise InputError or FormatError, saying what was found, unless a trained network is called so."""
    if not isinstance(name, str) or not name or not network_path(name).exists():
        raise _unknown(name)
    read_spec(network_path(name))


def _unknown(name: object) -> InputError:
    return InputError(
        f"there is no solver {name!r}; there are {', '.join(sorted(solvers()))}; nor is there a trained network of this name, "
        "a file or folder that exitwave train makes"
    )


def placed(spec: Any, folder: Path) -> Any:
    """A spec from a file in `folder`, its relative paths of networks as seen from anywhere.

    Raises InputError for names that are neither solvers nor networks.
    """
    if isinstance(spec, str):
        return spec if spec in solvers() else _network_in(folder, spec, bare=True)
    if isinstance(spec, list):
        return [placed(stage, folder) for stage in cast("list[Any]", spec)]
    if not isinstance(spec, Mapping):
        return spec
    told = dict(cast("Mapping[str, Any]", spec))
    for key in ("name", "stages", "member", "solver"):
        told |= {key: placed(told[key], folder)} if key in told else {}
    if isinstance(told.get("weights"), str):
        told["weights"] = _network_in(folder, told["weights"])
    return told


def _network_in(folder: Path, name: str, *, bare: bool = False) -> str:
    path = folder / name
    if path.exists() or name not in shipped_networks():
        # A single word that is no path is a solver misspelt, also where another folder has something of that name.
        if bare and Path(name).name == name and not path.exists():
            raise _unknown(name)
        return str(path.absolute())
    return name


def build(cls: type[S], options: Mapping[str, Any]) -> S:
    """Make a solver from options; InputError names each that is unknown or out of range, and what is allowed."""
    allowed = [option.name for option in fields(cast(Any, cls))]
    unknown = [key for key in options if key not in allowed]
    if unknown:
        raise InputError(
            f"{cls.name} has no option {', '.join(map(repr, unknown))}; its options are {', '.join(allowed)}"
        )
    try:
        return cls(**options)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in error.errors())
        raise InputError(f"{cls.name}: {faults}") from error


def _from_specs(value: Any) -> Any:
    return from_spec(value) if isinstance(value, Mapping | str | list) else value


@solver
class Chain(Solver[Estimate]):
    """Solvers one after another, each starting from the estimate of the one before."""

    name: ClassVar[str] = "chain"
    stages: tuple[InstanceOf[Solver[Any]], ...]
    """The solvers, in order."""

    @field_validator("stages", mode="before")
    @classmethod
    def _read_stages(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple) or not value:
            raise ValueError("a chain needs at least one solver")
        stages = [_from_specs(stage) for stage in cast("list[Any]", value)]
        # A chain inside a chain is the same as its stages one by one, whose place in the run has one number.
        return tuple(part for stage in stages for part in (stage.stages if isinstance(stage, Chain) else (stage,)))

    def parts(self) -> Iterator[Solver[Any]]:
        for stage in self.stages:
            yield from stage.parts()

    def asked(self, before: frozenset[str]) -> Iterator[tuple[Solver[Any], frozenset[str]]]:
        for stage in self.stages:
            yield from stage.asked(before)
            # What one stage found stays in the estimate; positions are numbers there, refined or not.
            before |= stage.brings - {"positions"}

    @property
    def epochs_in_all(self) -> int | None:
        each = [stage.epochs_in_all for stage in self.stages]
        return None if None in each else sum(epochs or 0 for epochs in each)

    @property
    def margin_px(self) -> int:
        return max(stage.margin_px for stage in self.stages)

    @property
    def objects(self) -> int:
        return max(stage.objects for stage in self.stages)

    @property
    def brings(self) -> frozenset[str]:
        return frozenset().union(*(stage.brings for stage in self.stages))

    def doubts(self, problem: Problem, start: Estimate) -> tuple[str, ...]:
        return tuple(doubt for stage in self.stages for doubt in stage.doubts(problem, start))

    def stage(self, step: Step[Estimate]) -> tuple[tuple[int, ...], Solver[Any], int]:
        number = int(step.memory.get("chain.stage", torch.tensor(0)))
        done = int(step.memory.get("chain.epoch", torch.tensor(0)))
        inner, at_work, epochs = self.stages[number].stage(replace(step, epoch=done))
        return (number, *inner), at_work, epochs

    def solve(self, problem: Problem, start: Step[Estimate]) -> Iterator[Step[Estimate]]:
        memory = dict(start.memory)
        first = int(memory.pop("chain.stage", torch.tensor(0)))
        inner = int(memory.pop("chain.epoch", torch.tensor(0)))
        done, estimate = start.epoch, start.estimate
        for number in range(first, len(self.stages)):
            step = begin = Step(epoch=inner, estimate=estimate, memory=memory)
            for step in self.stages[number].solve(problem, begin):
                done += 1
                place = {"chain.stage": torch.tensor(number), "chain.epoch": torch.tensor(step.epoch)}
                yield replace(step, epoch=done, memory={**step.memory, **place})
            estimate, memory, inner = step.estimate, {}, 0


def chain(*stages: Solver[Any]) -> Chain:
    """Run solvers one after another: `chain(DM(epochs=50), LSQML(epochs=30))`."""
    return Chain(stages=stages)
