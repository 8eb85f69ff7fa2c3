"""The examination of frames in the far and near field: positions, cut, pixels, frames, beam, regime, one after another."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.dark_pixels import FEWEST_FRAMES, dark_pixels
from exitwave.data.errors import InputError
from exitwave.data.geometry import sensible_pixel
from exitwave.data.measurement import Measurement
from exitwave.data.pattern import Pattern
from exitwave.data.patterns import RememberedPatterns
from exitwave.data.scan import Scan
from exitwave.problems.examination.alike import alike_findings
from exitwave.problems.examination.beam import beam_findings, gap_findings
from exitwave.problems.examination.course import Course, Examination, Wishes, course_of
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
class Specimens:
    """Some frames of a measurement, evenly chosen, for examinations that need to look at whole frames; untouched by the mask."""

    numbers: Int[Tensor, " few"]
    frames: Float[Tensor, "few y x"]


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


class FramesCourse(Course):
    """The examination of a scan or of one pattern."""

    def conducted(self) -> Examination:
        if _absurd(self.measurement):
            return self.as_it_is()
        self.positions()
        self.cut()
        self.pixels()
        seen = self.frames()
        self.detector(seen)
        motion = self.regime(seen)
        return self._examined(seen.statistics, motion)

    def positions(self) -> None:
        """Leave out the frames the user names, and those whose position cannot be."""
        reasons = dict[int, str]()
        if isinstance(self.measurement, Scan):
            pixels = zip(self.measurement.frame_shape, self.measurement.object_pixel_m, strict=True)
            reasons = bad_positions(self.measurement.positions_m, max(count * size for count, size in pixels))
        unplaced = sorted(
            number for number, reason in reasons.items() if reason == MISSING and number in self.wishes.keep_frames
        )
        if unplaced:
            raise InputError(
                f"frames {frame_list(unplaced)} are to be kept but their positions are not numbers (NaN or infinite); repair "
                "the positions or leave these frames out"
            )
        wishes = self.wishes
        self._leave_out(BadFrames(reasons).without((*wishes.keep_frames, *wishes.drop_frames)))
        self._drop(wishes.drop_frames)

    def cut(self) -> None:
        """Cut the frames of a full detector around the beam, before they are all looked at."""
        if isinstance(self.measurement, Scan) and is_full_detector(self.measurement):
            self.measurement, found = cut_to_beam(self.measurement, specimens(self.measurement, CUT_FRAMES).frames)
            self.findings += found
        # Several looks at some frames each: much of a frame on disk is read for little of it when it was cut.
        if self.wishes.most_frames is not None and not self.measurement.patterns.in_memory:
            kept = RememberedPatterns(self.measurement.patterns, REMEMBERED_BYTES)
            self.measurement = replace(self.measurement, patterns=kept)

    def pixels(self) -> None:
        """Mask pixels that hold no counts."""
        for found in suspect_pixels(specimens(self.measurement).frames, self.measurement.mask):
            self._mask(found)

    def frames(self) -> Survey:
        """Go over all frames; mask pixels that fail again and again, leave out frames that are bad."""
        seen = survey(self.measurement, self.wishes.most_frames)
        often = (seen.no_data > max(1, FAILS_OFTEN * len(seen.constant))) & self.measurement.mask
        if bool(often.any()) and int(often.sum()) <= MOST_FAILING * int(self.measurement.mask.sum()):
            self._mask(Bad("sentinel-pixels", often, "without data in many frames"))
            seen = survey(self.measurement, self.wishes.most_frames)
        at = seen.statistics.looked_at
        positions = self.measurement.positions_m[at] if isinstance(self.measurement, Scan) else None
        monitor = None if self.measurement.monitor is None else self.measurement.monitor[at]
        bad = bad_frames(Looks.of(seen), self.numbers[at], positions, monitor).without(self.wishes.keep_frames)
        # What is wrong with most of them is refused where the problem is posed.
        if bad.reasons and 2 * len(bad.reasons) <= len(at):
            self._leave_out(bad)
            seen = survey(self.measurement, self.wishes.most_frames)
        return seen

    def detector(self, seen: Survey) -> None:
        """Look for dead pixels, blind lines and areas, and where the beam stands."""
        pattern, count = seen.statistics.mean_pattern, len(seen.constant)
        if count >= FEWEST_FRAMES:
            dark = dark_pixels(seen.lit, count, self.measurement.mask)
            self._mask(Bad("dead-pixels", dark.single, "dead: dark in the midst of light"))
            self.findings += gap_findings(dark)
        if not self.measurement.geometry.near_field:
            self.findings += beam_findings(pattern, self.measurement.mask)

    def regime(self, seen: Survey) -> ShadowMotion | None:
        """See whether a shadow moves with the stage as it must where the scan says it was measured."""
        if not isinstance(self.measurement, Scan):
            return None
        few = specimens(self.measurement, ALIKE_FRAMES).frames
        particle = self.measurement.geometry.particle
        alike = alike_findings(few, self.measurement.mask, particle, len(self.measurement))
        self.findings += alike
        # Nothing moves in what is always the same.
        if alike:
            return None
        motion = shadow_motion(self.measurement, seen.statistics.mean_pattern)
        self.findings += regime_findings(self.measurement, motion)
        return motion


@course_of.register(Scan)
@course_of.register(Pattern)
def _(measurement: Scan | Pattern, wishes: Wishes) -> FramesCourse:
    return FramesCourse(measurement, wishes)
