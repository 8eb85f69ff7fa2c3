"""Which numbers of an unknown HDF5 file are the angles of a rocking curve, by the names of the circles of known diffractometers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from exitwave.io.diffractometers import shipped_diffractometers
from exitwave.io.hdf5.tree import Entry


@dataclass(frozen=True)
class RecognisedAngles:
    """Circles of one diffractometer in a file."""

    diffractometer: str
    """The one of whose circles most are there."""
    circles: dict[str, Entry]
    rocked: str

    @property
    def lacking(self) -> list[str]:
        """Circles that the file does not have."""
        described = shipped_diffractometers()[self.diffractometer]
        return [name for name in (*described.sample, *described.detector) if name not in self.circles]


def recognised_angles(found: Sequence[Entry], count: int, moved: Callable[[Entry], bool]) -> RecognisedAngles | None:
    """Angles of a diffractometer of which a circle of the sample turned in `count` frames; None where there are none."""
    best: RecognisedAngles | None = None
    for name, described in shipped_diffractometers().items():
        circles = {
            circle: entry
            for circle in (*described.sample, *described.detector)
            if (entry := _angle(found, circle, count)) is not None
        }
        turned = [circle for circle in described.sample if circle in circles and circles[circle].count == count > 1]
        rocked = next((circle for circle in turned if moved(circles[circle])), None)
        if rocked is not None and (best is None or len(circles) > len(best.circles)):
            best = RecognisedAngles(name, circles, rocked)
    return best


def _angle(found: Sequence[Entry], circle: str, count: int) -> Entry | None:
    """The list with an angle for each frame, else the single angle, of this name."""
    named = [entry for entry in found if entry.kind in "iuf" and "_".join(entry.words) == circle.lower()]
    each = (entry for entry in named if entry.count == count and len(entry.shape) == 1)
    return next(each, None) or next((entry for entry in named if entry.value is not None), None)
