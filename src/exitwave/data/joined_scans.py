"""Several scans under one beam as one measurement: every solver then finds one probe for all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.geometry import Geometry
from exitwave.data.measurement import Measurement
from exitwave.data.patterns import Patterns
from exitwave.data.scan import Scan

ALIKE = 1e-4
"""Relative difference of lengths that counts as none: files round."""
LEAST_GAP_PX = 32
"""Between the windows of two scans, at least, so that frames whose positions are refined stay apart."""


@dataclass(frozen=True, eq=False)
class ConcatenatedPatterns:
    """The frames of several stacks, one stack after another."""

    stacks: tuple[Patterns, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        return sum(stack.shape[0] for stack in self.stacks), *self.stacks[0].shape[1:]

    @property
    def in_memory(self) -> bool:
        return all(stack.in_memory for stack in self.stacks)

    def read(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
        frames = torch.empty(len(index), *self.shape[1:])
        first = 0
        for stack in self.stacks:
            mine = (index >= first) & (index < first + stack.shape[0])
            if bool(mine.any()):
                frames[mine] = stack.read(index[mine] - first).to(frames.device)
            first += stack.shape[0]
        return frames


@dataclass(frozen=True, kw_only=True, eq=False)
class JoinedScans(Scan):
    """Several scans as one, their regions side by side or, for views of one object, where they were. Made by `join`."""

    owner: Int[Tensor, " frame"]
    """Number of the scan that each frame belongs to."""
    lengths: tuple[int, ...]
    """Frames of each scan as it was joined."""
    sources: tuple[Mapping[str, Any], ...]
    """Provenance of each scan."""
    same_object: bool = False
    """Whether all scans are views of one object."""

    @property
    def names(self) -> tuple[str, ...]:
        """What the scans are called in messages."""
        return tuple(_name(source, number) for number, source in enumerate(self.sources))

    @property
    def title(self) -> str:
        return f"{len(self.sources)} scans that share their probe, {len(self)} frames together"

    @property
    def places(self) -> Float[Tensor, "frame axis"]:
        # Views of one object may be from the same places.
        return torch.cat([self.positions_m, self.owner[:, None].to(torch.float64)], dim=1)

    def some(self, kept: Int[Tensor, " kept"]) -> Self:
        return replace(super().some(kept), owner=self.owner[kept])

    def numbers_in(self, scan: int, frames: Sequence[int]) -> list[int]:
        """Of these frames, as they were joined, those of one scan by their numbers there."""
        first = sum(self.lengths[:scan])
        return [frame - first for frame in frames if first <= frame < first + self.lengths[scan]]


def join(scans: Sequence[Measurement], *, same_object: bool = False) -> JoinedScans:
    """Lay scans of one beam on one canvas, apart from each other; or in one place where they are views of the `same_object`,
    by the positions as they were recorded.

    A detector pixel is trusted where all scans trust it. Raises InputError for what cannot share a probe, by name.
    """
    several = _of_one_kind(scans)
    first = several[0]
    for number, other in enumerate(several[1:], start=1):
        _require_alike(first, other, _name(first.provenance, 0), _name(other.provenance, number))
    return JoinedScans(
        patterns=ConcatenatedPatterns(tuple(scan.patterns for scan in several)),
        geometry=first.geometry,
        mask=torch.stack([scan.mask for scan in several]).all(dim=0),
        positions_m=torch.cat([scan.positions_m for scan in several] if same_object else _apart(several)),
        owner=torch.cat([torch.full((len(scan),), number) for number, scan in enumerate(several)]),
        lengths=tuple(len(scan) for scan in several),
        sources=tuple(dict(scan.provenance) for scan in several),
        same_object=same_object,
        provenance={"scans": [dict(scan.provenance) for scan in several]},
    )


def _of_one_kind(scans: Sequence[Measurement]) -> list[Scan]:
    several = [scan for scan in scans if isinstance(scan, Scan)]
    if len(several) < 2:
        raise InputError(f"{len(several)} ptychography scans cannot share a probe; give at least two")
    if len(several) < len(scans):
        other = next(scan for scan in scans if not isinstance(scan, Scan))
        name = _name(other.provenance, list(scans).index(other))
        raise InputError(f"{name} is {other.title}; only ptychography scans can share a probe")
    return several


def _require_alike(first: Scan, other: Scan, name: str, called: str) -> None:
    """Refuse a scan whose probe would be another array than that of the first."""
    if other.frame_shape != first.frame_shape:
        raise InputError(
            f"frames of {called} are {other.frame_shape[0]} x {other.frame_shape[1]} pixels, those of {name} "
            f"{first.frame_shape[0]} x {first.frame_shape[1]}; scans that share a probe need frames of one size: prepare them "
            "(crop, bin, pad), or reconstruct them one by one"
        )
    told = _lengths(first.geometry), _lengths(other.geometry)
    for what, here in told[0].items():
        there = told[1][what]
        if here != there and not abs(here - there) <= ALIKE * abs(here):
            raise InputError(
                f"the {what} of {called} is {there:.6g} m, that of {name} {here:.6g} m; scans that share a probe need one "
                "geometry: state it if a file is wrong, or reconstruct them one by one"
            )


def _lengths(geometry: Geometry) -> dict[str, float]:
    focus = geometry.focus_distance_m
    return {
        "wavelength": geometry.wavelength_m,
        "distance to the detector": geometry.distance_m,
        "height of a detector pixel": geometry.detector_pixel_m[0],
        "width of a detector pixel": geometry.detector_pixel_m[1],
        "distance from the focus (0: far field)": 0.0 if focus is None else focus,
    }


def _apart(scans: Sequence[Scan]) -> list[Float[Tensor, "frame 2"]]:
    """Positions, each scan's below those of the one before with a gap of a window."""
    height, pixel_m = scans[0].frame_shape[0], scans[0].object_pixel_m[0]
    gap_m = (height + max(height, LEAST_GAP_PX)) * pixel_m
    lowest = [scan.positions_m - scan.positions_m.amin(dim=0) for scan in scans]
    placed = [lowest[0]]
    for here in lowest[1:]:
        down = torch.tensor([float(placed[-1][:, 0].max()) + gap_m, 0.0], dtype=torch.float64)
        placed.append(here + down)
    return placed


def _name(provenance: Mapping[str, Any], number: int) -> str:
    file = provenance.get("file")
    return Path(str(file)).name if file else f"scan {number + 1}"
