"""Aliens: scattering of other crystals that reaches the detector in some frames of a rocking curve, apart from the crystal's own.

A crystal's own light falls off from its peak along streaks that go through it, and what it scatters to one side it scatters,
roughly, to the other (Friedel). With its fringes smoothed away, light that stands apart from all that, and has no counterpart
on the other side of the peak, is not its own.
"""

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from exitwave.data.rocking_curve import RockingCurve
from exitwave.data.volume import fringe_px, oversampling, peak_voxel, smoothed, volume

NEAR_FRINGES = 6.0
"""Nearer to the peak than so many fringes, a maximum beside it may be the crystal's own: strain splits peaks."""
STANDS_OUT = 2.0
"""Times that the light of an alien exceeds the level at which it parts from the peak's."""
COUNTERPART = 5.0
"""Times that it exceeds what lies opposite, on the other side of the peak."""
UNSEEN = 4.0
"""Times that it exceeds the level at which it parts, where its opposite was not measured."""
FEWEST_PHOTONS = 300.0
"""Above the background; fainter light does no harm."""
RIVAL = 0.5
"""Share of the peak's height from which on it is a second crystal as strong, not an alien."""
NOTICEABLE = 0.05
"""Share of the peak's height from which on a maximum near it is told."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Apart:
    """Light apart from the peak's own, fringes smoothed away."""

    voxels: Bool[Tensor, "frame y x"]
    place: tuple[int, int, int]
    """Its brightest voxel."""
    photons: float
    height: float
    """Share of the peak's height."""
    fringes_away: float
    """From the peak."""
    alone: bool
    """Whether nothing like it lies on the other side of the peak."""

    @property
    def alien(self) -> bool:
        """Whether it is surely none of the crystal's own."""
        return self.alone and self.height < RIVAL and self.fringes_away > NEAR_FRINGES


def light_apart(
    counts: Float[Tensor, "frame y x"],
    trusted: Bool[Tensor, "frame y x"],
    peak: tuple[int, int, int],
    sampled: tuple[float, float, float],
) -> list[Apart]:
    """All light that stands apart from the peak, the brightest first; `sampled` is in voxels per fringe."""
    sigma = fringe_px(sampled)
    # Smooth as it is, every other voxel tells as much.
    soft = smoothed(counts, trusted, sigma)[::2, ::2, ::2].numpy()
    middle = tuple(at // 2 for at in peak)
    opposite = ndimage.maximum_filter(soft, 5)
    background, highest = float(np.median(soft)), float(soft[middle])
    unit = _unit(counts)
    level = _lowest_level(background, highest, unit, sigma)
    taken, found = np.zeros(soft.shape, dtype=bool), list[Apart]()
    while level < highest:
        labels, _ = cast("tuple[np.ndarray, int]", ndimage.label(soft >= level))
        for number, box in enumerate(ndimage.find_objects(labels), 1):
            inside = labels[box] == number
            if number == labels[middle] or bool(taken[box][inside].any()):
                continue
            height = float(soft[box][inside].max())
            if height < STANDS_OUT * level:
                continue
            taken[box] |= inside
            within = np.unravel_index(int(np.where(inside, soft[box], -1.0).argmax()), inside.shape)
            place = [int(side.start + at) for side, at in zip(box, within, strict=True)]
            alone = _alone(soft, opposite, middle, place, level, cut=_reaches_edge(box, soft.shape))
            region = np.zeros(soft.shape, dtype=bool)
            region[box] = inside
            voxels = _doubled(region, counts.shape) & trusted
            at = (2 * place[0], 2 * place[1], 2 * place[2])
            away = math.hypot(*((a - p) / s for a, p, s in zip(at, peak, sampled, strict=True)))
            photons = float(counts[voxels].sum()) - background * int(voxels.sum())
            if photons >= FEWEST_PHOTONS * unit:
                share = height / highest
                found.append(
                    Apart(voxels=voxels, place=at, photons=photons, height=share, fringes_away=away, alone=alone)
                )
        level *= math.sqrt(2)
    return sorted(found, key=lambda each: -each.height)


def _alone(
    soft: Float[np.ndarray, "frame2 y2 x2"],
    opposite: Float[np.ndarray, "frame2 y2 x2"],
    middle: tuple[int, ...],
    place: list[int],
    level: float,
    *,
    cut: bool,
) -> bool:
    """Whether a maximum has no counterpart on the other side of the peak; `opposite` is the most light around each voxel.

    `cut` says that the array's edge cuts its light off.
    """
    if any(at in (0, n - 1) for at, n in zip(place, soft.shape, strict=True)):
        # What only begins to show there may be anything.
        return False
    height = float(soft[tuple(place)])
    mirrored = [2 * m - at for m, at in zip(middle, place, strict=True)]
    nearest = [min(max(at, 0), n - 1) for at, n in zip(mirrored, soft.shape, strict=True)]
    if all(abs(at - there) <= 2 for at, there in zip(mirrored, nearest, strict=True)):
        return height > COUNTERPART * float(opposite[tuple(nearest)])
    return not cut and height > UNSEEN * level


def _reaches_edge(box: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
    return any(side.start == 0 or side.stop == n for side, n in zip(box, shape, strict=True))


def _unit(counts: Float[Tensor, "frame y x"]) -> float:
    """One photon, in whatever unit: not less than the least count there is."""
    lit = counts[counts > 0]
    return max(float(lit.min()), 1e-7 * float(lit.max())) if len(lit) else 1.0


def _lowest_level(background: float, highest: float, unit: float, sigma_px: tuple[float, float, float]) -> float:
    """What is fainter is background, by its level and its scatter."""
    kernel = (2 * math.sqrt(math.pi)) ** 3 * math.prod(sigma_px)
    scatter = math.sqrt(background * unit / kernel)
    return max(2 * background, background + 8 * scatter, 20 * unit / kernel, 1e-6 * highest)


def _doubled(region: Bool[np.ndarray, "frame2 y2 x2"], shape: tuple[int, ...]) -> Bool[Tensor, "frame y x"]:
    full = region
    for axis, length in enumerate(shape):
        full = np.repeat(full, 2, axis)[tuple(slice(length) if a == axis else slice(None) for a in range(3))]
    return torch.from_numpy(np.ascontiguousarray(full))


def aliens(curve: RockingCurve) -> list[Apart]:
    """The aliens of a rocking curve, the brightest first."""
    counts = volume(curve)
    peak = peak_voxel(counts, curve.trusted)
    return [
        each for each in light_apart(counts, curve.trusted, peak, oversampling(counts, curve.trusted)) if each.alien
    ]
