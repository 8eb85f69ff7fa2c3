"""Which solvers the studies run, by name and options; what is not registered, or does not know an option, is skipped."""

from dataclasses import fields
from typing import Any

import exitwave as ew

MADE_OF_OTHERS = ("chain", "ensemble", "refined")
OF_ONE_PATTERN = ("exitwave.solvers.cdi.phase_retrieval", "exitwave.solvers.cdi.multistart")
"""Methods for an isolated object in one pattern, which have nothing to do here."""


def registered() -> list[str]:
    """All iterative solvers of exitwave that work on a ptychography scan, by name."""
    own = {name: cls for name, cls in ew.solvers().items() if cls.__module__.startswith("exitwave.")}
    return sorted(n for n, cls in own.items() if n not in MADE_OF_OTHERS and cls.__module__ not in OF_ONE_PATTERN)


def make(spec: dict[str, Any] | str, *, epochs: int | None = None, probe: str = "") -> ew.Solver | None:
    """The solver of a spec with its epochs, where it has such options; None with a message if it is not there.

    `probe`: "known" leaves the probe alone, "at once" updates it from the first epoch on.
    """
    options = {"name": spec} if isinstance(spec, str) else dict(spec)
    try:
        known = options_of(options["name"])
        if epochs is not None and "epochs" in known:
            options.setdefault("epochs", epochs)
        if probe == "known" and "update_probe" in known:
            options["update_probe"] = False
        if probe == "at once" and "probe_start" in known:
            options["probe_start"] = 0
        return ew.from_spec(options)
    except ew.InputError as error:
        print(f"   skipped: {error}", flush=True)
        return None


def options_of(name: str) -> set[str]:
    """The names of a solver's options. Raises InputError for a solver that is not registered."""
    return {option.name for option in fields(type(ew.from_spec(name)))}
