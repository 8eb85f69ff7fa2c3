"""Registry of solvers, by name."""

from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, TypeVar, cast, dataclass_transform

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as validated
from pydantic.fields import FieldInfo

from exitwave.data.refusing import refusing_in_a_line
from exitwave.solvers.base import Solver
from exitwave.solvers.options import Meaning

S = TypeVar("S", bound="Solver[Any]")
_REGISTRY: dict[str, type[Solver[Any]]] = {}


@dataclass_transform(kw_only_default=True, frozen_default=True)
def solver(cls: type[S]) -> type[S]:
    """Register a solver class and make it a frozen, keyword-only, validated value."""
    config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
    made = refusing_in_a_line(cast("type[S]", validated(cls, frozen=True, kw_only=True, config=config)))
    known: Mapping[str, FieldInfo] = cast(Any, made).__pydantic_fields__
    # pydantic reads docstrings of a class's own options only.
    for base in reversed(cls.__mro__[1:]):
        for option, inherited in getattr(base, "__pydantic_fields__", {}).items():
            known[option].description = known[option].description or inherited.description
    for option in known.values():
        shared = next((meta.text for meta in option.metadata if isinstance(meta, Meaning)), None)
        option.description = option.description or shared
    explain(made, {name: option.description or "" for name, option in known.items()})
    if made.name in _REGISTRY:
        raise ValueError(f"two solvers are called {made.name!r}")
    _REGISTRY[made.name] = made
    return made


def explain(cls: type[Any], texts: Mapping[str, str]) -> None:
    """Give the options of a validated class their texts, where pydantic and where the command line look for them."""
    for option in fields(cls):
        cls.__pydantic_fields__[option.name].description = texts[option.name]
        option.metadata = MappingProxyType({**option.metadata, "help": texts[option.name]})


def solvers() -> Mapping[str, type[Solver[Any]]]:
    """All solvers by name, those of other packages (entry points `exitwave.solvers`) included."""
    for entry in entry_points(group="exitwave.solvers"):
        entry.load()
    return dict(_REGISTRY)
