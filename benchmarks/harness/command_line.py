"""The command line of a study, made from the signature of its `run`.

Keyword arguments are options: `bool` a switch, `tuple[T, ...]` one word or more, `T | None` one that may be left out; the
text in `Annotated[T, "text"]` is the help. `parts` are words without a flag, those of the study's `PARTS`.
"""

import argparse
import inspect
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

Solvers = Annotated[tuple[str, ...], "only these solvers of exitwave"]
Seeds = Annotated[tuple[int, ...], "drawings of objects and noise"]
Problems = Annotated[tuple[Literal["small", "big"], ...], "which of the common problems"]
Epochs = Annotated[int | None, "epochs of every method"]
Parts = Annotated[tuple[str, ...], "only these parts of the study"]
Out = Annotated[Path | None, "write here instead"]


def asked(study: ModuleType, words: Sequence[str]) -> tuple[dict[str, Any], argparse.Namespace]:
    """What the words ask of a study: arguments of its `run`, and `out` and `add` for who writes the record."""
    found = parser_of(study).parse_args(list(words))
    return {name: getattr(found, name) for name in inspect.signature(study.run).parameters}, found


def parser_of(study: ModuleType) -> argparse.ArgumentParser:
    """Options of `run`; `--out` besides, and `--add` where rows can be told apart by a `KEY`."""
    parser = argparse.ArgumentParser(
        prog=f"python benchmarks {study.__name__.rpartition('.')[2]}",
        description=study.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(add=False)
    parameters = inspect.signature(study.run).parameters
    hints = get_type_hints(study.run, include_extras=True)
    for name, parameter in parameters.items():
        _add(parser, name, hints[name], parameter.default, getattr(study, "PARTS", ()))
    if "out" not in parameters:
        _add(parser, "out", Out, None, ())
    if hasattr(study, "KEY"):
        _add(parser, "add", Annotated[bool, "keep the rows measured before that are not measured now"], False, ())
    return parser


def _add(parser: argparse.ArgumentParser, name: str, hint: Any, default: Any, parts: Any) -> None:
    hint, text = get_args(hint) if get_origin(hint) is Annotated else (hint, None)
    told: dict[str, Any] = {"help": text, "default": default}
    if hint is bool:
        told["action"] = "store_true"
    elif get_origin(hint) is tuple:
        told |= _kind(get_args(hint)[0]) | {"nargs": "+"}
    else:
        told |= _kind(next(kind for kind in get_args(hint) if kind is not type(None)) if _optional(hint) else hint)
    if name == "parts":
        # Checked by hand where parts are chosen: argparse would refuse an empty list of them.
        told |= {"nargs": "*", "metavar": "part", "help": f"{text}: {', '.join(parts)}"}
        parser.add_argument(name, **told)
    else:
        parser.add_argument(f"--{name.replace('_', '-')}", **told)


def _optional(hint: Any) -> bool:
    return isinstance(hint, UnionType) and type(None) in get_args(hint)


def _kind(hint: Any) -> dict[str, Any]:
    return {"choices": get_args(hint)} if get_origin(hint) is Literal else {"type": hint}
