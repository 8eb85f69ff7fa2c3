"""Numbers and lengths as scientists write them: few digits, and a unit that keeps them readable."""

import math

_UNITS = ((1.0, "m"), (1e-3, "mm"), (1e-6, "µm"), (1e-9, "nm"), (1e-10, "Å"), (1e-12, "pm"))
ROUNDING = 1e-14
"""What is smaller is what arithmetic leaves of nothing."""


def number(value: float, digits: int = 3) -> str:
    """A value with `digits` significant digits: 0.0123, 1.2e-05, 6.24e+05; a dash for what is not known."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if abs(value) < ROUNDING:
        return "0"
    if value == int(value) and abs(value) < 1e5:
        return str(int(value))
    return f"{value:.{digits}g}"


def length(metres: float, digits: int = 3) -> str:
    """A length with the unit that keeps it readable: 12.4 nm, 3.1 µm, 2.3 Å."""
    scale, unit = length_unit(metres)
    return f"{number(metres / scale, digits)} {unit}"


def lengths(sides_m: tuple[float, ...], digits: int = 3) -> str:
    """Lengths along several axes: one where all are alike, else each: 12.4 nm, 12.4 nm × 15 nm."""
    alike = all(math.isclose(side, sides_m[-1], rel_tol=1e-3) for side in sides_m)
    return " × ".join(length(side, digits) for side in (sides_m[-1:] if alike else sides_m))


def length_unit(metres: float) -> tuple[float, str]:
    """The unit for lengths of this order: its size in metres and its symbol."""
    # A length that rounds up to the next unit is written in it: 1 µm, not 1000 nm.
    return next(((scale, unit) for scale, unit in _UNITS if abs(metres) >= 0.9995 * scale), _UNITS[-1])
