"""Which frames to leave out, and which others have seen their place."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.interaction import split_positions

MOST_SAMPLES = 8
"""Frames that are left out together, at most."""
SHARE = 0.5
"""Of all frames that may take part when several are left out together."""
HELD = 0.97
"""Share of the probe's photons within the patch that is emptied."""
TOUCHING = 0.05
"""Frames that share less light with one that is left out know nothing of it."""
CANDIDATES = 256
"""Frames among which those are chosen that are left out."""
APART = 0.2
"""Two frames that are left out share no more light than this."""


@dataclass(frozen=True, eq=False)
class Illumination:
    """Where the beam of each frame fell, on the CPU."""

    corners: Int[Tensor, "frame 2"]
    beam: Float[Tensor, "y x"]
    """Photons in a frame."""
    light: Float[Tensor, "Y X"]
    """Photons of all frames."""
    shared: Float[Tensor, "y2 x2"]

    @classmethod
    def of(cls, x: PtychoEstimate) -> "Illumination":
        beam = x.probe.detach().cpu().abs().double().square().sum(dim=0)
        return cls(split_positions(x.positions_px)[0].cpu(), beam, x.light(), shared_light(beam))

    def window(self, frame: int) -> tuple[slice, slice]:
        """The part of the object that a frame sees."""
        (row, column), (height, width) = self.corners[frame].tolist(), self.beam.shape
        return slice(row, row + height), slice(column, column + width)

    def known(self, frame: int) -> Bool[Tensor, "y x"]:
        """Where the other frames together shine at least half as brightly as this one."""
        return self.light[self.window(frame)] - self.beam >= 0.5 * self.beam

    def cover(self, frame: int) -> float:
        """Share of a frame's light that falls there."""
        return float((self.beam * self.known(frame)).sum() / self.beam.sum().clamp(min=1e-30))


def frames_to_leave_out(seen: Illumination, taken: list[int]) -> Int[Tensor, " sample"]:
    """Well covered frames, far from each other: each time the one furthest from those chosen and those `taken` before."""
    corners, count = seen.corners, len(seen.corners)
    looked_at = torch.linspace(0, count - 1, min(count, CANDIDATES)).round().to(torch.int64).unique()
    cover = torch.tensor([seen.cover(frame) for frame in looked_at.tolist()])
    inner = looked_at[cover >= cover.median()]
    middle = corners.double().mean(dim=0, keepdim=True)
    chosen: list[int] = []
    while len(chosen) < MOST_SAMPLES:
        others = torch.cat([corners[[*taken, *chosen]].double(), middle[: 0 if taken or chosen else 1]])
        nearest = (corners[inner].double()[:, None] - others[None]).square().sum(dim=2).amin(dim=1)
        best = int(inner[int(nearest.argmax() if taken or chosen else nearest.argmin())])
        if best in taken or best in chosen:
            break
        if chosen and float(_between(corners[best] - corners[chosen], seen.shared).max()) > APART:
            break
        if chosen and len(neighbours_of(seen, torch.tensor([*chosen, best]))) > SHARE * count:
            break
        chosen.append(best)
    return torch.tensor(sorted(chosen), dtype=torch.int64)


def neighbours_of(seen: Illumination, chosen: Tensor) -> Int[Tensor, " near"]:
    """Frames that share light with those left out, these themselves not."""
    if not len(chosen):
        return chosen
    touching = _between(seen.corners[:, None] - seen.corners[chosen][None], seen.shared).amax(dim=1) >= TOUCHING
    touching[chosen] = False
    return touching.nonzero().flatten()


def shared_light(beam: Float[Tensor, "y x"]) -> Float[Tensor, "y x"]:
    """How much two frames at a distance (y, x) light the same place, 1 at no distance; negative distances from the end."""
    root = beam.double().cpu()
    padded = torch.nn.functional.pad(root, (0, root.shape[1], 0, root.shape[0]))
    found = torch.fft.ifft2(torch.fft.fft2(padded).abs().square()).real
    return found / found[0, 0].clamp(min=1e-30)


def patch_of(beam: Float[Tensor, "y x"]) -> Bool[Tensor, "y x"]:
    """The brightest pixels of the beam that together hold 97 % of its photons."""
    values, _ = beam.flatten().double().sort(descending=True)
    count = int((values.cumsum(dim=0) < HELD * values.sum()).sum())
    return beam >= values[min(count, len(values) - 1)].to(beam.dtype)


def _between(distances: Int[Tensor, "*pair 2"], shared: Float[Tensor, "y x"]) -> Float[Tensor, "*pair"]:
    """Light that frames at these distances share."""
    height, width = shared.shape
    inside = (distances[..., 0].abs() < height // 2) & (distances[..., 1].abs() < width // 2)
    found = shared[distances[..., 0] % height, distances[..., 1] % width]
    return torch.where(inside, found, 0.0)
