import math

import pytest

from exitwave.reports.formatting import area, duration, length, nice_lengths, number, scale_bar_m


@pytest.mark.parametrize(
    ("metres", "text"),
    [
        (12.4e-9, "12.4 nm"),
        (3.14159e-6, "3.14 µm"),
        (999.9e-9, "1 µm"),
        (20e-12, "20 pm"),
        (0.2e-12, "0.2 pm"),
        (2.0, "2 m"),
    ],
)
def test_lengths_have_a_readable_unit(metres: float, text: str):
    assert length(metres) == text


@pytest.mark.parametrize("width_m", [3e-10, 0.7e-9, 1e-6, 4.2e-6, 9.99e-6, 33e-6, 1.0])
def test_a_scale_bar_is_one_two_or_five_and_fills_a_good_part_of_the_width(width_m: float):
    bar = scale_bar_m(width_m)
    mantissa = bar / 10.0 ** math.floor(math.log10(bar * 1.0001))
    assert min(abs(mantissa - step) for step in (1, 2, 5)) < 1e-6
    assert 0.11 * width_m < bar <= 0.3 * width_m * 1.0001


def test_numbers_that_are_not_known_are_dashes():
    assert number(math.nan) == "–"
    assert number(math.inf) == "∞"
    assert number(0.0) == "0"


def test_areas_and_times_read_well():
    assert area((14.91e-6, 15.2e-6)) == "14.9 × 15.2 µm"
    assert [duration(s) for s in (8.2, 200, 7500)] == ["8.2 s", "3 min 20 s", "2 h 5 min"]


def test_nice_lengths_rise_from_just_above_the_least():
    lengths = nice_lengths(32.3e-9)
    assert lengths[0] == pytest.approx(50e-9)
    assert lengths == sorted(lengths)
    assert lengths[-1] > 32.3e-7
