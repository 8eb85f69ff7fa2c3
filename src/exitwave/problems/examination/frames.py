"""Frames that spoil an image: without data, empty, or unlike the frames beside them in the scan. They are left out."""

import math
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree
from torch import Tensor

from exitwave.data.finding import Finding
from exitwave.problems.examination.positions import in_scale
from exitwave.problems.examination.survey import Survey
from exitwave.problems.examination.words import counted, frame_list

NEIGHBOURS = 6
"""Frames beside each one in the scan, to compare it with."""
FEWEST_FRAMES = 6
"""Of fewer frames none can be told to be unlike the others."""
MOST_WILD = 0.1
"""Share of the frames; where more are unlike the others, it is the sample."""
WILD_TIMES = 4.0
"""A wild frame has at least so many times the photons of its neighbours, or so few."""
FEWEST_PHOTONS = 50.0
"""A frame of fewer is not told by its pattern."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Looks:
    """What each frame looks like, as far as frames are compared by it."""

    lost: Bool[Tensor, " frame"]
    """Whether it has pixels without data."""
    photons: Float[Tensor, " frame"]
    negative: Int[Tensor, " frame"]
    """Pixels below zero."""
    constant: Bool[Tensor, " frame"]
    """Whether all its pixels hold one value."""
    thumbnails: Float[Tensor, "frame small"]

    @classmethod
    def of(cls, seen: Survey) -> "Looks":
        """Of the frames that were gone over."""
        lost = torch.zeros(len(seen.constant), dtype=torch.bool)
        lost[seen.frames_without.unique()] = True
        return cls(
            lost=lost,
            photons=seen.statistics.photons_per_frame,
            negative=seen.statistics.negative,
            constant=seen.constant,
            thumbnails=seen.thumbnails,
        )

    def then(self, further: "Looks") -> "Looks":
        """These frames, and others after them."""
        return Looks(**{f.name: torch.cat([getattr(self, f.name), getattr(further, f.name)]) for f in fields(self)})

    def some(self, which: Int[Tensor, " some"]) -> "Looks":
        """These frames alone."""
        return Looks(**{f.name: getattr(self, f.name)[which] for f in fields(self)})


@dataclass(frozen=True)
class BadFrames:
    """Frames to leave out, by number, with the reason for each."""

    reasons: dict[int, str] = field(default_factory=dict[int, str])

    def without(self, kept: tuple[int, ...]) -> "BadFrames":
        """But for frames that stay."""
        return BadFrames({number: reason for number, reason in self.reasons.items() if number not in kept})

    @property
    def told(self) -> str:
        """In words: which frames are left out and why."""
        kinds = dict.fromkeys(self.reasons.values())
        parts = [
            f"{frame_list([n for n, reason in self.reasons.items() if reason == kind])} ({kind})" for kind in kinds
        ]
        return f"{counted(len(self.reasons), 'frame')} left out: {'; '.join(parts)}"

    @property
    def findings(self) -> list[Finding]:
        """What is told of them before a run; nothing where there are none."""
        if not self.reasons:
            return []
        kept = frame_list(sorted(self.reasons)[:20])
        return [Finding("bad-frames", f"{self.told}; --keep-frames {kept} keeps them", "cured")]


def bad_frames(
    seen: Looks,
    numbers: Int[Tensor, " frame"],
    positions_m: Float[Tensor, "frame 2"] | None,
    monitor: Float[Tensor, " frame"] | None,
) -> BadFrames:
    """The frames that should be left out, of those looked at, by their `numbers`.

    Positions tell which are neighbours; the monitor, where there is one, which changes are the beam's.
    """
    reasons: dict[int, str] = {}

    def blame(bad: Bool[Tensor, " frame"], reason: str) -> None:
        for number in numbers[bad].tolist():
            reasons.setdefault(int(number), reason)

    lost, empty = seen.lost, ~seen.lost & (seen.photons <= 0) & (seen.negative == 0)
    blame(lost, "pixels without data")
    blame(empty, "empty")
    well = ~(lost | empty)
    if int(well.sum()) < max(FEWEST_FRAMES, len(numbers) // 2) or positions_m is None:
        return BadFrames(reasons)
    flat = well & seen.constant
    photons, neighbours = seen.photons.double(), _neighbours(positions_m, well)
    if monitor is not None and bool((monitor.isfinite() & (monitor > 0)).all()):
        photons = photons / monitor * monitor.mean()
    wild = well & _wild_totals(photons, neighbours, well)
    unlike = well & ~flat & ~wild & _wild_patterns(seen.thumbnails, photons, neighbours, well & ~wild & ~flat)
    for bad, reason in (
        (flat, "the same value in every pixel"),
        (wild, "wild number of counts"),
        (unlike, "pattern unlike its neighbours'"),
    ):
        if int(bad.sum()) <= max(1, MOST_WILD * int(well.sum())):
            blame(bad, reason)
    return BadFrames(reasons)


def _neighbours(positions_m: Float[Tensor, "frame 2"], well: Bool[Tensor, " frame"]) -> Tensor:
    """For each frame the frames nearest to it, not itself; (frame, neighbour)."""
    usable = well & positions_m.isfinite().all(dim=1)
    known = usable.nonzero().flatten()
    count = min(NEIGHBOURS, len(known) - 1)
    where, _ = in_scale(positions_m.nan_to_num(0.0, 0.0, 0.0))
    _, index = KDTree(where[known.numpy()]).query(where, k=count + 1)
    found = known[torch.from_numpy(np.atleast_2d(index).astype(np.int64))]
    # The frame itself is the nearest, or, where another stands at the same place, one of the nearest.
    own = torch.arange(len(positions_m))[:, None]
    order = (found == own).to(torch.int64).argsort(dim=1, stable=True)
    return found.gather(1, order)[:, :count]


def _wild_totals(photons: Float[Tensor, " frame"], neighbours: Tensor, well: Bool[Tensor, " frame"]) -> Tensor:
    """Frames far brighter or darker than those beside them, and than the scatter of the whole scan lets expect."""
    beside = photons[neighbours].clamp(min=1e-30)
    ratio = (photons.clamp(min=1e-30) / beside.median(dim=1).values).log()
    scatter = 1.4826 * float(ratio[well].abs().median())
    limit = max(math.log(WILD_TIMES), 6 * scatter)
    # Where the sample ends, neighbours differ among themselves.
    outside = (photons > WILD_TIMES / 2 * beside.amax(dim=1)) | (photons < 2 / WILD_TIMES * beside.amin(dim=1))
    far = (ratio.abs() > limit) & (outside | (ratio.abs() > 2 * limit))
    # A frame between two wild ones is measured by them; it is well where the whole scan says so.
    usual = photons[well].median()
    return far & ((photons > WILD_TIMES / 2 * usual) | (photons < 2 / WILD_TIMES * usual))


def _wild_patterns(
    thumbnails: Float[Tensor, "frame small"], photons: Tensor, neighbours: Tensor, well: Bool[Tensor, " frame"]
) -> Tensor:
    """Frames whose light is distributed unlike that of any frame beside them: Hellinger distance, the smallest of each."""
    share = thumbnails.double() / thumbnails.sum(dim=1, keepdim=True).clamp(min=1e-30)
    root = share.sqrt()
    usable = well[neighbours]
    near = torch.where(usable, (root[neighbours] * root[:, None]).sum(dim=2), 0.0).amax(dim=1)
    distance = 1 - near
    typical = distance[well]
    bins = (share > 0).sum(dim=1)
    # Photon noise alone puts two draws of one pattern so far apart.
    noise = bins / (4 * photons.clamp(min=1))
    limit = 3 * float(typical.quantile(0.9)) + 0.1 + 3 * noise
    return (distance > limit) & (photons >= FEWEST_PHOTONS) & usable.any(dim=1)
