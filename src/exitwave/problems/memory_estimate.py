"""Estimate of the memory that a reconstruction takes, before it begins."""

import math
from dataclasses import dataclass

import torch

from exitwave.data.measurement import Measurement
from exitwave.data.statistics import CHUNK_BYTES, CHUNK_FRAMES
from exitwave.problems.wave_store import wave_bytes

OBJECTS = 5
"""Arrays of the size of the object that most solvers hold: object, velocity, the last estimates and the like."""
SUMS_BYTES = 12
"""What each thread sums up for a pixel of the object: a direction and the illumination."""
FRAMES = 64
"""Frames whose amplitudes, waves, windows and changes are in memory at a time, about."""


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Memory in bytes, by what it is for."""

    working: int
    """Objects and the waves being worked on; must be in memory."""
    amplitudes: int
    """Measured amplitudes of all frames; read anew in every epoch where they do not fit."""
    waves: int
    """Exit waves of all frames in one probe mode, for the methods that hold them; in files where they do not fit."""

    def cached(self, allowed: int) -> bool:
        """Whether the amplitudes stay in memory when `allowed` may be taken in all: beside room for as much again."""
        return 2 * self.amplitudes <= allowed - self.working

    def fit_waves(self, allowed: int, modes: int = 1) -> bool:
        """Whether exit waves of all frames stay in memory; half of what is left is for them."""
        return modes * self.waves <= self.spare(allowed) // 2

    def spare(self, allowed: int) -> int:
        """What is left for exit waves and the like."""
        return max(allowed - self.working - (self.amplitudes if self.cached(allowed) else 0), 0)


def memory_estimate(scan: Measurement, object_shape: tuple[int, int], objects: int = OBJECTS) -> MemoryEstimate:
    """What a scan needs whose object has this shape, with a solver that holds so many arrays of its size."""
    frame_px, object_px = math.prod(scan.frame_shape), math.prod(object_shape)
    looked_at = max(min(CHUNK_BYTES, 4 * CHUNK_FRAMES * frame_px), 4 * frame_px)
    return MemoryEstimate(
        working=(8 * objects + SUMS_BYTES * torch.get_num_threads()) * object_px
        + 8 * FRAMES * frame_px
        + 8 * looked_at,
        amplitudes=4 * len(scan) * frame_px,
        waves=wave_bytes(len(scan), 1, scan.frame_shape),
    )
