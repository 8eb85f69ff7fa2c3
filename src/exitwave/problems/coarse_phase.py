"""Coarse phase correction: errors wider than the probe, which methods that go frame by frame mend last, found all at once."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.interaction import split_positions
from exitwave.physics.kernels import reference
from exitwave.problems.ptychography import CHUNK, PtychographyProblem

CUTOFF = 1.5
"""Cycles per window at which a wave of phase counts for 1/e: faster ones are seen well by single frames."""
SAMPLE = 32
"""Frames from which the sensitivity to a ramp of phase is learnt."""
import os
THRESHOLD = float(os.environ.get("THR", "2"))
COMMON = int(os.environ.get("COMMON", "1"))
PARTS = 8
"""Blocks per side into which the pull of a frame is summed."""


@torch.no_grad()
def ramp_sensitivity(problem: PtychographyProblem, x: PtychoEstimate, *, seed: int = 0) -> Float[Tensor, "2 2"]:
    """How strongly a frame's misfit rises with a phase ramp (rad per pixel, y and x) on the sample: mean Gauss-Newton curvature.

    A ramp moves the pattern on the detector; a constant phase, by contrast, is seen by no frame.
    """
    drawn = np.sort(np.random.default_rng([seed, 41]).permutation(len(problem))[:SAMPLE])
    total = torch.zeros(2, 2, dtype=torch.float64)
    for frames in torch.from_numpy(drawn).split(CHUNK):
        slopes = modulus_slopes(problem, x, frames) * problem.trusted
        total += torch.einsum("abyx,cbyx->ac", slopes, slopes).double().cpu()
    return total / len(drawn)


def modulus_slopes(
    problem: PtychographyProblem, x: PtychoEstimate, frames: Int[Tensor, " batch"]
) -> Float[Tensor, "axis batch y x"]:
    """Derivatives of the modulus at the detector with respect to a phase ramp along y and along x, per rad per pixel."""
    waves = problem.model.exit_waves(x, frames)
    at_detector = problem.model.propagate(waves)
    modulus = (reference.intensity(at_detector) + problem.model.background(x)).sqrt().clamp_(min=1e-9)
    height, width = waves.shape[-2:]
    y = torch.arange(height, device=waves.device, dtype=torch.float32)[:, None] - height // 2
    x_px = torch.arange(width, device=waves.device, dtype=torch.float32)[None, :] - width // 2
    ramped = (problem.model.propagate(1j * axis * waves) for axis in (y, x_px))
    return torch.stack([(at_detector.conj() * wave).real.sum(dim=1) / modulus for wave in ramped])


@dataclass(frozen=True, eq=False)
class SlowPhase:
    """Phase in cosine waves across the scan, each with its own Newton step; symmetric and positive, a preconditioner.

    A wave of phase exp(i k r) costs misfit in proportion to k^2 (a frame sees its slope only), while the usual step,
    gradient over illumination, takes it to cost the same for all k: hence hundreds of epochs for waves as long as the
    scan. Dividing by density of frames x ramp sensitivity x k^2 makes one step of it: the coarse level of multigrid.
    """

    rows: Float[Tensor, "Y k"]
    """Cosines along y, one a column, constant beyond the scan."""
    columns: Float[Tensor, "X l"]
    steps: Float[Tensor, "k l"]
    """Newton step of each wave over its gradient; none for the constant, which nothing sees."""
    cell: tuple[int, int]
    mass: Tensor
    ky2: Tensor
    kx2: Tensor

    @classmethod
    def of(cls, problem: PtychographyProblem, x: PtychoEstimate, ramp: Float[Tensor, "2 2"]) -> "SlowPhase":
        """For the frames of a problem at the positions of an estimate, with the `ramp_sensitivity` of its frames."""
        corners = split_positions(x.positions_px)[0]
        window, canvas = (x.probe.shape[-2], x.probe.shape[-1]), x.object.shape[-2:]
        waves, sizes, wavenumbers = zip(*(_cosines(corners[:, a], window[a], canvas[a]) for a in (0, 1)), strict=True)
        ky, kx = wavenumbers[0][:, None], wavenumbers[1][None, :]
        mass = _density(corners, window) * sizes[0][:, None] * sizes[1][None, :]
        stiffness = mass * (float(ramp[0, 0]) * ky.square() + float(ramp[1, 1]) * kx.square())
        cycles = ((ky * window[0]).square() + (kx * window[1]).square()).sqrt() / (2 * math.pi)
        steps = torch.exp(-(cycles / CUTOFF).square()) / stiffness.clamp(min=1e-30)
        steps[0, 0] = 0.0
        place = {"device": x.object.device, "dtype": torch.float32}
        cell = (max(window[0] // PARTS, 1), max(window[1] // PARTS, 1))
        return cls(waves[0].to(**place), waves[1].to(**place), steps.to(**place), cell, mass.to(**place), ky.square().to(**place), kx.square().to(**place))

    def of_gradient(
        self, obj: Complex[Tensor, "slice Y X"], descent: Complex[Tensor, "slice Y X"]
    ) -> Complex[Tensor, "slice Y X"]:
        """The step of the object for its steepest descent direction (`Sums.object`); slices share the phase evenly."""
        pull = (obj.conj() * descent).imag.sum(dim=0) / len(obj)
        phase = self.rows @ (self.steps * (self.rows.T @ pull @ self.columns)) @ self.columns.T
        return 1j * (phase / len(obj)) * obj

    def of_frames(self, pulls: "FramePulls") -> Float[Tensor, "Y X"]:
        """The phase that frames pull towards."""
        found = self.found(pulls)
        return self.rows @ (self.steps * self.told(pulls, found) * found) @ self.columns.T

    def found(self, pulls: "FramePulls") -> Float[Tensor, "k l"]:
        grid = pulls.on_grid(self.cell, (len(self.rows), len(self.columns)))
        rows, columns = self.rows[:: self.cell[0]], self.columns[:: self.cell[1]]
        return rows.T @ grid[: len(rows), : len(columns)] @ columns

    @property
    def ok(self):
        return torch.exp(torch.zeros(1)) * self.steps * self.mass * (self.ky2 + self.kx2) > 0.37 * (self.steps * self.mass * (self.ky2 + self.kx2)).max()

    def noise(self, pulls):
        P = pulls.slopes()
        d = P - P[pulls.nn].mean(dim=1)
        scatter = d.square().mean(dim=0) / (1 + 1 / pulls.nn.shape[1])
        if os.environ.get("FULL"): scatter = P.square().mean(dim=0)
        return self.mass * (scatter[0] * self.ky2 + scatter[1] * self.kx2)

    def told(self, pulls: "FramePulls", found):
        noise = self.noise(pulls)
        return (1 - THRESHOLD * noise / found.square().clamp(min=1e-30)).clamp(min=0)

    def without_ramp(self, phase: Float[Tensor, "Y X"]) -> Float[Tensor, "Y X"]:
        """A phase less its mean slope over the scan: nothing tells a ramp on the sample from one on an unknown probe."""
        # Cosines are constant beyond the scan.
        inside = [waves.diff(dim=0, append=waves[-1:]).abs().sum(dim=1) > 0 for waves in (self.rows, self.columns)]
        part = phase[inside[0]][:, inside[1]]
        for axis, lit in enumerate(inside):
            place = torch.arange(len(lit), device=phase.device, dtype=phase.dtype)
            place -= place[lit].mean()
            slope = (part.mean(dim=1 - axis) * place[lit]).sum() / place[lit].square().sum().clamp(min=1e-30)
            phase = phase - slope * (place[:, None] if axis == 0 else place)
        return phase


class FramePulls:
    """Remembers, while a `Sweep` passes over frames, towards which phase each frame pulled each part of its window.

    Give it to the sweep as `exit_wave_update`: it imposes the measured modulus on the exit waves and sums Im(conj(wave) change).
    """

    def __init__(self, problem: PtychographyProblem, x: PtychoEstimate) -> None:
        self.problem, self.positions_px = problem, x.positions_px
        self.background = problem.model.background(x)
        self.shape = (x.probe.shape[-2], x.probe.shape[-1])
        from scipy.spatial import cKDTree
        pos = x.positions_px.cpu().numpy()
        self.nn = torch.from_numpy(cKDTree(pos).query(pos, min(5, len(pos)))[1][:, 1:]).to(x.object.device)
        # Kept frame by frame: threads then never write to the same place.
        self.pulls = torch.zeros(len(problem), PARTS, PARTS, device=x.object.device)
        self._blocks = [_blocks(n).to(x.object.device) for n in self.shape]

    def __call__(
        self, waves: Complex[Tensor, "batch mode y x"], frames: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        change, misfit = self.problem.modulus_change(waves, frames, self.background)
        pull = waves.conj().mul_(change).imag.sum(dim=1)
        self.pulls[frames.to(self.pulls.device)] = self._blocks[0] @ pull @ self._blocks[1].T
        waves.copy_(change)
        return misfit

    def slopes(self):
        pulls = self.pulls
        out = []
        for axis in (0, 1):
            middles = (torch.arange(PARTS, device=pulls.device) + 0.5) * self.shape[axis] / PARTS - self.shape[axis] / 2
            out.append((pulls.sum(dim=2 - axis) * middles).sum(dim=1))
        return torch.stack(out, dim=1)

    def on_grid(self, cell: tuple[int, int], canvas: tuple[int, int]) -> Float[Tensor, "h w"]:
        """Pulls summed on points of the canvas `cell` pixels apart, shared among the four nearest."""
        device = self.pulls.device
        shape = [-(-canvas[axis] // cell[axis]) + 1 for axis in (0, 1)]
        corners = split_positions(self.positions_px)[0].to(device)
        lower: list[Tensor] = []
        upper_share: list[Tensor] = []
        for axis in (0, 1):
            middles = (torch.arange(PARTS, device=device) + 0.5) * self.shape[axis] / PARTS - 0.5
            place = (corners[:, axis, None] + middles) / cell[axis]
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


def _cosines(corners: Tensor, window: int, canvas: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines across the lit part of one axis, their squared norms, and their wave numbers (rad per pixel)."""
    # Half a window: where probes usually lie inside theirs.
    first = int(corners.min()) + window // 4
    length = int(corners.max()) + window - window // 4 - first
    count = min(1 + math.ceil(2 * CUTOFF * 2 * length / window), length)
    place = (torch.arange(canvas, dtype=torch.float64) - first + 0.5).clamp(0, length)
    wavenumber = math.pi * torch.arange(count, dtype=torch.float64) / length
    norm = torch.full((count,), length / 2, dtype=torch.float64)
    norm[0] = length
    return torch.cos(place[:, None] * wavenumber), norm, wavenumber


def _density(corners: Int[Tensor, "frame 2"], window: tuple[int, int]) -> float:
    """Frames per square pixel where frames are: denser parts of an uneven scan weigh more, so that no step is too long."""
    half = torch.tensor([max(n // 2, 1) for n in window])
    place = (corners - corners.amin(dim=0)) // half
    counts = torch.bincount(place[:, 0] * (int(place[:, 1].max()) + 1) + place[:, 1]).double()
    spread = (corners.amax(dim=0) - corners.amin(dim=0) + half // 4 + 1).double()
    even = len(corners) / float(spread.prod())
    return max(float(counts.square().sum() / counts.sum()) / float(half.prod()), even)


def _blocks(size: int) -> Float[Tensor, "part pixel"]:
    """Sums of a row of pixels over equal parts of it; a pixel on a border is shared."""
    edges = torch.arange(PARTS + 1, dtype=torch.float64) * size / PARTS
    pixel = torch.arange(size, dtype=torch.float64)
    inside = torch.minimum(edges[1:, None], pixel + 1) - torch.maximum(edges[:-1, None], pixel)
    return inside.clamp(min=0).to(torch.float32)
