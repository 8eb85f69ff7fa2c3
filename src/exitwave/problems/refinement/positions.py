"""Position refinement: a search for large errors in whole pixels and Gauss-Newton steps for the rest."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from scipy.spatial import KDTree
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.fourier import fft2, frequencies, ifft2
from exitwave.physics.kernels import dispatch as kernels
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.refinement.modelled_frames import ModelledFrames, Refinement

DAMPING = 0.01
"""Of the mean curvature: frames that show no detail stay where they are instead of following their noise."""
LOST = 2.5
"""Standard deviations by which a lost frame fits worse than its neighbours."""
DECISIVE, DECISIVE_LOST = 0.985, 0.997
"""A trial move is taken when it lowers the misfit of its frame at least to this share; most of it is photon noise."""


@dataclass(eq=False)
class Positions(Refinement):
    """Positions, frame by frame, by the least squares of (M - A): Gauss-Newton on the modulus at the detector.

    dM/dp = Re(conj(F) dF/dp) / M, where dF/dp is the wave at the detector of the probe's derivative: it holds in the near
    and the far field, for modes, slices and fly scans. Two more propagations a frame than looking alone. The mean step is
    taken out, because moving all positions is the same as moving the object.
    """

    longest_px: float = 1.0
    """No step is longer: further away the derivative says nothing."""
    reach_px: float = math.inf
    """No position moves further from where it was recorded, the mean move apart."""
    friction: float = 0.0
    """Share of the last step that is taken again: the object follows the positions slowly, so that steps fall short."""
    velocity: Float[Tensor, "frame 2"] | None = None
    """The last steps, for the next look."""
    _looked_at: Float[Tensor, "frame 2"] | None = field(init=False, default=None)

    def empty(self, problem: PtychographyProblem, x: PtychoEstimate) -> tuple[Tensor, ...]:
        frames, self._looked_at = len(problem), x.positions_px
        return torch.zeros(frames, 2, dtype=torch.float64), torch.zeros(frames, 2, 2, dtype=torch.float64)

    def add_(self, sums: tuple[Tensor, ...], view: ModelledFrames) -> None:
        pulls, curvatures = sums
        slopes = torch.stack([view.slope(view.seen_with(probes)) for probes in _moving(view)], dim=1)
        slopes = view.unbiased_slopes(slopes)
        pulls[view.frames] = torch.einsum("bayx,byx->ba", slopes, view.unbiased_deviation).double().cpu()
        curvatures[view.frames] = torch.einsum("bayx,bcyx->bac", slopes, slopes).double().cpu()

    def improved(self, problem: PtychographyProblem, x: PtychoEstimate, sums: tuple[Tensor, ...]) -> PtychoEstimate:
        pulls, curvatures = sums
        typical = DAMPING * curvatures.diagonal(dim1=1, dim2=2).mean() + 1e-30
        steps = torch.linalg.solve(curvatures + typical * torch.eye(2, dtype=torch.float64), pulls)
        if self.velocity is not None:
            steps = _shortened(steps, self.longest_px) + self.friction * self.velocity.to(steps)
        # A frame that a search has just moved was looked at elsewhere.
        stayed = (x.positions_px == self._looked_at).all(dim=1, keepdim=True).cpu()
        steps = _shortened(steps, self.longest_px) * stayed
        self.velocity = steps - steps.mean(dim=0)
        recorded = problem.positions_px.cpu()
        moves = x.positions_px.cpu() + self.velocity - recorded
        mean = moves.mean(dim=0)
        return replace(x, positions_px=inside(x, recorded + mean + _shortened(moves - mean, self.reach_px)))


def _shortened(moves: Float[Tensor, "frame 2"], longest_px: float) -> Float[Tensor, "frame 2"]:
    if math.isinf(longest_px):
        return moves
    return moves * (longest_px / moves.norm(dim=1, keepdim=True).clamp(min=longest_px))


def _moving(view: ModelledFrames) -> list[Complex[Tensor, "#batch mode y x"]]:
    """Derivatives of each frame's probe with respect to its position, y and x."""
    model, x = view.problem.model, view.x
    shape = (x.probe.shape[-2], x.probe.shape[-1])
    moving: list[Tensor] = []
    for frequency in frequencies(shape, device=x.probe.device):
        factor = (-2j * torch.pi * frequency).to(torch.complex64)
        # The probes of all frames are linear in probe and variations: so are their derivatives.
        derived = replace(
            x,
            probe=ifft2(fft2(x.probe) * factor),
            variations=None if x.variations is None else ifft2(fft2(x.variations) * factor),
        )
        moving.append(model.probes(derived, view.frames).contiguous())
    return moving


def inside(x: PtychoEstimate, positions_px: Float[Tensor, "frame 2"]) -> Float[Tensor, "frame 2"]:
    """Positions held so that each window stays in the object array."""
    room = torch.tensor(x.object.shape[-2:]) - torch.tensor(x.probe.shape[-2:])
    return torch.minimum(positions_px.clamp(min=-0.49), room.to(positions_px) + 0.49).to(x.positions_px.device)


@dataclass(eq=False)
class Search(Refinement):
    """Positions far off: frames try a few whole-pixel moves drawn at random and keep the one of least misfit.

    Annealing of Maiden, Humphry, Sarahan, Kraus & Rodenburg, Ultramicroscopy 120, 64 (2012). One propagation a trial.
    """

    reach_px: float
    """Places are drawn evenly from a disc of this radius around where a frame was recorded, and around where it is."""
    trials: int
    seed: tuple[int, ...]
    lost: Bool[Tensor, " frame"] | None = None
    """Which frames search; all when left out."""
    misfits: Float[Tensor, " frame"] | None = field(init=False, default=None)
    """Of the frames where they were, after the look."""
    _moves: Float[Tensor, "trial frame 2"] = field(init=False)

    def __post_init__(self) -> None:
        self._moves = torch.zeros(self.trials, 0, 2)

    def empty(self, problem: PtychographyProblem, x: PtychoEstimate) -> tuple[Tensor, ...]:
        rng = np.random.default_rng(self.seed)
        shape = (self.trials, len(problem))
        radius, angle = self.reach_px * np.sqrt(rng.random(shape)), 2 * np.pi * rng.random(shape)
        moves = torch.from_numpy(np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=-1))
        # A frame that was led astray finds back from where it was recorded.
        back = problem.positions_px.cpu() - x.positions_px.cpu()
        moves[::2] += back - back.median(dim=0).values
        self._moves = moves.round()
        return (torch.zeros(self.trials + 1, len(problem), dtype=torch.float64),)

    def add_(self, sums: tuple[Tensor, ...], view: ModelledFrames) -> None:
        misfits = sums[0]
        misfits[0, view.frames] = view.deviation.double().square().sum(dim=(1, 2)).cpu()
        searching = torch.arange(len(view.frames)) if self.lost is None else self.lost[view.frames].nonzero().flatten()
        if not len(searching):
            return
        frames, probes = view.frames[searching], view.probes if len(view.probes) == 1 else view.probes[searching]
        stack, index = view.problem.amplitude_stack(frames)
        room = torch.tensor(view.x.object.shape[-2:]) - torch.tensor(view.x.probe.shape[-2:])
        for trial in range(self.trials):
            corners = view.corners[searching] + self._moves[trial, frames].to(torch.int64)
            there = torch.minimum(corners.clamp(min=0), room)
            waves = view.seen_with(probes, there)
            misfit = kernels.impose_modulus_(waves, stack, index, view.problem.trusted, view.background).double().cpu()
            # A place outside the object array was not tried.
            misfits[trial + 1, frames] = torch.where((there == corners).all(dim=1), misfit, torch.inf)

    def improved(self, problem: PtychographyProblem, x: PtychoEstimate, sums: tuple[Tensor, ...]) -> PtychoEstimate:
        # What the threads did not look at is zero in their sums, which infinities survive.
        self.misfits = sums[0][0]
        tried = torch.cat([(DECISIVE if self.lost is None else DECISIVE_LOST) * sums[0][:1], sums[0][1:]])
        best = tried.argmin(dim=0)
        if self.lost is not None:
            best = torch.where(self.lost, best, 0)
        moves = torch.cat([torch.zeros_like(self._moves[:1]), self._moves])[best, torch.arange(len(problem))]
        return replace(x, positions_px=inside(x, x.positions_px.cpu() + moves))


def lost_frames(
    positions_px: Float[Tensor, "frame 2"], misfits: Float[Tensor, " frame"], power: Float[Tensor, " frame"]
) -> Bool[Tensor, " frame"]:
    """Frames that fit worse than their neighbours do, by more than neighbours usually differ; a tenth of all at most."""
    relative = (misfits / power.clamp(min=1e-30)).sqrt()
    count = min(9, len(relative))
    near = torch.from_numpy(KDTree(positions_px.numpy()).query(positions_px.numpy(), k=count)[1]).reshape(-1, count)
    off = (relative / relative[near].median(dim=1).values.clamp(min=1e-30)).log()
    usual = off.abs().median() / 0.6745
    threshold = torch.maximum(LOST * usual, off.quantile(0.9))
    return off > threshold
