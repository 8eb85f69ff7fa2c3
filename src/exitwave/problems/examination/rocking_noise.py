"""The level below which counts of a rocking curve say nothing: told from what the detector counts where no light of the peak is."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from exitwave.data.volume import smoothed

FLAT = 2.0
"""A background is so even: its median over that of its darkest tenth, smoothed."""
RARE = 1e-4
"""Of the background's voxels: so many may stay above the threshold."""
MATTERS = 1e-3
"""Share of all photons; a background of fewer does no harm."""
MOST = 0.01
"""Of the brightest voxel."""


def noise_threshold(counts: Float[Tensor, "frame y x"], trusted: Bool[Tensor, "frame y x"]) -> float:
    """Counts below are background: hardly any voxel far from the peak exceeds it. Zero where there is no even background."""
    if not bool((counts > 0).any()):
        return 0.0
    few = (slice(None, None, 2),) * 3
    soft = torch.where(trusted, smoothed(counts, trusted, (4.0, 4.0, 4.0)), torch.inf)[few]
    known = soft[soft.isfinite()].sort().values
    darkest, half = float(known[len(known) // 10]), float(known[len(known) // 2])
    if not (darkest > 0 and half < FLAT * darkest):
        return 0.0
    background = counts[few][soft <= half].sort().values
    unit = float(counts[counts > 0].min())
    level = float(background[min(int((1 - RARE) * len(background)), len(background) - 1)]) + 0.5 * unit
    lost = float(counts[counts < level].sum(dtype=torch.float64))
    if lost < MATTERS * float(counts.sum(dtype=torch.float64)) or level > MOST * float(counts.max()):
        return 0.0
    return level
