"""Errors that a user can cause and mend, and warnings. Each says what was found, what was expected, what to do."""

from collections.abc import Sequence


class ExitwaveError(Exception):
    """Anything exitwave refuses; the command line prints it as one line and exits with code 2."""


class InputError(ExitwaveError, ValueError):
    """The measurement or an option makes no sense: wrong shape, unit, number of frames or value."""


class FormatError(InputError):
    """A file could not be understood: not the format it was taken for, truncated, or lacking something needed."""


class UnknownFileError(FormatError):
    """A file is of no known format; `held` tells in lines what it holds, which the command line prints beneath the message."""

    def __init__(self, message: str, held: Sequence[str] = ()) -> None:
        super().__init__("\n  ".join([message, *held]))
        self.message, self.held = message, tuple(held)


class ExaminedWarning(UserWarning):
    """Something was wrong with a measurement: the message says what, and what was done. It is kept with the result."""


class AmbiguousNameWarning(UserWarning):
    """A name has two meanings: the message says which of them was taken, and how to name the other."""


class DoubtfulImageWarning(UserWarning):
    """An image may not be trusted: the message says why, with numbers, and what to do. It is kept with the result."""


class RenamedOptionWarning(FutureWarning):
    """An option was given under the name that it had in an earlier version: the message says what it is called now."""
