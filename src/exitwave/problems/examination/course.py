"""The course of an examination: positions, cut, pixels, frames, beam, regime, one after another on what was cured so far."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.dark_pixels import FEWEST_FRAMES, dark_pixels
from exitwave.data.errors import InputError
from exitwave.data.finding import EXAMINED, FRAMES_BEFORE, LEFT_OUT, Finding, findings_of
from exitwave.data.geometry import sensible_pixel
from exitwave.data.measurement import Measurement
from exitwave.data.pattern import Pattern
from exitwave.data.patterns import RememberedPatterns
from exitwave.data.scan import Scan
from exitwave.data.statistics import ScanStatistics, scan_statistics
from exitwave.problems.examination.alike import alike_findings
from exitwave.problems.examination.beam import beam_findings, gap_findings
from exitwave.problems.examination.cutting import CUT_FRAMES, cut_to_beam, is_full_detector
from exitwave.problems.examination.frames import BadFrames, Looks, bad_frames
from exitwave.problems.examination.pixels import Bad, suspect_pixels
from exitwave.problems.examination.positions import MISSING, bad_positions, in_scale
from exitwave.problems.examination.regime import regime_findings
from exitwave.problems.examination.survey import Survey, survey
from exitwave.problems.examination.words import frame_list
from exitwave.problems.shadow_motion import ShadowMotion, shadow_motion

LARGEST_REACH_PX = 1e6
"""Positions that lie further from the middle than this, as a rule, have another unit than it seems."""
SPECIMEN_BYTES = 48 * 2**20
REMEMBERED_BYTES = 64 * 2**20
ALIKE_FRAMES = 64
"""Looked at to see whether patterns differ."""
FAILS_OFTEN = 0.02
"""Share of the frames in which a pixel holds no data, from which on it is the pixel that is bad, not the frames."""
MOST_FAILING = 0.05
"""Of the pixels; where more fail, it is the frames."""


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Specimens:
    """Some frames of a measurement, evenly chosen, for examinations that need to look at whole frames; untouched by the mask."""

    numbers: Int[Tensor, " few"]
    frames: Float[Tensor, "few y x"]


def examine(
    measurement: Measurement,
    *,
    drop_frames: tuple[int, ...] = (),
    keep_frames: tuple[int, ...] = (),
    most_frames: int | None = None,
    as_is: bool = False,
) -> Examination:
    """Examine a measurement and cure what has one safe cure.

    `drop_frames` are left out whatever they look like, `keep_frames` stay; numbers from 0. Frames are read once, at most
    `most_frames` of them, evenly chosen, when that is given. A measurement that was examined already, or is to be taken
    `as_is`, is returned as it is but for the frames to drop. Raises InputError for frame numbers that are not there.
    """
    if EXAMINED in measurement.provenance:
        seen = scan_statistics(measurement, most_frames=most_frames)
        return Examination(measurement=measurement, findings=findings_of(measurement.provenance), statistics=seen)
    _require_numbers(measurement, (*drop_frames, *keep_frames))
    course = _Course(measurement, keep_frames, most_frames)
    # Of kinds that other packages bring nobody knows here what is usual.
    if as_is or not isinstance(measurement, Scan | Pattern) or _absurd(measurement):
        return course.as_it_is(drop_frames)
    course.positions(drop_frames)
    course.cut()
    course.pixels()
    course.frames()
    course.detector()
    course.regime()
    return course.examination()


def _absurd(measurement: Measurement) -> bool:
    """Whether lengths are so wrong that nothing can be told of the frames; it is refused with the cure when it is posed."""
    pixel_m = measurement.object_pixel_m
    if not sensible_pixel((pixel_m[-2], pixel_m[-1])):
        return True
    if not isinstance(measurement, Scan):
        return False
    known = measurement.positions_m[measurement.positions_m.isfinite().all(dim=1)]
    return len(known) > 0 and not in_scale(known)[1] < LARGEST_REACH_PX * min(pixel_m)


def specimens(measurement: Measurement, most: int = 32) -> Specimens:
    """Some frames, evenly chosen: as many as can be looked at in a moment."""
    most = min(most, max(8, SPECIMEN_BYTES // (4 * math.prod(measurement.frame_shape))))
    chosen = torch.linspace(0, len(measurement) - 1, min(most, len(measurement))).round().to(torch.int64)
    return Specimens(numbers=chosen, frames=measurement.frames(chosen).cpu())


class _Course:
    """The examination on its way: the measurement as it is cured so far, and what was found."""

    def __init__(self, measurement: Measurement, keep_frames: tuple[int, ...], most_frames: int | None) -> None:
        self.measurement, self.kept, self.most_frames = measurement, keep_frames, most_frames
        self.numbers = torch.arange(len(measurement))
        """The number that each frame still there had at the beginning."""
        self.left_out: list[int] = []
        self.findings: list[Finding] = []
        self.masked: Counter[str] = Counter()
        self.specimens = Specimens(numbers=self.numbers[:0], frames=torch.zeros(0, *measurement.frame_shape))
        self.seen: Survey | None = None
        self.motion: ShadowMotion | None = None

    def as_it_is(self, drop_frames: tuple[int, ...]) -> Examination:
        """Nothing but the frames that the user does not want left out."""
        self._drop(drop_frames)
        seen = scan_statistics(self.measurement, most_frames=self.most_frames)
        told = {**self.measurement.provenance, **self._told_left_out()}
        return Examination(measurement=replace(self.measurement, provenance=told), findings=(), statistics=seen)

    def positions(self, drop_frames: tuple[int, ...]) -> None:
        """Leave out the frames the user names, and those whose position cannot be."""
        reasons = dict[int, str]()
        if isinstance(self.measurement, Scan):
            pixels = zip(self.measurement.frame_shape, self.measurement.object_pixel_m, strict=True)
            reasons = bad_positions(self.measurement.positions_m, max(count * size for count, size in pixels))
        unplaced = sorted(number for number, reason in reasons.items() if reason == MISSING and number in self.kept)
        if unplaced:
            raise InputError(
                f"frames {frame_list(unplaced)} are to be kept but their positions are not numbers (NaN or infinite); repair "
                "the positions or leave these frames out"
            )
        self._leave_out(BadFrames(reasons).without((*self.kept, *drop_frames)))
        self._drop(drop_frames)

    def cut(self) -> None:
        """Cut the frames of a full detector around the beam, before they are all looked at."""
        if isinstance(self.measurement, Scan) and is_full_detector(self.measurement):
            self.measurement, found = cut_to_beam(self.measurement, specimens(self.measurement, CUT_FRAMES).frames)
            self.findings += found
        # Several looks at some frames each: much of a frame on disk is read for little of it when it was cut.
        if self.most_frames is not None and not self.measurement.patterns.in_memory:
            kept = RememberedPatterns(self.measurement.patterns, REMEMBERED_BYTES)
            self.measurement = replace(self.measurement, patterns=kept)

    def pixels(self) -> None:
        """Mask pixels that hold no counts."""
        self.specimens = specimens(self.measurement)
        for found in suspect_pixels(self.specimens.frames, self.measurement.mask):
            self._mask(found)

    def frames(self) -> None:
        """Go over all frames; mask pixels that fail again and again, leave out frames that are bad."""
        seen = survey(self.measurement, self.most_frames)
        often = (seen.no_data > max(1, FAILS_OFTEN * len(seen.constant))) & self.measurement.mask
        if bool(often.any()) and int(often.sum()) <= MOST_FAILING * int(self.measurement.mask.sum()):
            self._mask(Bad("sentinel-pixels", often, "without data in many frames"))
            seen = survey(self.measurement, self.most_frames)
        at = seen.statistics.looked_at
        positions = self.measurement.positions_m[at] if isinstance(self.measurement, Scan) else None
        monitor = None if self.measurement.monitor is None else self.measurement.monitor[at]
        bad = bad_frames(Looks.of(seen), self.numbers[at], positions, monitor).without(self.kept)
        # What is wrong with most of them is refused where the problem is posed.
        if bad.reasons and 2 * len(bad.reasons) <= len(at):
            self._leave_out(bad)
            seen = survey(self.measurement, self.most_frames)
        self.seen = seen

    def detector(self) -> None:
        """Look for dead pixels, blind lines and areas, and where the beam stands."""
        assert self.seen is not None
        pattern, count = self.seen.statistics.mean_pattern, len(self.seen.constant)
        if count >= FEWEST_FRAMES:
            dark = dark_pixels(self.seen.lit, count, self.measurement.mask)
            self._mask(Bad("dead-pixels", dark.single, "dead: dark in the midst of light"))
            self.findings += gap_findings(dark)
        if not self.measurement.geometry.near_field:
            self.findings += beam_findings(pattern, self.measurement.mask)

    def regime(self) -> None:
        """See whether a shadow moves with the stage as it must where the scan says it was measured."""
        assert self.seen is not None
        if not isinstance(self.measurement, Scan):
            return
        few = specimens(self.measurement, ALIKE_FRAMES).frames
        particle = self.measurement.geometry.particle
        alike = alike_findings(few, self.measurement.mask, particle, len(self.measurement))
        self.findings += alike
        # Nothing moves in what is always the same.
        if not alike:
            self.motion = shadow_motion(self.measurement, self.seen.statistics.mean_pattern)
            self.findings += regime_findings(self.measurement, self.motion)

    def examination(self) -> Examination:
        """What came of it."""
        assert self.seen is not None
        told: dict[str, Any] = {EXAMINED: [found.to_json() for found in self.findings]}
        told |= self._told_left_out()
        measurement = replace(self.measurement, provenance={**self.measurement.provenance, **told})
        # Dead pixels counted nothing: masked or not, the statistics are the same.
        return Examination(
            measurement=measurement,
            findings=tuple(self.findings),
            statistics=self.seen.statistics,
            masked=self.masked,
            motion=self.motion,
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


def _require_numbers(measurement: Measurement, numbers: tuple[int, ...]) -> None:
    beyond = [number for number in numbers if number >= len(measurement)]
    if beyond:
        raise InputError(
            f"frame {beyond[0]} is named but there are frames 0 to {len(measurement) - 1}; numbers count from 0, after preparation"
        )
