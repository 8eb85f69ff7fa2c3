"""What one pass over the frames gathers beside their statistics: where pixels hold no data, and how frames look from afar."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from exitwave.data.measurement import Measurement
from exitwave.data.statistics import ScanStatistics, scan_statistics

NO_COUNTS = (-(2.0**63), -(2.0**31), 2.0**31, 2.0**32, 2.0**63, 2.0**64)
"""The ends of integer types, as float32 holds them: no detector counts so far, programs mark pixels without data by them."""
THUMBNAIL_PX = 16
"""Rows and columns of a frame seen from afar."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Survey:
    """What one pass over the frames told; untrusted pixels do not count."""

    statistics: ScanStatistics
    no_data: Int[Tensor, "y x"]
    """In how many frames each pixel is NaN, infinite or at the end of an integer type."""
    frames_without: Int[Tensor, " hits"]
    """For each frame and pixel without data: which frame of those looked at. Long lists are cut."""
    pixels_without: Int[Tensor, " hits"]
    """And which pixel of the flattened frame."""
    lit: Int[Tensor, "y x"]
    """In how many frames each pixel counts anything."""
    constant: Bool[Tensor, " frame"]
    """Frames whose pixels all hold one value."""
    thumbnails: Float[Tensor, "frame small"]
    """Each frame summed into few large pixels."""


MOST_HITS = 10**6
"""Pixels without data that are noted one by one."""


def without_data(frames: Float[Tensor, "batch y x"]) -> Bool[Tensor, "batch y x"]:
    """Where frames hold no counts at all: NaN, infinite, or the end of an integer type."""
    lost = ~frames.isfinite()
    # One look at the extremes spares six at everything.
    if float(frames.nan_to_num(0.0).abs().amax()) >= 2.0**31:
        for value in NO_COUNTS:
            lost |= frames == value
    return lost


class _Gatherer:
    """Gathers a survey, chunk by chunk."""

    def __init__(self, measurement: Measurement) -> None:
        self.mask, shape = measurement.mask, measurement.frame_shape
        self.no_data, self.lit = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
        self.constant: list[Tensor] = []
        self.thumbnails: list[Tensor] = []
        self.hits: list[tuple[Tensor, Tensor]] = []
        self.done, self.noted = 0, 0

    def __call__(self, index: Int[Tensor, " batch"], frames: Float[Tensor, "batch y x"]) -> None:
        lost = without_data(frames) & self.mask
        if bool(lost.any()):
            self._note(lost)
        clean = torch.where(lost | ~self.mask, 0.0, frames)
        self.lit += (clean > 0).sum(dim=0)
        trusted = frames[:, self.mask]
        if trusted.shape[1]:
            self.constant.append(trusted.amin(dim=1) == trusted.amax(dim=1))
        else:
            self.constant.append(torch.zeros(len(frames), dtype=torch.bool))
        small = functional.adaptive_avg_pool2d(clean[:, None], THUMBNAIL_PX)
        self.thumbnails.append(small.flatten(1).clamp(min=0))
        self.done += len(index)

    def _note(self, lost: Bool[Tensor, "batch y x"]) -> None:
        self.no_data += lost.sum(dim=0)
        if self.noted < MOST_HITS:
            which, pixel = lost.flatten(1).nonzero(as_tuple=True)
            self.hits.append((which[:MOST_HITS] + self.done, pixel[:MOST_HITS]))
            self.noted += len(which)


def survey(measurement: Measurement, most_frames: int | None = None) -> Survey:
    """Go once over the frames, at most `most_frames` of them, evenly chosen, when that is given."""
    gathered = _Gatherer(measurement)
    statistics = scan_statistics(measurement, most_frames=most_frames, also=gathered)
    none = torch.zeros(0, dtype=torch.int64)
    return Survey(
        statistics=statistics,
        no_data=gathered.no_data,
        frames_without=torch.cat([none, *(frames for frames, _ in gathered.hits)]),
        pixels_without=torch.cat([none, *(pixels for _, pixels in gathered.hits)]),
        lit=gathered.lit,
        constant=torch.cat(gathered.constant),
        thumbnails=torch.cat(gathered.thumbnails),
    )
