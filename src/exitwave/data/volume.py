"""Pictures of a rocking curve in three dimensions: smoothed, its peak, and how finely its fringes are sampled."""

import math
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import fft, ndimage
from torch import Tensor

from exitwave.data.rocking_curve import RockingCurve

STANDS_OUT = 8.0
"""A voxel brighter than this many times the mean of its six neighbours is cut down to it: no crystal's light is so narrow."""
FEWEST = 50.0
"""Times the least count that there is: fainter voxels stand out by chance."""
FAINT = 0.01
"""Of the autocorrelation's maximum: what is fainter is taken for noise."""
SECURE = 6.0
"""Standard deviations of the autocorrelation far from its middle above which it is something."""


def volume(curve: RockingCurve) -> Float[Tensor, "frame y x"]:
    """All frames, untrusted voxels and what is no number at zero."""
    frames = curve.frames(slice(None)).cpu()
    return torch.where(curve.trusted & frames.isfinite(), frames, 0.0)


def smoothed(
    counts: Float[Tensor, "frame y x"], trusted: Bool[Tensor, "frame y x"], sigma_px: tuple[float, float, float]
) -> Float[Tensor, "frame y x"]:
    """Counts averaged over their neighbourhood, as far as it can be trusted; zero where hardly any of it can be."""
    soft = ndimage.gaussian_filter(torch.where(trusted, counts, 0.0).numpy(), sigma_px, truncate=3.0)
    if bool(trusted.all()):
        return torch.from_numpy(soft)
    weight = ndimage.gaussian_filter(trusted.numpy().astype(np.float32), sigma_px, truncate=3.0)
    return torch.from_numpy(np.where(weight > 0.1, soft / np.maximum(weight, 0.1), 0.0).astype(np.float32))


def peak_voxel(counts: Float[Tensor, "frame y x"], trusted: Bool[Tensor, "frame y x"]) -> tuple[int, int, int]:
    """Where the Bragg peak stands: the brightest voxel of the slightly blurred pattern, without single wild voxels."""
    soft = smoothed(torch.minimum(counts, STANDS_OUT * _around(counts)), trusted, (1.0, 1.0, 1.0))
    frame, row, column = np.unravel_index(int(soft.argmax()), tuple(soft.shape))
    return int(frame), int(row), int(column)


def wild_voxels(counts: Float[Tensor, "frame y x"], trusted: Bool[Tensor, "frame y x"]) -> Bool[Tensor, "frame y x"]:
    """Single voxels far brighter than all around them, as cosmic rays leave them in one frame."""
    wild = torch.zeros_like(trusted)
    if not bool((counts > 0).any()):
        return wild
    least = FEWEST * float(counts[counts > 0].min())
    padded = np.pad(counts.numpy(), 2, mode="constant")
    for frame, row, column in (trusted & (counts > least) & (counts > STANDS_OUT * _around(counts))).nonzero().tolist():
        block = padded[frame : frame + 5, row : row + 5, column : column + 5].copy()
        own = block[2, 2, 2]
        block[2, 2, 2] = 0
        wild[frame, row, column] = bool(own > STANDS_OUT * np.partition(block.ravel(), -2)[-2])
    return wild


def _around(counts: Float[Tensor, "frame y x"]) -> Float[Tensor, "frame y x"]:
    """Mean of the six neighbours of each voxel; those at the edge have fewer."""
    total, known = torch.zeros_like(counts), torch.zeros_like(counts)
    for axis, length in enumerate(counts.shape):
        for here, there in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
            if length > 1:
                into: list[slice] = [slice(None)] * 3
                source: list[slice] = [slice(None)] * 3
                into[axis], source[axis] = here, there
                total[tuple(into)] += counts[tuple(source)]
                known[tuple(into)] += 1
    return total / known.clamp(min=1)


def oversampling(counts: Float[Tensor, "frame y x"], trusted: Bool[Tensor, "frame y x"]) -> tuple[float, float, float]:
    """Voxels per fringe along each axis, which is the array over the crystal's size, as the autocorrelation tells.

    The autocorrelation of a crystal is twice as long as the crystal. Where it meets itself at the array's ends the pattern is
    sampled less than twice, and how high it stands there tells how much less.
    """
    # Dark gaps would show as fringes.
    counts = bridged(counts, trusted)
    spread = fft.fftshift(np.abs(cast(np.ndarray, fft.rfftn(counts.numpy().astype(np.float32)))), axes=(0, 1))
    # The transform of real numbers: one half along the last axis is the other's mirror image.
    spread /= max(float(spread.max()), 1e-30)
    frames, rows, _ = spread.shape
    far = spread[: max(frames // 16, 1), : max(rows // 16, 1), -max(spread.shape[2] // 8, 1) :]
    region = spread > max(FAINT, float(far.mean() + SECURE * far.std()))
    labels, _ = cast("tuple[np.ndarray, int]", ndimage.label(region))
    region = labels == labels[frames // 2, rows // 2, 0]
    found: list[float] = []
    for axis, length in enumerate(counts.shape):
        touched = np.flatnonzero(region.any(axis=tuple(other for other in range(3) if other != axis)))
        extent = 2 * int(touched[-1]) + 1 if axis == 2 else int(touched[-1] - touched[0]) + 1
        if extent < 0.97 * length:
            found.append(2 * length / extent)
            continue
        ends: list[int | slice] = [frames // 2, rows // 2, 0]
        ends[axis] = -1 if axis == 2 else 0
        found.append(2 - float(spread[tuple(ends)]))
    return found[0], found[1], found[2]


def bridged(counts: Float[Tensor, "frame y x"], trusted: Bool[Tensor, "frame y x"]) -> Float[Tensor, "frame y x"]:
    """Counts with something likely in untrusted voxels: between frames a cubic through four, else the neighbourhood's mean."""
    if bool(trusted.all()):
        return counts
    filled = torch.where(trusted, counts, smoothed(counts, trusted, (1.0, 1.0, 1.0)))
    there = trusted.flatten(1).any(dim=1)
    known = there.nonzero().flatten()
    for lost in (~there).nonzero().flatten().tolist():
        nodes = torch.cat([known[known < lost][-2:], known[known > lost][:2]]).tolist()
        if not nodes or not nodes[0] < lost < nodes[-1]:
            continue
        filled[lost] = 0.0
        for node in nodes:
            weight = math.prod((lost - other) / (node - other) for other in nodes if other != node)
            filled[lost] += weight * filled[node]
    return filled.clamp(min=0)


def fringe_px(sampled: tuple[float, float, float]) -> tuple[float, float, float]:
    """The same as lengths to smooth fringes away with: half a fringe, and not less than a voxel."""
    a, b, c = (max(0.5 * each, 1.0) for each in sampled)
    return a, b, c


def quick_even(length: int) -> int:
    """The next even number that is transformed quickly."""
    length += length % 2
    while fft.next_fast_len(length) != length:
        length += 2
    return length


def reach_px(counts: Float[Tensor, "frame y x"], peak: tuple[int, int, int], spilt: float) -> tuple[int, int, int]:
    """Half the box around the peak, along each axis, beyond which no more than a share `spilt` of the photons lies."""
    reached: list[int] = []
    for axis, at in enumerate(peak):
        profile = counts.sum(dim=[other for other in range(3) if other != axis], dtype=torch.float64)
        away = (torch.arange(len(profile)) - at).abs()
        beyond = torch.zeros(int(away.max()) + 2, dtype=torch.float64).index_add_(0, away, profile)
        beyond = beyond.flip(0).cumsum(0).flip(0)
        reached.append(int((beyond > spilt * float(profile.sum())).sum()))
    return reached[0], reached[1], reached[2]
