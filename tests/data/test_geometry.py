"""Wavelengths, pixel sizes and magnification against closed forms and published numbers."""

import math

import pytest
from hypothesis import given, strategies as st

from exitwave.data.errors import InputError
from exitwave.data.geometry import Geometry, electron_wavelength_m, photon_wavelength_m

lengths = st.floats(1e-4, 1e2)


def test_photon_wavelength_of_8_kev():
    assert photon_wavelength_m(8000.0) == pytest.approx(1.549802e-10, rel=1e-6)


@pytest.mark.parametrize(("kilovolt", "picometre"), [(100, 3.7014), (200, 2.5079), (300, 1.9687)])
def test_electron_wavelengths_are_those_of_the_tables(kilovolt, picometre):
    assert electron_wavelength_m(kilovolt * 1e3) * 1e12 == pytest.approx(picometre, rel=5e-5)


@given(st.floats(1e3, 1e6))
def test_electron_wavelength_is_planck_over_relativistic_momentum(voltage):
    # h / sqrt(2 m e V (1 + e V / 2 m c^2)), SI constants of CODATA 2018
    h, m, e, c = 6.62607015e-34, 9.1093837015e-31, 1.602176634e-19, 299792458.0
    expected = h / math.sqrt(2 * m * e * voltage * (1 + e * voltage / (2 * m * c**2)))
    assert electron_wavelength_m(voltage) == pytest.approx(expected, rel=1e-8)


@given(st.floats(1e3, 1e6))
def test_slow_electrons_come_back_at_the_voltage_they_were_given(voltage):
    assert Geometry.from_voltage(voltage, 1.0, (1e-5, 1e-5)).energy_ev == pytest.approx(voltage, rel=1e-6)


@given(st.floats(50, 1e5))
def test_photon_energy_comes_back(energy):
    assert Geometry.from_energy(energy, 1.0, (1e-5, 1e-5)).energy_ev == pytest.approx(energy)


def test_far_field_pixel_of_non_square_frames_and_pixels():
    geometry = Geometry.from_energy(8000.0, 2.0, (75e-6, 150e-6))
    pixel_y, pixel_x = geometry.object_pixel_m((256, 512))
    assert pixel_y == pytest.approx(16.1438e-9, rel=1e-4)
    assert pixel_x == pytest.approx(pixel_y / 4)
    assert geometry.magnification == 1.0
    assert not geometry.near_field


def test_petra_iii_near_field_numbers():
    geometry = Geometry(
        wavelength_m=0.09795e-9, distance_m=1.12, detector_pixel_m=(55e-6, 55e-6), focus_distance_m=3.65e-3
    )
    assert geometry.magnification == pytest.approx(307.8, abs=0.1)
    assert geometry.object_pixel_m((100, 100))[0] == pytest.approx(178.7e-9, abs=0.1e-9)
    assert geometry.effective_distance_m == pytest.approx(3.638e-3, abs=1e-6)


@given(lengths, lengths)
def test_cone_beam_distance_is_the_harmonic_one(focus, distance):
    geometry = Geometry(wavelength_m=1e-10, distance_m=distance, detector_pixel_m=(1e-5, 2e-5), focus_distance_m=focus)
    assert geometry.effective_distance_m == pytest.approx(focus * distance / (focus + distance))


def test_a_parallel_beam_does_not_magnify():
    geometry = Geometry(wavelength_m=1e-10, distance_m=3.0, detector_pixel_m=(1e-5, 2e-5), focus_distance_m=math.inf)
    assert geometry.near_field
    assert geometry.object_pixel_m((10, 20)) == (1e-5, 2e-5)
    assert geometry.effective_distance_m == 3.0


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("name", ["wavelength_m", "distance_m", "detector_pixel_m", "focus_distance_m"])
def test_lengths_that_are_not_positive_are_refused(name, wrong):
    fields = {"wavelength_m": 1e-10, "distance_m": 1.0, "detector_pixel_m": (1e-5, 1e-5)}
    if name == "focus_distance_m" and wrong == math.inf:
        return
    fields[name] = (1e-5, wrong) if name == "detector_pixel_m" else wrong
    with pytest.raises(InputError):
        Geometry(**fields)


def test_energy_and_voltage_must_be_positive():
    for compute in (photon_wavelength_m, electron_wavelength_m):
        with pytest.raises(InputError, match="expected a positive"):
            compute(0.0)
