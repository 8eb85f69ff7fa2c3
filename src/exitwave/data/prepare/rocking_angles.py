"""Preparation of the angles of a rocking curve: in order, each once, evenly spaced."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.patterns import ArrayPatterns
from exitwave.data.prepare.chunks import noted
from exitwave.data.rocking_curve import RockingCurve

SAME = 0.2
"""Of a step: angles nearer to each other are one and the same."""
OFF = 0.3
"""Of a step: angles further from where an even series has them are uneven."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """What is wrong with the angles of a rocking curve, and where each frame belongs in an even series."""

    step_rad: float
    unsorted: bool
    repeated: int
    """Frames whose angle another has, too."""
    places: tuple[int, ...]
    """Of each frame, in the even series, from 0."""
    uneven: bool
    """The angles lie on no even series."""

    @property
    def missing(self) -> int:
        """Angles of the even series that no frame has."""
        return max(self.places) + 1 - len(set(self.places))


def series(angles_rad: Float[Tensor, " frame"]) -> Series:
    """How angles lie in an even series. Raises InputError where all are the same."""
    angles = angles_rad.numpy().astype(np.float64)
    order = np.argsort(angles, kind="stable")
    gaps = np.diff(angles[order])
    span = float(angles.max() - angles.min())
    wide = gaps[gaps > 1e-3 * span / max(len(angles), 1)] if span > 0 else gaps[:0]
    if not len(wide):
        raise InputError("all frames have the same angle; expected the angle of the rocked circle in each")
    step = float(np.median(wide))
    moved = np.where(gaps > SAME * step, gaps / step, 0.0)
    jumps = np.maximum(np.round(moved), gaps > SAME * step).astype(int)
    along = np.concatenate([[0], np.cumsum(jumps)])
    # The slope of all: a step that is a little off would add up over many frames.
    fit = np.polyfit(along, angles[order], 1)
    uneven = bool((np.abs(np.polyval(fit, along) - angles[order]) > OFF * abs(fit[0])).any())
    places = np.empty(len(angles), dtype=int)
    places[order] = along
    falling = bool((np.diff(angles) < 0).all())
    if falling:
        places = places.max() - places
    return Series(
        step_rad=float(fit[0]) * (-1 if falling else 1),
        unsorted=not falling and bool((np.diff(angles) < -SAME * step).any()),
        repeated=len(angles) - len(set(places.tolist())),
        places=tuple(places.tolist()),
        uneven=uneven,
    )


def even_angles(curve: RockingCurve) -> RockingCurve:
    """Order the frames by their angle, average those of one angle, and put an untrusted frame where an angle is missing.

    Raises InputError where the angles lie on no even series, or more than half of it are missing.
    """
    found = series(curve.angles_rad)
    if not (found.unsorted or found.repeated or found.missing):
        return curve
    if found.uneven or found.missing > len(curve):
        raise InputError(
            f"angles lie on no even series: steps of {np.degrees(abs(found.step_rad)):.4g} degrees, {found.missing} missing between "
            f"{len(curve)} frames; check the angles, or select the frames that are evenly spaced (--prepare select=...)"
        )
    places = torch.tensor(found.places)
    count = int(places.max()) + 1
    weights = curve.trusted.to(torch.float32)
    frames = curve.frames(slice(None)).cpu()
    total, weight = torch.zeros(count, *curve.frame_shape), torch.zeros(count, *curve.frame_shape)
    total.index_add_(0, places, torch.where(weights > 0, frames, 0.0))
    weight.index_add_(0, places, weights)
    angles = _averaged(curve.angles_rad, places, count)
    monitor = None if curve.monitor is None else _averaged(curve.monitor.double().cpu(), places, count).float()
    step = f"even_angles: {found.repeated} of one angle with another averaged, {found.missing} missing"
    return replace(
        curve,
        patterns=ArrayPatterns(total / weight.clamp(min=1)),
        angles_rad=angles,
        monitor=monitor,
        voxel_mask=weight > 0,
        provenance=noted(curve, step + (", sorted" if found.unsorted else "")),
    )


def _averaged(values: Float[Tensor, " frame"], places: Tensor, count: int) -> Float[Tensor, " place"]:
    """Means of values of one place; between known places on a straight line."""
    total = torch.zeros(count, dtype=torch.float64).index_add_(0, places, values)
    known = torch.zeros(count, dtype=torch.float64).index_add_(0, places, torch.ones_like(values))
    at = np.flatnonzero(known.numpy() > 0)
    return torch.from_numpy(np.interp(np.arange(count), at, (total / known.clamp(min=1)).numpy()[at]))
