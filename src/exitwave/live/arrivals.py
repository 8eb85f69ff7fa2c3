"""The examination of frames as they arrive: pixels by the latest frames, frames by those before them that were well."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.dark_pixels import FEWEST_FRAMES
from exitwave.data.patterns import ArrayPatterns
from exitwave.data.scan import Scan
from exitwave.problems.examination.frames import BadFrames, Looks, bad_frames
from exitwave.problems.examination.pixels import Bad, suspect_pixels, union
from exitwave.problems.examination.survey import survey, without_data

LATEST = 16
"""Frames by which pixels are examined, and after which they are examined anew."""
BESIDE = 128
"""Frames with which those that arrive are compared, the last that were well: the work for a frame stays the same."""


class Arrivals:
    """What has arrived of a scan, as far as it tells whether what arrives next is well."""

    def __init__(self, plan: Scan) -> None:
        """`plan` has the positions and the mask; its patterns are still to come."""
        self._plan, self.mask = plan, plan.mask
        self._latest: Float[Tensor, "few y x"] = torch.zeros(0, *plan.frame_shape)
        self._since: int | None = None
        self._numbers: Int[Tensor, " well"] = torch.zeros(0, dtype=torch.int64)
        self._well: Looks | None = None

    def bad_pixels(self, frames: Float[Tensor, "batch y x"]) -> list[Bad]:
        """Pixels that hold no counts, by these frames and some before them; the mask is without them from now on.

        The first frames are looked at in any case, later ones when there are enough, or when some hold no data.
        """
        lost, first = without_data(frames) & self.mask, self._since is None
        # Without what marks no data: twice that would make a pixel hot.
        clean = torch.where(lost, torch.nan, frames)
        self._latest = clean if len(frames) >= LATEST else torch.cat([self._latest, clean])[-LATEST:]
        since = (self._since or 0) + len(frames)
        due = first or since >= LATEST
        self._since = 0 if due else since
        if first or (bool(lost.any()) and len(frames) >= FEWEST_FRAMES):
            # A pixel that has just stopped counting did so in these frames, not in those before.
            found = suspect_pixels(frames, self.mask)
        elif due or bool(lost.any()):
            found = [_unmarked(each) for each in suspect_pixels(self._latest, self.mask)]
        else:
            return []
        self.mask = self.mask & ~union(found, self.mask)
        return found

    def bad_frames(self, numbers: Int[Tensor, " batch"], frames: Float[Tensor, "batch y x"]) -> BadFrames:
        """Which of these frames, by their numbers in the plan, are unlike those beside them, empty or without data."""
        arrived = replace(
            self._plan, patterns=ArrayPatterns(frames), positions_m=self._plan.positions_m[numbers], mask=self.mask
        )
        looks, together = Looks.of(survey(arrived)), torch.cat([self._numbers, numbers])
        looks = looks if self._well is None else self._well.then(looks)
        bad = bad_frames(looks, together, self._plan.positions_m[together], None).without(tuple(self._numbers.tolist()))
        well = ~torch.isin(together, torch.tensor([*bad.reasons], dtype=torch.int64))
        last = well.nonzero().flatten()[-BESIDE:]
        self._numbers, self._well = together[last], looks.some(last)
        return bad


def _unmarked(bad: Bad) -> Bad:
    """In the words that are true of frames in which what marks no data was left out."""
    return (
        replace(bad, what="without data in nearly all of the latest frames") if bad.name == "sentinel-pixels" else bad
    )
