"""The examination that every measurement passes before a run, unless it is to be taken as it is."""

import math
import warnings

import torch

from exitwave.data import prepare
from exitwave.data.errors import ExaminedWarning, InputError
from exitwave.data.finding import EXAMINED
from exitwave.data.measurement import Measurement
from exitwave.data.progress import phase
from exitwave.problems.examination import examine
from exitwave.problems.setup import Setup, frame_numbers
from exitwave.running.pose import allowed_bytes

HELD_SHARE = 0.1
"""Of the memory that may be taken."""


def examined(measurement: Measurement, setup: Setup) -> Measurement:
    """The measurement with everything cured that has one safe cure; what was found is told and kept in its provenance.

    Warns (ExaminedWarning) of what was cured and what looks wrong. Raises InputError, with the cure, for what stops a run.
    A measurement that was examined already is returned as it is.
    """
    own = [name for name in setup.beyond() if name in ("noise_threshold", "keep_aliens")]
    if own and (setup.as_is or EXAMINED in measurement.provenance):
        why = "as_is takes the data as they are" if setup.as_is else "the measurement was examined already"
        raise InputError(f"{why}: {' and '.join(own)} belong to its examination; give them there, or leave them out")
    if EXAMINED in measurement.provenance:
        return measurement
    dropped = frame_numbers(setup.drop_frames)
    if setup.as_is and not dropped:
        return measurement
    with phase("examining the frames"):
        found = examine(
            _held(measurement, setup),
            drop_frames=dropped,
            keep_frames=frame_numbers(setup.keep_frames),
            noise_threshold=setup.noise_threshold,
            keep_aliens=setup.keep_aliens,
            as_is=setup.as_is,
        )
    if found.refusals:
        raise InputError(
            "; besides, ".join(each.line for each in found.refusals) + " (--as-is takes the data as they are)"
        )
    for each in found.findings:
        warnings.warn(each.line, ExaminedWarning, stacklevel=3)
    return found.measurement


def _held(measurement: Measurement, setup: Setup) -> Measurement:
    """Frames on disk read into memory, where they are few beside it: what looks at them next need not read them again."""
    needed = 4 * math.prod(measurement.patterns.shape)
    if measurement.patterns.in_memory or needed > HELD_SHARE * allowed_bytes(setup.memory, torch.device("cpu")):
        return measurement
    return prepare.to_memory(measurement)
