"""Which solvers the studies run, by name and options; what is not registered, or does not know an option, is skipped."""

from dataclasses import fields
from typing import Any

import exitwave as ew
import exitwave.run

MADE_OF_OTHERS = ("chain", "ensemble")
PREPARATORY = ("local",)
"""Solvers that do a fixed amount of work for each frame, whose `epochs` mean something else."""


def registered() -> list[str]:
    """All iterative solvers of exitwave that work on a ptychography scan, by name."""
    own = {name: cls for name, cls in ew.solvers().items() if cls.__module__.startswith("exitwave.")}
    return sorted(name for name in own if name not in MADE_OF_OTHERS)


def make(spec: dict[str, Any] | str, *, epochs: int | None = None, known_probe: bool = False) -> ew.Solver | None:
    """The solver of a spec, with its epochs and with its probe left alone where asked; None with a message if it is not there."""
    options = {"name": spec} if isinstance(spec, str) else dict(spec)
    try:
        known = options_of(options["name"])
        if epochs is not None and "epochs" in known:
            options.setdefault("epochs", epochs)
        if known_probe and "update_probe" in known:
            options["update_probe"] = False
        return ew.from_spec(options)
    except ew.InputError as error:
        print(f"   skipped: {error}", flush=True)
        return None


def options_of(name: str) -> set[str]:
    """The names of a solver's options. Raises InputError for a solver that is not registered."""
    return {option.name for option in fields(type(ew.from_spec(name)))}


def refined(solver: ew.Solver) -> ew.Solver | None:
    """The same solver with its positions refined, by whichever way the library offers; None with a message if by none."""
    if hasattr(ew, "refine"):
        return ew.refine(solver, positions=True)
    if "update_positions" in {option.name for option in fields(solver)}:
        return ew.from_spec({**ew.to_spec(solver), "update_positions": True})
    print(f"   skipped: {solver.name} has no position refinement", flush=True)
    return None
