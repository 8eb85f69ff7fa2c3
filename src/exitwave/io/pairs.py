"""Values that are one number for rows and columns alike, or one for each: 0.5, (0.5, 0.6) or, on the command line, 0.5x0.6."""

import math

from exitwave.data.errors import InputError

Pair = float | str | tuple[float, float]
"""One number, or (y, x)."""
WholePair = int | str | tuple[int, int]
"""One whole number, or (y, x)."""


def pair(stated: Pair, name: str) -> tuple[float, float]:
    """The values (y, x). Raises InputError for anything but one or two finite numbers."""
    parts = _parts(stated)
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(map(math.isfinite, numbers)):
        raise InputError(f"{name} is {stated!r}; expected one number, or two for rows and columns, such as 0.5x0.6")
    return numbers[0], numbers[-1]


def whole_pair(stated: WholePair, name: str) -> tuple[int, int]:
    """The whole numbers (y, x). Raises InputError for any others, and for those below 1."""
    y, x = pair(stated, name)
    if y != int(y) or x != int(x) or min(y, x) < 1:
        raise InputError(f"{name} is {stated!r}; expected one whole number above 0, or two, such as 256x128")
    return int(y), int(x)


def _parts(stated: Pair | WholePair) -> tuple[str | float, ...]:
    if isinstance(stated, str):
        # 75e-6x75e-6, 64,48 and (64, 48), as values are shown.
        return tuple(stated.strip("()[] ").lower().replace("×", "x").replace(",", "x").split("x"))
    return stated if isinstance(stated, tuple) else (stated,)
