import math

import pytest

from exitwave.data.errors import FormatError
from exitwave.io.units import ANGLES_RAD, energy_ev, factor, length_m


@pytest.mark.parametrize("unit", ["um", "µm", "μm", "micron", " um ", "UM"])
def test_micrometres_are_known_by_all_their_names(unit: str) -> None:
    assert length_m(75, unit) == pytest.approx(75e-6)


def test_energies_of_the_neighbouring_tools_agree() -> None:
    assert energy_ev(8, "keV") == pytest.approx(energy_ev(8000, "eV")) == pytest.approx(energy_ev(1.281741e-15, "J"))


def test_mega_and_milli_are_told_apart_by_case() -> None:
    assert energy_ev(1, "MeV") == pytest.approx(1e9 * energy_ev(1, "meV"))


def test_degrees_become_radians() -> None:
    assert 180 * factor("deg", ANGLES_RAD, "angle") == pytest.approx(math.pi)


def test_a_unit_of_another_quantity_is_refused_by_name() -> None:
    with pytest.raises(FormatError, match="'keV' is no known unit of length"):
        length_m(1, "keV")
