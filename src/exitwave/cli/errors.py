"""Errors in one line each: what was found, what was expected, what to do."""

import os
import sys
import traceback
from contextlib import suppress

from cyclopts import CycloptsError
from pydantic import ValidationError

from exitwave.data.errors import ExitwaveError, UnknownFileError

MEMORY_ADVICE = (
    "out of memory; make the problem smaller (--prepare bin=2, --prepare crop=128, --prepare select=::2) or leave the frames "
    "on disk in HDF5 and close other programs"
)


def error_line(error: BaseException) -> tuple[str, int]:
    """The line to print for an error, and the exit code."""
    text, code = _described(error)
    return " ".join(text.split()), code


def held_lines(error: BaseException) -> tuple[str, ...]:
    """What stands beneath the line: what an unknown file holds."""
    return error.held if isinstance(error, UnknownFileError) else ()


def _described(error: BaseException) -> tuple[str, int]:
    if isinstance(error, BrokenPipeError):
        # The reader of a pipe went away; that is its right. What is still to be written goes nowhere.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return "", 0
    if isinstance(error, UnknownFileError):
        return error.message, 2
    if isinstance(error, ExitwaveError):
        return str(error), 2
    if isinstance(error, CycloptsError):
        return _of_values(error.__cause__) if isinstance(error.__cause__, ValidationError) else str(error), 2
    if isinstance(error, ValidationError):
        return _of_values(error), 2
    if _is_memory(error):
        return MEMORY_ADVICE, 2
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'}: {error.strerror or error}", 2
    if os.environ.get("EXITWAVE_TRACEBACK"):
        traceback.print_exception(error)
    return (
        f"unexpected {type(error).__name__}: {error} (a defect of exitwave: please report it; EXITWAVE_TRACEBACK=1 shows where)",
        1,
    )


def _is_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in text or "not enough memory" in text or "can't allocate" in text)
    )


def _of_values(error: ValidationError) -> str:
    faults = (
        f"--{'.'.join(map(str, e['loc'])).replace('_', '-')} is {e['input']!r}: {_in_a_line(e['msg'])}"
        for e in error.errors()
    )
    return "; ".join(faults)


def _in_a_line(text: str) -> str:
    """A sentence of pydantic's as the end of another: without its heading, names and units as they are."""
    text = text.removeprefix("Value error, ")
    return text[:1].lower() + text[1:]
