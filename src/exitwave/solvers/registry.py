"""Registry of solvers, by name."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, TypeVar, cast, dataclass_transform

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as validated

from exitwave.solvers.base import Solver

S = TypeVar("S", bound="Solver[Any]")


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


COMBINED = ("best_of", "chain", "ensemble", "refined")
"""Made of other solvers, which options on a command line cannot describe; what these can, they can."""
