"""Units that files name in words, as numbers of metres, electronvolts and radians."""

import math

from exitwave.data.errors import FormatError
from exitwave.data.geometry import JOULE_PER_EV

LENGTHS_M: dict[str, float] = {
    **dict.fromkeys(("m", "meter", "metre", "meters", "metres"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 1e-2),
    **dict.fromkeys(("mm", "millimeter", "millimetre", "millimeters", "millimetres"), 1e-3),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometre", "micrometers"), 1e-6),
    **dict.fromkeys(("nm", "nanometer", "nanometre", "nanometers", "nanometres"), 1e-9),
    **dict.fromkeys(("A", "Å", "å", "angstrom", "angstroms", "ångström"), 1e-10),
    **dict.fromkeys(("pm", "picometer", "picometre"), 1e-12),
}
ENERGIES_EV: dict[str, float] = {
    **dict.fromkeys(("eV", "ev", "electronvolt"), 1.0),
    **dict.fromkeys(("keV", "kev"), 1e3),
    "GeV": 1e9,
    "MeV": 1e6,
    "meV": 1e-3,
    **dict.fromkeys(("J", "j", "joule", "joules"), 1 / JOULE_PER_EV),
}
ANGLES_RAD: dict[str, float] = {
    **dict.fromkeys(("rad", "radian", "radians"), 1.0),
    "mrad": 1e-3,
    **dict.fromkeys(("deg", "degree", "degrees", "°"), math.pi / 180),
}


def length_m(value: float, unit: str) -> float:
    """A length in metres. Raises FormatError for a unit that is not of length."""
    return value * factor(unit, LENGTHS_M, "length")


def energy_ev(value: float, unit: str) -> float:
    """An energy in eV. Raises FormatError for a unit that is not of energy."""
    return value * factor(unit, ENERGIES_EV, "energy")


def factor(unit: str, known: dict[str, float], quantity: str) -> float:
    """What a number in `unit` is multiplied by. As written first: MeV and meV differ only in case."""
    word = unit.strip()
    for spelling in (word, word.lower()):
        if spelling in known:
            return known[spelling]
    # One spelling of each is enough to learn from.
    usual = dict(reversed([(scale, spelling) for spelling, scale in known.items()]))
    raise FormatError(f"{unit!r} is no known unit of {quantity}; expected one of {', '.join(reversed(usual.values()))}")
