"""Solvers as plain names and numbers (specs), for YAML, files and messages, and back."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, cast
from warnings import warn

from pydantic import BeforeValidator, InstanceOf, ValidationError

from exitwave.data.errors import InputError, RenamedOptionWarning, did_you_mean
from exitwave.io.network_paths import names_shipped, network_path
from exitwave.io.weights import read_spec
from exitwave.solvers.base import Solver
from exitwave.solvers.registry import S, solvers


def to_spec(value: Any) -> dict[str, Any]:
    """A solver, or a network, as plain names and numbers, for YAML, result files and messages."""
    options = {option.name: _plain(getattr(value, option.name)) for option in fields(value)}
    return {"name": value.name, **options}


def _plain(value: Any) -> Any:
    # Solvers, and other named values such as networks.
    if is_dataclass(value) and not isinstance(value, type) and hasattr(value, "name"):
        return to_spec(value)
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
        return make(solvers()["chain"], {"stages": tuple(from_spec(stage) for stage in cast("list[Any]", spec))})
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
    cls = known[name]
    # Under the names of today first: options that weights were trained with fill in what is not given.
    return make(cls, cls.complete_options(in_names_of_today(cls, options)))


def require_network(name: object) -> None:
    """Raise InputError or FormatError, saying what was found, unless a trained network is called so."""
    if not isinstance(name, str) or not name or not network_path(name).exists():
        raise _unknown(name)
    read_spec(network_path(name))


def _unknown(name: object) -> InputError:
    near = did_you_mean(name, solvers()) if isinstance(name, str) else ""
    return InputError(
        f"there is no solver {name!r}{near}; there are {', '.join(sorted(solvers()))}; nor is there a trained network of this name, "
        "a file or folder that exitwave train makes"
    )


def resolve_paths(spec: Any, folder: Path) -> Any:
    """A spec from a file in `folder`, its relative paths of networks as seen from anywhere.

    Raises InputError for names that are neither solvers nor networks.
    """
    if isinstance(spec, str):
        return spec if spec in solvers() else _network_in(folder, spec, bare=True)
    if isinstance(spec, list):
        return [resolve_paths(stage, folder) for stage in cast("list[Any]", spec)]
    if not isinstance(spec, Mapping):
        return spec
    told = dict(cast("Mapping[str, Any]", spec))
    for key in ("name", "stages", "member", "solver", "warm_start"):
        told |= {key: resolve_paths(told[key], folder)} if key in told else {}
    if isinstance(told.get("weights"), str):
        told["weights"] = _network_in(folder, told["weights"])
    return told


def _network_in(folder: Path, name: str, *, bare: bool = False) -> str:
    if names_shipped(name, folder):
        return name
    path = folder / name
    # A single word that is no path is a solver misspelt, also where another folder has something of that name.
    if bare and Path(name).name == name and not path.exists():
        raise _unknown(name)
    return str(path.absolute())


def in_names_of_today(cls: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The same for options that a user wrote: a RenamedOptionWarning names those to be changed."""
    made = renamed_options(cls, options)
    told = ", ".join(f"{name} is now {cls.renamed[name]}" for name in options if name not in made)
    if told:
        text = f"{getattr(cls, 'name', 'job')}: {told}; the old name still works here but not in the next version"
        warn(text, RenamedOptionWarning, stacklevel=3)
    return made


def make(cls: type[S], options: Mapping[str, Any]) -> S:
    """Make a solver from options; InputError names each that is unknown or out of range, and what is allowed.

    Names of version 0.1.0 are taken, too, with a RenamedOptionWarning.
    """
    options = in_names_of_today(cls, options)
    allowed = [option.name for option in fields(cast(Any, cls))]
    unknown = [key for key in options if key not in allowed]
    if unknown:
        told = ", ".join(f"{key!r}{did_you_mean(str(key), allowed)}" for key in unknown)
        raise InputError(f"{cls.name} has no option {told}; its options are {', '.join(allowed)}")
    try:
        return cls(**options)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in error.errors())
        raise InputError(f"{cls.name}: {faults}") from error


def renamed_options(cls: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a class under their names of today, where `cls.renamed` knows them by those of an earlier version.

    Raises InputError where an option is given under both.
    """
    renamed: Mapping[str, str] = cls.renamed
    twice = [f"{old} and {new}" for old, new in renamed.items() if old in options and new in options]
    if twice:
        raise InputError(f"{', '.join(twice)} are one option, whose name was changed; leave the first out")
    return {renamed.get(name, name): value for name, value in options.items()}


def as_solver(value: Any) -> Any:
    """A solver where a spec is given; anything else as it is, for validators to refuse."""
    return from_spec(value) if isinstance(value, Mapping | str | list) else value


SolverField = Annotated[InstanceOf[Solver[Any]], BeforeValidator(as_solver)]
"""An option that is a solver, given as one or as its spec."""
