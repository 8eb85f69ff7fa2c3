"""The examination that every measurement passes before a run, unless it is to be taken as it is."""

import warnings

from exitwave.data.errors import ExaminedWarning, InputError
from exitwave.data.finding import EXAMINED
from exitwave.data.measurement import Measurement
from exitwave.problems.examination import examine
from exitwave.problems.setup import Setup, frame_numbers


def examined(measurement: Measurement, setup: Setup) -> Measurement:
    """The measurement with everything cured that has one safe cure; what was found is told and kept in its provenance.

    Warns (ExaminedWarning) of what was cured and what looks wrong. Raises InputError, with the cure, for what stops a run.
    A measurement that was examined already is returned as it is.
    """
    if EXAMINED in measurement.provenance:
        return measurement
    found = examine(
        measurement,
        drop_frames=frame_numbers(setup.drop_frames),
        keep_frames=frame_numbers(setup.keep_frames),
        as_is=setup.as_is,
    )
    if found.refusals:
        raise InputError(
            "; besides, ".join(each.line for each in found.refusals) + " (--as-is takes the data as they are)"
        )
    for each in found.findings:
        warnings.warn(each.line, ExaminedWarning, stacklevel=3)
    return found.measurement
