"""Values that check their options refuse them in one line, as everything else does."""

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from exitwave.data.errors import InputError, did_you_mean

T = TypeVar("T")


def refusing_in_a_line(cls: type[T]) -> type[T]:
    """Let a class of pydantic's raise InputError, in a line, where an option is unknown or out of range."""
    plain = cast("Callable[..., None]", cls.__init__)

    @wraps(plain)
    def __init__(self: T, *args: Any, **options: Any) -> None:
        try:
            plain(self, *args, **options)
        except ValidationError as error:
            raise InputError(refusal(cls, error)) from error

    cls.__init__ = __init__
    return cls


def refusal(cls: type[Any], error: ValidationError) -> str:
    """What was found and what was expected, by option."""
    unknown = [str(e["loc"][0]) for e in error.errors() if e["type"] == "unexpected_keyword_argument"]
    name = getattr(cls, "name", cls.__name__)
    name = name if isinstance(name, str) else cls.__name__
    if unknown:
        options = [option.name for option in fields(cls)]
        asked = ", ".join(repr(each) + did_you_mean(each, options) for each in unknown)
        return f"{name} has no option {asked}; its options are {', '.join(options)}"
    if any(e["type"] == "unexpected_positional_argument" for e in error.errors()):
        return f"options of {name} are given by name: {cls.__name__}({fields(cls)[0].name}=...)"
    faults = (f"{'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in error.errors())
    return f"{name}: {'; '.join(faults)}"
