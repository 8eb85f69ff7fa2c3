"""Coarse phase correction: errors wider than the probe, which methods that go frame by frame mend last, found all at once,
as far as the photons tell."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.interaction import split_positions
from exitwave.physics.kernels import reference
from exitwave.problems.frame_pulls import PARTS, FramePulls
from exitwave.problems.ptychography import CHUNK, PtychographyProblem
from exitwave.problems.threads import Schedule

MOST_CYCLES = PARTS // 4
"""Fastest waves, cycles per window: what the points see to which the pull of a frame is summed."""
SAMPLE = 16
"""Frames from which the sensitivity to a ramp of phase is learnt."""
SIGNIFICANCE = 2.0
"""Squared pull over its noise variance up to which a wave is left alone: pulls of noise alone exceed it in one of six waves."""


@torch.no_grad()
def ramp_sensitivity(problem: PtychographyProblem, x: PtychoEstimate, *, seed: int = 0) -> Float[Tensor, "2 2"]:
    """How strongly a frame's misfit rises with a phase ramp (rad per pixel, y and x) on the sample: mean Gauss-Newton curvature.

    A ramp moves the pattern on the detector; a constant phase, by contrast, is seen by no frame.
    """
    drawn = _sample(len(problem), seed)

    def curvature(_: int, frames: Int[Tensor, " some"]) -> Float[Tensor, "2 2"]:
        slopes = (modulus_slopes(problem, x, frames) * problem.trusted).flatten(1)
        return (slopes @ slopes.T).double().cpu()

    schedule = Schedule.of(len(drawn), x.probe.numel(), x.probe.device)
    return sum(schedule.run(curvature, drawn), torch.zeros(2, 2, dtype=torch.float64)) / len(drawn)


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


@torch.no_grad()
def slope_noise(problem: PtychographyProblem, x: PtychoEstimate, *, seed: int = 0) -> Float[Tensor, " axis"]:
    """By how much a frame's first moments of pull (`FramePulls.moment_variance`) vary where every pixel of the detector
    deviates for itself, as by photon noise; along y and x, for a misfit of one per frame.
    """
    total, misfit = torch.zeros(2, dtype=torch.float64), 0.0
    for frames in _sample(len(problem), seed).split(CHUNK):
        deviation = problem.model.intensity(x, frames).sqrt() - problem.amplitudes(frames)
        deviation = (deviation * problem.trusted).square()
        total += (modulus_slopes(problem, x, frames).square() * deviation).sum(dim=(1, 2, 3)).double().cpu()
        misfit += float(deviation.sum())
    return total / max(misfit, 1e-30)


def _sample(count: int, seed: int) -> Int[Tensor, " drawn"]:
    return torch.from_numpy(np.sort(np.random.default_rng([seed, 41]).permutation(count)[:SAMPLE]))


@dataclass(frozen=True, eq=False)
class SlowPhase:
    """Phase in cosine waves across the scan, each with its own Newton step; symmetric and positive, a preconditioner.

    A wave of phase exp(i k r) costs misfit in proportion to k^2 (a frame sees its slope only), while the usual step,
    gradient over illumination, takes it to cost the same for all k: hence hundreds of epochs for waves as long as the
    scan. Dividing by density of frames x ramp sensitivity x k^2 makes one step of it: the coarse level of multigrid. Slow is
    what costs less so than by the usual step, half the photons: in the far field up to two cycles per window, in the near
    field, whose patterns hardly move, many more.

    That division by k^2 amplifies noise, too. So from single frames a wave moves only as far as they stand out of their
    noise (positive-part James & Stein, 4th Berkeley Symposium 1, 361 (1961)), and in Newton steps only as far as the frames
    `told` it: as photon noise goes into what their slopes vary by, which else comes of positions or a beam that do not fit.
    """

    rows: Float[Tensor, "Y k"]
    """Cosines along y, one a column, constant beyond the scan."""
    columns: Float[Tensor, "X l"]
    steps: Float[Tensor, "k l"]
    """Newton step of each wave over its gradient; none for the constant, which nothing sees."""
    slowness: Float[Tensor, "k l"]
    """How far each wave counts as slow, 0 to 1."""
    masses: Float[Tensor, "axis k l"]
    """What each wave's pull varies by for each unit by which the moments of single frames do."""
    cell: tuple[int, int]

    @classmethod
    def of(
        cls, problem: PtychographyProblem, x: PtychoEstimate, ramp: Float[Tensor, "2 2"], *, brightness: float = 1.0
    ) -> "SlowPhase":
        """For the frames of a problem at the positions of an estimate, with the `ramp_sensitivity` of its frames; those of
        the estimate are so many times as bright."""
        corners = split_positions(x.positions_px)[0]
        window, canvas = (x.probe.shape[-2], x.probe.shape[-1]), x.object.shape[-2:]
        # A phase that frames see pixel by pixel costs half its photons.
        usual = problem.power / len(problem) / 2
        axes = (_cosines(corners[:, a], window[a], canvas[a], 2 * math.pi * MOST_CYCLES / window[a]) for a in (0, 1))
        waves, sizes, wavenumbers = zip(*axes, strict=True)
        squares = torch.stack(torch.broadcast_tensors(wavenumbers[0].square()[:, None], wavenumbers[1].square()))
        masses = _density(corners, window) * sizes[0][:, None] * sizes[1][None, :] * squares
        ramps = ramp.diagonal().cpu()[:, None, None]
        stiffness = brightness * (ramps * masses).sum(dim=0)
        slow = (1 - (ramps * squares).sum(dim=0) / usual).clamp(min=0)
        slow[0, 0] = 0.0
        steps = slow / stiffness.clamp(min=1e-30)
        parts = (tensor.to(x.object.device, torch.float32) for tensor in (*waves, steps, slow, masses))
        rows, columns, steps, slow, masses = parts
        return cls(rows, columns, steps, slow, masses, cell=(max(window[0] // PARTS, 1), max(window[1] // PARTS, 1)))

    def told(self, pulls: FramePulls, by_noise: Float[Tensor, " axis"]) -> Float[Tensor, "k l"]:
        """Share of its Newton step that each wave may take: as much of what the slopes of frames vary by as photon noise,
        `by_noise` (`slope_noise` times the misfit of a frame), makes them. What the slopes vary by beyond it is error."""
        return (self._noise(by_noise) / self._noise(pulls.moment_variance()).clamp(min=1e-30)).clamp(max=1)

    def of_gradient(
        self,
        obj: Complex[Tensor, "slice Y X"],
        descent: Complex[Tensor, "slice Y X"],
        told: Float[Tensor, "k l"] | float = 1.0,
    ) -> Complex[Tensor, "slice Y X"]:
        """The step of the object for its steepest descent direction (`Sums.object`); slices share the phase evenly."""
        pull = (obj.conj() * descent).imag.sum(dim=0) / len(obj)
        phase = self._in_waves(pull, self.steps * told)
        return 1j * (phase / len(obj)) * obj

    def of_frames(self, pulls: FramePulls) -> Float[Tensor, "Y X"]:
        """The phase that frames pull towards, as far as their pulls stand out of their noise."""
        found = self._found(pulls)
        excess = 1 - SIGNIFICANCE * self._noise(pulls.moment_variance()) / found.square().clamp(min=1e-30)
        return self.rows @ (self.steps * excess.clamp(min=0) * found) @ self.columns.T

    def preconditioned(
        self,
        obj: Complex[Tensor, "slice Y X"],
        descent: Complex[Tensor, "slice Y X"],
        curvature: Float[Tensor, "slice Y X"],
        told: Float[Tensor, "k l"],
        *,
        newton: float,
    ) -> Complex[Tensor, "slice Y X"]:
        """descent / curvature without the slow phase that is not told, and that share of the Newton step of what is told.

        Symmetric and positive. Taking slow phase out is a projection where waves are orthogonal under the curvature, as they
        are on an evenly lit scan.
        """
        pull = (obj.conj() * descent).imag.sum(dim=0)
        weights = (torch.view_as_real(obj).square().sum(dim=-1) * curvature).sum(dim=0)
        norms = self.rows.square().T @ weights @ self.columns.square()
        share = self.slowness * (1 - told) / norms.clamp(min=1e-30)
        # Twice, so that it stays positive however waves and illumination lie to each other.
        out = self._in_waves(pull, share)
        out += self._in_waves(pull - weights * out, share)
        phase = newton / len(obj) ** 2 * self._in_waves(pull, self.steps * told) - out
        return torch.addcmul(descent / curvature, obj, 1j * phase)

    def _noise(self, moment_variance: Float[Tensor, " axis"]) -> Float[Tensor, "k l"]:
        """Noise variance of the pull on each wave."""
        moments = moment_variance.to(self.masses)
        return moments[0] * self.masses[0] + moments[1] * self.masses[1]

    def _in_waves(self, image: Float[Tensor, "Y X"], weights: Float[Tensor, "k l"]) -> Float[Tensor, "Y X"]:
        return self.rows @ (weights * (self.rows.T @ image @ self.columns)) @ self.columns.T

    def _found(self, pulls: FramePulls) -> Float[Tensor, "k l"]:
        """The pull on each wave."""
        grid = pulls.on_grid(self.cell, (len(self.rows), len(self.columns)))
        rows, columns = self.rows[:: self.cell[0]], self.columns[:: self.cell[1]]
        return rows.T @ grid[: len(rows), : len(columns)] @ columns

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


def _cosines(corners: Tensor, window: int, canvas: int, fastest: float) -> tuple[Tensor, Tensor, Tensor]:
    """Cosines across the lit part of one axis, their squared norms, and their wave numbers, up to the fastest (rad per pixel)."""
    # Half a window: where probes usually lie inside theirs.
    first = int(corners.min()) + window // 4
    length = int(corners.max()) + window - window // 4 - first
    count = min(1 + math.ceil(fastest * length / math.pi), length)
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
