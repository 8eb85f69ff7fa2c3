"""Keywords that belong elsewhere: the error shows the call that was meant."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from exitwave.data.errors import InputError
from exitwave.io.assemble import ReadOptions
from exitwave.problems.setup import Setup
from exitwave.running.checkpoints import Checkpoints
from exitwave.running.stopping import Stop
from exitwave.solvers.base import Solver
from exitwave.solvers.refinement_options import RefinementOptions
from exitwave.solvers.spec import as_solver

P = ParamSpec("P")
R = TypeVar("R")

PARTS: Mapping[str, type[Any]] = {"setup": Setup, "stop": Stop, "checkpoints": Checkpoints}
"""Values whose options are often given by themselves, by the argument that takes them."""


def showing_the_right_call(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function that takes a measurement and a solver refuse options that stand elsewhere with the call that was meant."""
    known = list(inspect.signature(function).parameters)

    @wraps(function)
    def called(*args: P.args, **keywords: P.kwargs) -> R:
        strange = {name: value for name, value in keywords.items() if name not in known}
        if strange:
            solver = keywords.get("solver", args[1] if len(args) > 1 else None)
            raise InputError(_told(function.__name__, solver, strange, known))
        return function(*args, **keywords)

    return called


def _told(function: str, solver: Any, strange: Mapping[str, Any], known: list[str]) -> str:
    """What was given, and the call that was meant, as far as the names tell."""
    cls = type(_made(solver))
    kinds = {"solver": cls, "refinement": RefinementOptions, **PARTS, "reading": ReadOptions}
    options = {option.name: place for place, kind in reversed(kinds.items()) for option in fields(cast(Any, kind))}
    placed: dict[str, dict[str, Any]] = {place: {} for place in kinds}
    for name, value in strange.items():
        near = [name] if name in options else get_close_matches(name, [*known, *options], n=1, cutoff=0.7)
        if not near or near[0] not in options:
            hint = f"did you mean {near[0]}?" if near else f"its arguments are {', '.join(known)}"
            return f"{function} has no argument {name}; {hint}"
        placed[options[near[0]]][near[0]] = value
    call = f"ew.{function}({', '.join(_arguments(cls.__name__, placed))})"
    return f"{function} has no argument {', '.join(strange)}; options stand in the value that they are of: {call}"


def _arguments(solver: str, placed: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The arguments of the call that was meant."""
    scan = f"ew.read(PATH, {_call('ReadOptions', placed['reading'])})" if placed["reading"] else "scan"
    words = _call(solver, placed["solver"])
    if placed["refinement"]:
        words = f"ew.refine({words}, {_call('RefinementOptions', placed['refinement'])})"
    return [
        scan,
        words,
        *(f"{name}={_call(kind.__name__, placed[name])}" for name, kind in PARTS.items() if placed[name]),
    ]


def _made(solver: Any) -> Solver[Any]:
    from exitwave.running.reconstruct import default_solver

    try:
        found = as_solver(solver)
    except InputError:
        found = None
    return found if isinstance(found, Solver) else default_solver()


def _call(name: str, options: Mapping[str, Any]) -> str:
    return f"ew.{name}({', '.join(f'{option}={value!r}' for option, value in options.items())})"
