"""Numbers as scientists write them: lengths with a fitting unit, scale bars of sensible length, few digits."""

import math
from dataclasses import dataclass

_UNITS = ((1.0, "m"), (1e-3, "mm"), (1e-6, "µm"), (1e-9, "nm"), (1e-10, "Å"), (1e-12, "pm"))
_ANGLES = ((1.0, "rad"), (1e-3, "mrad"), (1e-6, "µrad"))


@dataclass(frozen=True)
class Fact:
    """One row of a table or one figure of the headline."""

    name: str
    value: str
    note: str = ""


def number(value: float, digits: int = 3) -> str:
    """A value with `digits` significant digits: 0.0123, 1.2e-05, 6.24e+05; a dash for what is not known."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == int(value) and abs(value) < 1e5:
        return str(int(value))
    return f"{value:.{digits}g}"


def length(metres: float, digits: int = 3) -> str:
    """A length with the unit that keeps it readable: 12.4 nm, 3.1 µm, 2.3 Å."""
    scale, unit = length_unit(metres)
    return f"{number(metres / scale, digits)} {unit}"


def angle(radians: float, digits: int = 3) -> str:
    """A scattering angle with the unit that keeps it readable: 21.4 mrad."""
    scale, unit = next(((scale, unit) for scale, unit in _ANGLES if abs(radians) >= 0.9995 * scale), _ANGLES[-1])
    return f"{number(radians / scale, digits)} {unit}"


def area(sides_m: tuple[float, float]) -> str:
    """The size of a region in one unit: 14.9 × 15.2 µm."""
    scale, unit = length_unit(max(sides_m))
    return f"{number(sides_m[0] / scale)} × {number(sides_m[1] / scale)} {unit}"


def nice_lengths(least_m: float) -> list[float]:
    """1, 1.5, 2, 3, 5 and 7 times powers of ten above `least_m`, two decades of them."""
    decade = math.floor(math.log10(least_m))
    steps = [step * 10.0**power for power in range(decade, decade + 3) for step in (1, 1.5, 2, 3, 5, 7)]
    return [step for step in steps if step > least_m]


def length_unit(metres: float) -> tuple[float, str]:
    """The unit for lengths of this order: its size in metres and its symbol."""
    # A length that rounds up to the next unit is written in it: 1 µm, not 1000 nm.
    return next(((scale, unit) for scale, unit in _UNITS if abs(metres) >= 0.9995 * scale), _UNITS[-1])


def scale_bar_m(width_m: float) -> float:
    """The longest of 1, 2 and 5 times a power of ten metres that fills at most 30 % of a picture of this width."""
    most = 0.3 * width_m * (1 + 1e-9)
    decade = 10.0 ** math.floor(math.log10(most))
    return max(step * decade for step in (1, 2, 5) if step * decade <= most)


def duration(seconds: float) -> str:
    """A time: 8.2 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 60:
        return f"{number(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def half_period(fraction: float, pixel_m: tuple[float, ...]) -> str:
    """The half period of a spatial frequency given as a fraction of Nyquist, as a length in the sample."""
    if not fraction > 0:
        return "unresolved"
    text = length(max(pixel_m) / fraction)
    return f"{text} or finer" if fraction >= 1 else text
