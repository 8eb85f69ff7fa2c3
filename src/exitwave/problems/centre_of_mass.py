"""How frames lie against positions, by the motion of the patterns' centre of mass: it is a gradient, which has no curl.

A sample that only shifts the phase deflects the beam by the gradient of that phase, averaged over the probe, whatever the
probe. Frames that are turned or mirrored against the scan make a field with curl of it. Lazic, Bosch & Lazar, Ultramicroscopy
160, 265 (2016), eq. 20; the angle of least curl as in Savitzky et al., Microsc. Microanal. 27, 712 (2021).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import KDTree

from exitwave.data.progress import in_parts
from exitwave.data.scan import Scan

MOST_FRAMES = 4096
NEIGHBOURS = (8, 20, 60)
"""Around each frame, for the derivatives of the centre of mass: few where the image is fine, many where it is smooth."""
BLOCKS = 8
"""Parts of the scan that are left out in turn, for the error of the angle."""


@dataclass(frozen=True, kw_only=True)
class Curl:
    """The turn of the positions at which the centre of mass has least curl, for frames as they are or transposed."""

    mirrored: bool
    """Whether frames are transposed before."""
    turn_deg: float
    """By which positions are to be turned, counter-clockwise with row 0 on top; known up to half a turn."""
    deviation_deg: float
    """Standard deviation of that angle."""
    share: float
    """The least curl over the most that any turn gives; 0 is a pure gradient, near 1 says nothing."""
    as_read: float
    """The curl of frames and positions as they are, over the same."""


def least_curl(scan: Scan) -> tuple[Curl, Curl] | None:
    """The turns of least curl with frames as they are and transposed, the better first; None where too few frames are neighbours."""
    positions = scan.positions_m
    nearest = (positions - positions.median(dim=0).values).square().sum(dim=1).argsort(stable=True)[:MOST_FRAMES]
    # Row after row, so that blocks of frames are parts of the scan.
    nearest = nearest[positions[nearest, 0].argsort(stable=True)]
    places = positions[nearest].numpy()
    if len(np.unique(places, axis=0)) < 4 * min(NEIGHBOURS):
        return None
    deflections = _deflections(scan, nearest)
    found: list[tuple[Curl, Curl]] = []
    for count in NEIGHBOURS:
        slopes = _slopes(places, deflections, count)
        if slopes is not None:
            as_it_is, mirrored = (_turned(slopes, mirrored=mirrored) for mirrored in (False, True))
            found.append((as_it_is, mirrored) if as_it_is.share <= mirrored.share else (mirrored, as_it_is))
    return min(found, key=lambda pair: pair[0].share, default=None)


def _deflections(scan: Scan, frames: torch.Tensor) -> Float[np.ndarray, "frame 2"]:
    """Angles (y, x) by which the centres of mass of the patterns are off the middle of the frames."""
    axes = [
        (torch.arange(size, dtype=torch.float64) - size // 2) * angle
        for size, angle in zip(scan.frame_shape, scan.geometry.pixel_angle_rad, strict=True)
    ]
    found: list[torch.Tensor] = []
    for some in in_parts("centres of mass", frames.split(64)):
        counts = torch.where(scan.mask, scan.frames(some), 0.0).nan_to_num(0.0, 0.0, 0.0).clamp(min=0).double()
        total = counts.sum(dim=(1, 2)).clamp(min=1e-30)
        found.append(torch.stack([counts.sum(dim=2) @ axes[0] / total, counts.sum(dim=1) @ axes[1] / total], dim=1))
    return torch.cat(found).numpy()


def _slopes(
    places: Float[np.ndarray, "frame 2"], deflections: Float[np.ndarray, "frame 2"], count: int
) -> Float[np.ndarray, "frame 2 2"] | None:
    """Derivatives of the deflection (rows: y, x) along the positions (columns: y, x), from each frame's neighbours."""
    if len(places) < 4 * count:
        return None
    near = np.asarray(KDTree(places).query(places, k=count + 1)[1])[:, 1:]
    steps = places[near] - places[:, None]
    changes = deflections[near] - deflections[:, None]
    spread = np.einsum("fna,fnb->fab", steps, steps)
    # Neighbours on a line tell the slope along it only.
    if np.median(np.linalg.cond(spread)) > 1e3:
        return None
    slopes = np.einsum("fna,fnb->fab", changes, steps) @ np.linalg.pinv(spread, rcond=1e-6)
    # What is the same everywhere is no image but a beam that wanders with the scan.
    return slopes - slopes.mean(axis=0)


def _turned(slopes: Float[np.ndarray, "frame 2 2"], *, mirrored: bool) -> Curl:
    """With positions turned by t the curl is a cos t + b sin t: its power over all frames is least along an eigenvector."""
    (yy, yx), (xy, xx) = np.moveaxis(slopes[:, ::-1] if mirrored else slopes, 0, 2)
    parts = np.stack([yx - xy, yy + xx], axis=1)
    powers = [block.T @ block for block in np.array_split(parts, BLOCKS)]
    angle, share = _least(np.sum(powers, axis=0))
    others = [_least(np.sum(powers, axis=0) - power)[0] for power in powers]
    off = (np.array(others) - angle + math.pi / 2) % math.pi - math.pi / 2
    # Delete-one jackknife.
    deviation = math.sqrt((BLOCKS - 1) / BLOCKS * float((off**2).sum()))
    most = max(float(np.linalg.eigvalsh(np.sum(powers, axis=0))[1]), 1e-300)
    return Curl(
        mirrored=mirrored,
        turn_deg=math.degrees(angle),
        deviation_deg=math.degrees(deviation),
        share=share,
        as_read=float((slopes[:, 1, 0] - slopes[:, 0, 1]) @ (slopes[:, 1, 0] - slopes[:, 0, 1])) / most,
    )


def _least(power: Float[np.ndarray, "2 2"]) -> tuple[float, float]:
    """The angle of least power, and that power over the most."""
    values, vectors = np.linalg.eigh(power)
    return math.atan2(vectors[1, 0], vectors[0, 0]), float(values[0] / max(values[1], 1e-300))
