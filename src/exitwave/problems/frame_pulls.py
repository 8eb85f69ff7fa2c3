"""What every frame asks of the phase under it, kept while a pass goes over the frames."""

from copy import copy

import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.interaction import split_positions
from exitwave.physics.kernels import dispatch as kernels
from exitwave.physics.kernels.reference import FrameWaves
from exitwave.problems.ptychography import PtychographyProblem

PARTS = 8
"""Intervals per side between the points among which the pull of a frame is shared."""
NEIGHBOURS = 4
"""Frames with which each is compared to tell noise from what is asked in common."""


class FramePulls:
    """Remembers, while a `Sweep` passes over frames, towards which phase each frame pulled each part of its window.

    Give it to the sweep as `observer`: it sums Im(conj(wave) change) over blocks of the window.
    """

    def __init__(self, problem: PtychographyProblem, x: PtychoEstimate) -> None:
        self.problem, self.positions_px = problem, x.positions_px
        self.shape = (x.probe.shape[-2], x.probe.shape[-1])
        self._neighbours = _nearest(x.positions_px).to(x.object.device)
        self._common_to_probe = False
        # Kept frame by frame: threads then never write to the same place.
        self.pulls = torch.zeros(len(problem), PARTS + 1, PARTS + 1, device=x.object.device)
        self._shares = [_shares(n).to(x.object.device) for n in self.shape]

    def __call__(self, waves: FrameWaves, change: FrameWaves, frames: Int[Tensor, " batch"]) -> None:
        self.pulls[frames.to(self.pulls.device)] = kernels.phase_pulls(waves, change, *self._shares)

    def leave_common_to_probe(self) -> None:
        """Take out what all frames ask alike: an unknown probe explains it as well as the object."""
        self.pulls -= self.pulls.mean(dim=0)
        self._common_to_probe = True

    def some(self, frames: Int[Tensor, " some"], positions_px: Float[Tensor, "some 2"]) -> "FramePulls":
        """Those of some frames, placed elsewhere; what these ask alike is taken out where it was of all."""
        part = copy(self)
        part.positions_px, part.pulls = positions_px, self.pulls[frames.to(self.pulls.device)]
        part._neighbours = _nearest(positions_px).to(self.pulls.device)
        if self._common_to_probe:
            part.leave_common_to_probe()
        return part

    def moment_variance(self) -> Float[Tensor, " axis"]:
        """Noise variance of a frame's first moments of pull along y and x, which say towards which ramp of phase it pulls.

        From how far each frame stands off its nearest neighbours: a slow phase asks nearly the same of them all. What
        differs is photon noise, and detail, positions and probe that do not fit yet.
        """
        moments = torch.stack([self._moments(axis) for axis in (0, 1)], dim=1)
        count = self._neighbours.shape[1]
        if count == 0:
            return moments.square().mean(dim=0)
        off = moments - moments[self._neighbours].mean(dim=1)
        return off.square().mean(dim=0) / (1 + 1 / count)

    def _moments(self, axis: int) -> Float[Tensor, " frame"]:
        places = torch.linspace(-0.5, 0.5, PARTS + 1, device=self.pulls.device) * (self.shape[axis] - 1)
        return self.pulls.sum(dim=2 - axis) @ places

    def on_grid(self, cell: tuple[int, int], canvas: tuple[int, int]) -> Float[Tensor, "h w"]:
        """Pulls summed on points of the canvas `cell` pixels apart, shared among the four nearest."""
        device = self.pulls.device
        shape = [-(-canvas[axis] // cell[axis]) + 1 for axis in (0, 1)]
        corners = split_positions(self.positions_px)[0].to(device)
        lower: list[Tensor] = []
        upper_share: list[Tensor] = []
        for axis in (0, 1):
            points = torch.arange(PARTS + 1, device=device) * ((self.shape[axis] - 1) / PARTS)
            place = (corners[:, axis, None] + points) / cell[axis]
            lower.append(place.floor().long().clamp(0, shape[axis] - 2))
            upper_share.append((place - lower[-1]).clamp(0, 1))
        grid = torch.zeros(shape[0] * shape[1], device=device)
        for down in (0, 1):
            for right in (0, 1):
                by_row = upper_share[0] if down else 1 - upper_share[0]
                by_column = upper_share[1] if right else 1 - upper_share[1]
                index = (lower[0] + down)[:, :, None] * shape[1] + (lower[1] + right)[:, None, :]
                parts = self.pulls * by_row[:, :, None] * by_column[:, None, :]
                grid.index_add_(0, index.flatten(), parts.flatten())
        return grid.reshape(shape[0], shape[1])


def _nearest(positions_px: Float[Tensor, "frame 2"]) -> Int[Tensor, "frame near"]:
    places = positions_px.cpu().numpy()
    near = KDTree(places).query(places, min(1 + NEIGHBOURS, len(places)))[1].reshape(len(places), -1)[:, 1:]
    return torch.from_numpy(near)


def _shares(size: int) -> Float[Tensor, "point pixel"]:
    """Shares of a row of pixels among equally spaced points, linear between them: first moments are kept exactly.

    Whole blocks would not do: their ramps are stairs, and a near-field frame sees the edges of stairs far better than ramps.
    """
    place = torch.arange(size, dtype=torch.float64) * (PARTS / max(size - 1, 1))
    return (1 - (torch.arange(PARTS + 1)[:, None] - place).abs()).clamp(min=0).to(torch.float32)
