"""Statistics of a scan's frames, from one pass over them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.measurement import Measurement
from exitwave.data.progress import in_parts


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanStatistics:
    """Statistics of a scan's frames; untrusted pixels do not count."""

    looked_at: Int[Tensor, " frame"]
    """Which frames were read: all of them, or an even selection of a large scan."""
    mean_pattern: Float[Tensor, "y x"]
    max_pattern: Float[Tensor, "y x"]
    photons_per_frame: Float[Tensor, " frame"]
    not_finite: Int[Tensor, " frame"]
    """Trusted pixels that are NaN or infinite, for each frame looked at."""
    negative: Int[Tensor, " frame"]
    """Trusted pixels below zero, for each frame looked at."""


CHUNK_BYTES = 16 * 2**20
"""Frames looked at together, counted as float32; at their peak they take eight times that."""


CHUNK_FRAMES = 64
"""And no more than so many."""


def scan_statistics(
    scan: Measurement,
    *,
    most_frames: int | None = None,
    also: Callable[[Int[Tensor, " batch"], Float[Tensor, "batch y x"]], None] | None = None,
) -> ScanStatistics:
    """Read the frames once, in chunks; at most `most_frames`, evenly chosen, when that is given.

    `also` is given every chunk as it was read, so that nobody who needs the frames too has to read them again.
    """
    chunk = max(1, min(CHUNK_FRAMES, CHUNK_BYTES // (4 * math.prod(scan.frame_shape))))
    count = len(scan)
    chosen = torch.arange(count)
    if most_frames is not None and count > most_frames:
        chosen = torch.linspace(0, count - 1, most_frames).round().to(torch.int64)
    total = torch.zeros(scan.frame_shape, dtype=torch.float64)
    highest = torch.full(scan.frame_shape, -math.inf)
    photons, not_finite, negative = [], [], []
    for index in in_parts("reading frames", chosen.split(chunk)):
        frames = scan.frames(index)
        if also is not None:
            also(index, frames)
        frames = torch.where(scan.mask, frames, 0.0)
        counted = frames.sum(dim=(1, 2), dtype=torch.float64)
        lost = torch.zeros(len(frames), dtype=torch.int64)
        # Sums and extremes tell where a closer look is needed; looking at every pixel of every frame for each fault is slow.
        if not bool(counted.isfinite().all()):
            finite = torch.isfinite(frames)
            lost = (~finite).sum(dim=(1, 2))
            frames = torch.where(finite, frames, 0.0)
            counted = frames.sum(dim=(1, 2), dtype=torch.float64)
        not_finite.append(lost)
        below = frames.amin(dim=(1, 2)) < 0
        negative.append((frames < 0).sum(dim=(1, 2)) if bool(below.any()) else torch.zeros_like(lost))
        total += frames.sum(dim=0, dtype=torch.float64)
        highest = torch.maximum(highest, frames.amax(dim=0))
        photons.append(counted)
    return ScanStatistics(
        looked_at=chosen,
        mean_pattern=(total / len(chosen)).to(torch.float32),
        max_pattern=highest,
        photons_per_frame=torch.cat(photons).to(torch.float32),
        not_finite=torch.cat(not_finite),
        negative=torch.cat(negative),
    )
