"""Preparing a measurement before it is reconstructed: pure functions from Scan to Scan that leave files on disk.

Each leaves the scan it was given alone and adds one line to `provenance["preparation"]`. Steps that must look at the
whole stack to decide something (dead or saturated pixels, the beam centre) read it in small chunks.
"""

from exitwave.data.prepare.framing import (
    ORIENTATIONS,
    Orientation,
    bin,
    crop,
    cut_around_beam,
    laid,
    orient,
    pad,
    recentre,
    unshift,
)
from exitwave.data.prepare.masking import mask_dead, mask_hot, mask_pixels, mask_saturated
from exitwave.data.prepare.photons import normalise_by_monitor, subtract_background, threshold
from exitwave.data.prepare.placing import map_positions, rotation
from exitwave.data.prepare.rocking_angles import even_angles
from exitwave.data.prepare.rocking_framing import bin_frames, centre_peak, crop_frames, resample
from exitwave.data.prepare.rocking_masking import mask_aliens
from exitwave.data.prepare.selection import drop_duplicates, drop_empty, select, to_memory

__all__ = [
    "ORIENTATIONS",
    "Orientation",
    "bin",
    "bin_frames",
    "centre_peak",
    "crop",
    "crop_frames",
    "cut_around_beam",
    "drop_duplicates",
    "drop_empty",
    "even_angles",
    "laid",
    "map_positions",
    "mask_aliens",
    "mask_dead",
    "mask_hot",
    "mask_pixels",
    "mask_saturated",
    "normalise_by_monitor",
    "orient",
    "pad",
    "recentre",
    "resample",
    "rotation",
    "select",
    "subtract_background",
    "threshold",
    "to_memory",
    "unshift",
]
