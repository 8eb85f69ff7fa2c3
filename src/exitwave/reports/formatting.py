"""Numbers as scientists write them: lengths with a fitting unit, scale bars of sensible length, few digits."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exitwave.evaluation.metrics import Unit

from exitwave.data.lengths import ROUNDING, length as length, length_unit as length_unit, number as number

_ANGLES = ((1.0, "rad"), (1e-3, "mrad"), (1e-6, "µrad"))


@dataclass(frozen=True)
class Fact:
    """One row of a table or one figure of the headline."""

    name: str
    value: str
    note: str = ""


def angle(radians: float, digits: int = 3) -> str:
    """A scattering angle with the unit that keeps it readable: 21.4 mrad."""
    scale, unit = next(((scale, unit) for scale, unit in _ANGLES if abs(radians) >= 0.9995 * scale), _ANGLES[-1])
    return f"{number(radians / scale, digits)} {unit}"


def pixels(count: float) -> str:
    """A length in pixels: 20 px."""
    return f"{number(count)} px"


def area(sides_m: tuple[float, float]) -> str:
    """The size of a region in one unit: 14.9 × 15.2 µm."""
    scale, unit = length_unit(max(sides_m))
    return f"{number(sides_m[0] / scale)} × {number(sides_m[1] / scale)} {unit}"


def nice_lengths(least_m: float) -> list[float]:
    """1, 1.5, 2, 3, 5 and 7 times powers of ten above `least_m`, two decades of them."""
    decade = math.floor(math.log10(least_m))
    steps = [step * 10.0**power for power in range(decade, decade + 3) for step in (1, 1.5, 2, 3, 5, 7)]
    return [step for step in steps if step > least_m]


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


def quantity(value: float, unit: "Unit", pixel_m: tuple[float, ...]) -> str:
    """A figure of merit with its unit: 2.7 %, 84 nm, 0.12 px (7.9 nm), 38.2 dB."""
    if math.isnan(value):
        return "–"
    match unit:
        case "nyquist":
            return half_period(value, pixel_m)
        case "share":
            return f"{number(100 * value)} %"
        case "px":
            return f"{number(value)} px" + (f" ({length(value * max(pixel_m))})" if value >= ROUNDING else "")
        case "dB":
            return f"{number(value)} dB"
        case "":
            return number(value)
