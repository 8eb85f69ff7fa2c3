"""Outliers: single frames and pixels so far beyond all others that they would spoil the image, found before a run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, pad

from exitwave.data.estimate import PtychoEstimate
from exitwave.data.measurement import M
from exitwave.data.scan import Scan
from exitwave.data.statistics import ScanStatistics

BLOCKS = 8
"""Parts per side of a frame whose light is compared: coarse, so that speckle does not matter."""
NEIGHBOURS = 8
FEWEST = 12
"""Frames below which nothing says what is usual."""
AGREEING = 3
"""So many of the neighbours must stand apart from a frame; the others may be wild themselves."""
SHARE = 0.05
"""Of all frames, from which no outlier may be told: where more differ, it is the sample or the beam."""
BRIGHTER, DIMMER = 12.0, 30.0
"""Times more, or less, light than neighbours that see much the same of the sample, and than nearly all frames."""
UNLIKE, LEAST_UNLIKE = 6.0, 0.25
"""Times further from its neighbours' pattern than theirs are from each other, and at least so far (1 less the correlation)."""
PEAKED, LEAST_PEAK = 5.0, 0.1
"""Times the share of a frame's light that neighbours have in their brightest pixel, and at least so much: a particle's hit."""
FEW_PHOTONS, LITTLE_LIGHT = 200, 0.4
"""Frames with fewer photons, or with less than this share of the mean frame's, say nothing by their pattern: what passes an
edge of an opaque sample differs much from place to place."""
SEEN_AROUND = 12
"""Pixels of the 24 around another that must be trusted before it is judged."""
SPIKE_SHARE = 3e-4
"""Of all light in the mean pattern: a pixel with less is never a wild one."""
STANDS_OUT = 20.0
"""Times the light of a pixel over that around it. A probe narrower than its window makes no spike of one pixel."""


@dataclass(frozen=True)
class Outliers:
    """What solvers are not shown of a measurement, because it is far beyond all else that was measured."""

    frames: tuple[int, ...] = ()
    """Their numbers in the measurement."""
    pixels: tuple[tuple[int, int], ...] = ()
    """(row, column) on the detector."""

    def __bool__(self) -> bool:
        return bool(self.frames or self.pixels)

    def described(self) -> dict[str, list[Any]]:
        """As files keep it."""
        return {"frames": [*self.frames], "pixels": [[*pixel] for pixel in self.pixels]}

    @classmethod
    def stored(cls, provenance: Mapping[str, Any]) -> "Outliers":
        """Those that the provenance of a result tells of."""
        told = provenance.get("outliers", {})
        frames, pixels = told.get("frames", ()), told.get("pixels", ())
        return cls(tuple(int(frame) for frame in frames), tuple((int(row), int(column)) for row, column in pixels))

    def remarks(self) -> list[str]:
        """In words, a line each for frames and pixels."""
        found = list[str]()
        if self.frames:
            found.append(
                f"{_counted(self.frames, 'frame')} far beyond all others in brightness or pattern left out: "
                f"{_listed(self.frames)} (--no-robust keeps them)."
            )
        if self.pixels:
            found.append(
                f"{_counted(self.pixels, 'detector pixel')} far brighter than all around left out: "
                f"{_listed(self.pixels)} (--no-robust keeps them)."
            )
        return found

    def kept(self, frames: int) -> Int[Tensor, " kept"]:
        """Numbers of the other frames, of so many."""
        among = torch.ones(frames, dtype=torch.bool)
        among[list(self.frames)] = False
        return among.nonzero().flatten()

    def without(self, scan: M) -> M:
        """The measurement without these frames, its mask without these pixels."""
        mask = scan.mask.clone()
        for row, column in self.pixels:
            mask[row, column] = False
        rest = scan.some(self.kept(len(scan))) if self.frames else scan
        return replace(rest, mask=mask) if self.pixels else rest

    def of_start(self, start: PtychoEstimate, frames: int) -> PtychoEstimate:
        """A start for the other frames, so many, where it was made from all."""
        whole = frames + len(self.frames)
        return start.some(self.kept(whole)) if self.frames and len(start.positions_px) == whole else start

    def then(self, further: "Outliers", frames: int) -> "Outliers":
        """These, and those found in what was left of so many frames."""
        numbers = self.kept(frames)[list(further.frames)].tolist()
        return Outliers(tuple(sorted({*self.frames, *numbers})), tuple(sorted({*self.pixels, *further.pixels})))


def _counted(found: Sequence[Any], what: str) -> str:
    return f"1 {what}" if len(found) == 1 else f"{len(found)} {what}s"


def _listed(found: Sequence[Any]) -> str:
    return ", ".join(map(str, found[:10])) + (" ..." if len(found) > 10 else "")


@dataclass(frozen=True, eq=False)
class Signatures:
    """How the light of each frame is spread over the detector: in few numbers, so that frames can be compared."""

    blocks: Float[Tensor, "frame block"]
    """Mean light in each part of the detector."""
    peaks: Float[Tensor, " frame"]
    """Light in the brightest pixel."""

    @classmethod
    def of(cls, frames: Float[Tensor, "batch y x"], mask: Bool[Tensor, "y x"]) -> "Signatures":
        """Of frames as they were measured."""
        seen = torch.where(mask, frames, 0.0)
        return cls(adaptive_avg_pool2d(seen, BLOCKS).flatten(1), seen.amax(dim=(1, 2)))

    @classmethod
    def joined(cls, parts: Sequence["Signatures"]) -> "Signatures":
        """Of all frames, from those of some after others."""
        return cls(torch.cat([part.blocks for part in parts]), torch.cat([part.peaks for part in parts]))


def outliers(scan: Scan, seen: ScanStatistics, signatures: Signatures) -> Outliers:
    """Wild frames; where there are none, wild pixels, which a wild frame would hide or pretend.

    A frame counts as wild where both its neighbours, which see much the same of the sample, and nearly all frames agree
    that it is, so that nothing is found in a healthy scan: other samples differ less, or differ over several frames.
    """
    wild = _wild_frames(scan, seen.photons_per_frame.double(), signatures)
    if len(wild):
        return Outliers(frames=tuple(wild.tolist()))
    spikes = _spikes(seen.mean_pattern, scan.mask, len(scan)).nonzero().tolist()
    return Outliers(pixels=tuple((row, column) for row, column in spikes))


def _wild_frames(scan: Scan, photons: Float[Tensor, " frame"], signatures: Signatures) -> Int[Tensor, " wild"]:
    if len(scan) < FEWEST:
        return torch.zeros(0, dtype=torch.int64)
    places = scan.positions_m.numpy()
    nearest = np.asarray(KDTree(places).query(places, k=NEIGHBOURS + 1)[1])
    near = torch.from_numpy(nearest[:, 1:])
    unlike = _unlikeness(signatures.blocks.double(), near)
    odd = unlike > (UNLIKE * _beyond(unlike, near)).clamp(min=LEAST_UNLIKE)
    share = signatures.peaks.double() / photons.clamp(min=1e-30)
    peaked = share > (PEAKED * _beyond(share, near)).clamp(min=LEAST_PEAK)
    usual, least = _beyond(photons, near), -_beyond(-photons, near)
    bright = photons > BRIGHTER * usual + FEW_PHOTONS
    dim = (DIMMER * photons < least) & (least > 30)
    telling = photons > max(FEW_PHOTONS, LITTLE_LIGHT * float(photons[~bright].mean()))
    return (bright | dim | ((odd | peaked) & telling)).nonzero().flatten()


def _beyond(values: Float[Tensor, " frame"], near: Int[Tensor, "frame near"]) -> Float[Tensor, " frame"]:
    """What a value must surpass to stand out: its neighbours', but for a few of them, and those of nearly all frames."""
    few = math.ceil(SHARE * len(values)) + 1
    everywhere = values.sort(descending=True).values[few]
    around = values[near].sort(dim=1, descending=True).values[:, AGREEING - 1]
    return torch.maximum(around, everywhere)


def _unlikeness(blocks: Float[Tensor, "frame block"], near: Int[Tensor, "frame near"]) -> Float[Tensor, " frame"]:
    """How far each frame's pattern is from the second most similar one beside it: 1 less the correlation of amplitudes.

    The most similar one may be as wild as itself.
    """
    amplitudes = _normalised(blocks.clamp(min=0).sqrt())
    alike = torch.einsum("fb,fnb->fn", amplitudes, amplitudes[near])
    return 1 - alike.sort(dim=1, descending=True).values[:, 1]


def _normalised(rows: Float[Tensor, "frame block"]) -> Float[Tensor, "frame block"]:
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-30)


def _spikes(mean: Float[Tensor, "y x"], mask: Bool[Tensor, "y x"], frames: int) -> Bool[Tensor, "y x"]:
    """Pixels far brighter than those around them: stuck or hot, or hit by what is no light of the sample."""
    height, width = mean.shape
    seen = pad(torch.where(mask, mean, -1.0)[None], (2, 2, 2, 2), value=-1.0)[0]
    windows = seen.unfold(0, 5, 1).unfold(1, 5, 1).reshape(height, width, 25)
    others = torch.cat([windows[..., :12], windows[..., 13:]], dim=-1).sort(dim=-1, descending=True).values
    # Four neighbours of the peak of a beam share its light; where few can be seen, nothing is said.
    around = others[..., 3]
    known = mask & (others[..., SEEN_AROUND - 1] >= 0)
    # Of scaled values single photons may be large numbers; what has hardly a share of the light ruins no image.
    telling = mean > SPIKE_SHARE * torch.where(mask, mean, 0.0).clamp(min=0).sum()
    return known & telling & (mean * frames > STANDS_OUT * around.clamp(min=0) * frames + 100)
