"""The solver among the words of a command line, and its options as flags."""

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from itertools import takewhile
from typing import Any, ClassVar, cast, get_type_hints

from cyclopts import App, Parameter
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as validated
from rich.console import Console

from exitwave.data.errors import RenamedOptionWarning
from exitwave.io.network_paths import names_network
from exitwave.solvers.base import Solver
from exitwave.solvers.neural.flat_options import flat_fields
from exitwave.solvers.neural.network_solver import NetworkSolver
from exitwave.solvers.neural.trained_solver import TrainedSolver
from exitwave.solvers.registry import explain, solvers
from exitwave.solvers.spec import from_spec

OF_PATHS = (
    "-o",
    "--output",
    "--weights",
    "--save",
    "--start",
    "--probe",
    "--labels",
    "--report",
    "--positions",
    "--mask",
    "--recipe",
)
"""Options whose values are paths, which may be those of networks."""


def known(among: Collection[str] | None = None) -> dict[str, type[Solver[Any]]]:
    """The solvers that words and options can describe; only those `among` these names."""
    return {name: cls for name, cls in solvers().items() if not cls.combines and (among is None or name in among)}


def named(tokens: tuple[str, ...]) -> str | None:
    """The word that names a solver or a trained network, wherever it stands: reconstruct -o out.h5 scan.cxi rpie."""
    for word in tokens:
        if word in solvers():
            return word
    for before, word in zip(("", *tokens), tokens, strict=False):
        if not word.startswith("-") and before not in OF_PATHS and names_network(word):
            return word
    return None


def leading(tokens: tuple[str, ...]) -> list[str]:
    """The words before the first option."""
    return list(takewhile(lambda token: not token.startswith("-"), tokens))


def with_options(name: str, tokens: tuple[str, ...]) -> type[Solver[Any]]:
    """The options of the solver or trained network of this name as a class, their defaults those stored with the network.

    Weights that the options name are looked into, too. Raises what `from_spec` raises.
    """
    weights, cls = _value("--weights", tokens), solvers().get(name)
    if cls is not None and not issubclass(cls, TrainedSolver):
        return cls
    return _like(from_spec(name if weights is None else {"name": name, "weights": weights}))


def run_command(
    name: str, command: Callable[..., int], words: Sequence[str], renamed: Mapping[str, str], *, takes: str = ""
) -> int | None:
    """Run a command whose options depend on the solver named; `renamed` are those that had another name in 0.1.0."""
    app = App(
        name=name,
        usage=f"Usage: {name}{takes} [OPTIONS]",
        default_parameter=Parameter(negative_iterable=()),
        result_action="return_int_as_exit_code_else_zero",
    )
    app.default(command)
    return app(flags_of_today(words, renamed), exit_on_error=False, print_error=False)


def flags_of_today(words: Sequence[str], renamed: Mapping[str, str]) -> list[str]:
    """Words of a command line with flags of version 0.1.0 as they are called now; a RenamedOptionWarning names those."""
    flags = {f"--{old.replace('_', '-')}": f"--{new.replace('_', '-')}" for old, new in renamed.items()}
    made: list[str] = []
    for word in words:
        flag, equals, value = word.partition("=")
        now = flags.get(flag, flag)
        if now != flag:
            text = f"{flag} is now {now}; the old name still works here but not in the next version"
            warnings.warn(text, RenamedOptionWarning, stacklevel=2)
        made.append(now + equals + value)
    return made


def _value(option: str, tokens: tuple[str, ...]) -> str | None:
    """What follows an option, `--option value` or `--option=value`."""
    for word, following in zip(tokens, (*tokens[1:], ""), strict=True):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None


def _like(value: Solver[Any]) -> type[Solver[Any]]:
    """The options of a solver as a class with them as defaults, so that help shows them and words replace single ones.

    `to_spec` of its values is a spec. What a command line cannot spell, such as a network with options, is spelt flat.
    """
    cls = type(value)
    hints, known = get_type_hints(cls, include_extras=True), cast(Any, cls).__pydantic_fields__
    told = {
        option.name: (hints[option.name], getattr(value, option.name), known[option.name].description)
        for option in fields(cast(Any, cls))
    }
    if isinstance(value, NetworkSolver):
        del told["network"], told["warm_start"]
        told |= flat_fields(value.network, value.warm_start)
    defaults = {option: default for option, (_, default, _) in told.items()}
    annotations = {"name": ClassVar[str], **{option: hint for option, (hint, _, _) in told.items()}}
    body = {"__annotations__": annotations, "__doc__": cls.__doc__, "__module__": cls.__module__, "name": cls.name}
    body |= {"solve": cls.solve}
    made = validated(
        type(cls.__name__, (Solver,), body | defaults), frozen=True, kw_only=True, config=ConfigDict(extra="forbid")
    )
    explain(made, {name: text for name, (_, _, text) in told.items()})
    return cast("type[Solver[Any]]", made)


def listed(title: str, classes: Mapping[str, type[Solver[Any]]]) -> None:
    """Print solvers with the first line of what each says of itself."""
    console = Console()
    console.print(title, highlight=False)
    for name, cls in sorted(classes.items()):
        console.print(f"  [bold]{name:10}[/] {(cls.__doc__ or '').strip().splitlines()[0]}", highlight=False)
