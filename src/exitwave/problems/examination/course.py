"""The course of an examination, whatever was measured: what is found on the way, what was masked and left out."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any

import torch

from exitwave.data.errors import InputError
from exitwave.data.finding import EXAMINED, FRAMES_BEFORE, LEFT_OUT, Finding, findings_of
from exitwave.data.measurement import Measurement
from exitwave.data.statistics import ScanStatistics, scan_statistics
from exitwave.problems.examination.frames import BadFrames
from exitwave.problems.examination.pixels import Bad
from exitwave.problems.shadow_motion import ShadowMotion


@dataclass(frozen=True, kw_only=True, eq=False)
class Examination:
    """A measurement that was examined, and what was found."""

    measurement: Measurement
    """With everything cured that has one safe cure; its provenance holds the findings."""
    findings: tuple[Finding, ...]
    statistics: ScanStatistics
    """Of the frames of the cured measurement."""
    masked: Mapping[str, int] = field(default_factory=dict[str, int])
    """Pixels that were masked, by the name of the finding."""
    motion: ShadowMotion | None = None
    """How the sample's shadow moves with the stage; of a scan."""

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """Findings that stop a run."""
        return tuple(found for found in self.findings if found.action == "refused")


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the user wants of an examination."""

    drop_frames: tuple[int, ...] = ()
    keep_frames: tuple[int, ...] = ()
    most_frames: int | None = None
    noise_threshold: float | None = None
    """Of a rocking curve: counts below are set to zero; found in the data when left out."""
    keep_aliens: bool = False
    """Of a rocking curve: whether scattering of other crystals stays in it."""


def examine(
    measurement: Measurement,
    *,
    drop_frames: tuple[int, ...] = (),
    keep_frames: tuple[int, ...] = (),
    most_frames: int | None = None,
    noise_threshold: float | None = None,
    keep_aliens: bool = False,
    as_is: bool = False,
) -> Examination:
    """Examine a measurement and cure what has one safe cure.

    `drop_frames` are left out whatever they look like, `keep_frames` stay; numbers from 0. Frames are read once, at most
    `most_frames` of them, evenly chosen, when that is given. Of a rocking curve counts below `noise_threshold` are set to zero,
    by what the data themselves tell when left out, and `keep_aliens` keeps scattering of other crystals. A measurement that was
    examined already, or is to be taken `as_is`, is returned as it is but for the frames to drop. Raises InputError for frame
    numbers that are not there, and for wishes that its kind does not know.
    """
    if EXAMINED in measurement.provenance:
        seen = scan_statistics(measurement, most_frames=most_frames)
        return Examination(measurement=measurement, findings=findings_of(measurement.provenance), statistics=seen)
    _require_numbers(measurement, (*drop_frames, *keep_frames))
    wishes = Wishes(
        drop_frames=drop_frames,
        keep_frames=keep_frames,
        most_frames=most_frames,
        noise_threshold=noise_threshold,
        keep_aliens=keep_aliens,
    )
    course = course_of(measurement, wishes)
    course.require_known()
    return course.as_it_is() if as_is else course.conducted()


class Course:
    """An examination on its way: the measurement as it is cured so far, and what was found. Of kinds not known it looks at nothing."""

    def __init__(self, measurement: Measurement, wishes: Wishes) -> None:
        self.measurement, self.wishes = measurement, wishes
        self.numbers = torch.arange(len(measurement))
        """The number that each frame still there had at the beginning."""
        self.left_out: list[int] = []
        self.findings: list[Finding] = []
        self.masked: Counter[str] = Counter()

    def require_known(self) -> None:
        """Refuse wishes that this kind of measurement does not know."""
        asked = ["noise_threshold"] * (self.wishes.noise_threshold is not None) + [
            "keep_aliens"
        ] * self.wishes.keep_aliens
        if asked:
            raise InputError(
                f"{' and '.join(asked)} {'are' if len(asked) > 1 else 'is'} for rocking curves, but this is "
                f"{self.measurement.title}: leave out (a threshold is set with --prepare threshold=...)"
            )

    def conducted(self) -> Examination:
        """What came of looking at everything."""
        # Of kinds that other packages bring nobody knows here what is usual.
        return self.as_it_is()

    def as_it_is(self) -> Examination:
        """Nothing but the frames that the user does not want left out."""
        self._drop(self.wishes.drop_frames)
        seen = scan_statistics(self.measurement, most_frames=self.wishes.most_frames)
        told = {**self.measurement.provenance, **self._told_left_out()}
        return Examination(measurement=replace(self.measurement, provenance=told), findings=(), statistics=seen)

    def _examined(self, statistics: ScanStatistics, motion: ShadowMotion | None = None) -> Examination:
        told: dict[str, Any] = {EXAMINED: [found.to_json() for found in self.findings]}
        told |= self._told_left_out()
        measurement = replace(self.measurement, provenance={**self.measurement.provenance, **told})
        # Dead pixels counted nothing: masked or not, the statistics are the same.
        return Examination(
            measurement=measurement,
            findings=tuple(self.findings),
            statistics=statistics,
            masked=self.masked,
            motion=motion,
        )

    def _told_left_out(self) -> dict[str, Any]:
        before = len(self.left_out) + len(self.numbers)
        return {LEFT_OUT: sorted(self.left_out), FRAMES_BEFORE: before} if self.left_out else {}

    def _mask(self, found: Bad) -> None:
        if bool(found.pixels.any()):
            self.measurement = replace(self.measurement, mask=self.measurement.mask & ~found.pixels)
            self.findings.append(found.finding)
            self.masked[found.name] += int(found.pixels.sum())

    def _leave_out(self, bad: BadFrames) -> None:
        self.findings += bad.findings
        self._drop(tuple(bad.reasons))

    def _drop(self, numbers: tuple[int, ...]) -> None:
        """Leave out frames, by the numbers that they had at the beginning."""
        stay = ~torch.isin(self.numbers, torch.tensor(numbers, dtype=torch.int64))
        if not bool(stay.any()):
            raise InputError(f"all {len(self.numbers)} frames are to be left out; keep some (--keep-frames, --as-is)")
        if not bool(stay.all()):
            self.left_out += self.numbers[~stay].tolist()
            self.measurement, self.numbers = self.measurement.some(stay.nonzero().flatten()), self.numbers[stay]


@singledispatch
def course_of(measurement: Measurement, wishes: Wishes) -> Course:
    """The examination that this kind of measurement passes."""
    return Course(measurement, wishes)


def _require_numbers(measurement: Measurement, numbers: tuple[int, ...]) -> None:
    beyond = [number for number in numbers if number >= len(measurement)]
    if beyond:
        raise InputError(
            f"frame {beyond[0]} is named but there are frames 0 to {len(measurement) - 1}; numbers count from 0, after preparation"
        )
