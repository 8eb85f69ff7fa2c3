"""Lengths in a line of text, in the unit that those who use the beam think in."""


def length(metres: float, particle: str = "photon") -> str:
    """A length with its unit; what electrons resolve in angstroms."""
    if particle == "electron" and 1e-11 <= abs(metres) < 1e-8:
        return f"{metres * 1e10:.4g} angstrom"
    for scale, unit in ((1.0, "m"), (1e-3, "mm"), (1e-6, "um"), (1e-9, "nm")):
        if abs(metres) >= scale:
            return f"{metres / scale:.5g} {unit}"
    return f"{metres * 1e12:.5g} pm"


def pair(metres: tuple[float, ...], particle: str = "photon") -> str:
    """Lengths along several axes."""
    return " x ".join(length(each, particle) for each in metres)


def angle(radians: tuple[float, float]) -> str:
    """A small angle (y, x) with its unit, once where both are the same."""
    scale, unit = (1e3, "mrad") if max(radians) >= 1e-4 else (1e6, "urad")
    y, x = (f"{each * scale:.4g}" for each in radians)
    return f"{y} {unit}" if y == x else f"{y} x {x} {unit}"
