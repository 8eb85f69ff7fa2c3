"""False alarms cost trust: in healthy measurements of every kind nothing is found."""

import pytest

from exitwave.problems.examination import examine
from made_measurements import healthy

HEALTHY = healthy()


def test_there_are_enough_of_them():
    assert len(HEALTHY) >= 40


@pytest.mark.parametrize("name", HEALTHY)
def test_nothing_is_found(name):
    measurement = HEALTHY[name]()
    found = examine(measurement)
    assert [each.line for each in found.findings] == []
    assert len(found.measurement) == len(measurement)
    assert bool((found.measurement.mask == measurement.mask).all())
