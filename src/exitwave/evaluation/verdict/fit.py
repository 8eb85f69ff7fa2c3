"""How some frames fit: against what photon noise leaves of a perfect fit, and where they want to stand."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.photon_noise import amplitude_variance
from exitwave.problems.ptychography import CHUNK, PtychographyProblem
from exitwave.problems.refinement.modelled_frames import ModelledFrames
from exitwave.problems.refinement.positions import DAMPING, Positions

MOST_FRAMES = 128
"""Frames that are looked at, evenly chosen."""
OUTLYING, BEYOND_NOISE = 4.0, 2.0
"""Frames whose residual is so many times the median, and so many times what photon noise makes it: dim frames are noisier."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """How some frames fit the finished estimate."""

    frames: Int[Tensor, " frame"]
    misfit: Float[Tensor, " frame"]
    """Sum of (M - A)^2 over trusted pixels."""
    noise: Float[Tensor, " frame"]
    """The same of a perfect model, as photon counting leaves it."""
    alike: Float[Tensor, " frame"]
    """The same when every frame is said to look like the mean of all."""
    power: Float[Tensor, " frame"]
    """Photons."""
    steps_px: Float[Tensor, "frame 2"]
    """Where the frames want to move: one Gauss-Newton step, object as it is, (y, x)."""
    mended: float
    """Share of the misfit that those steps would take away."""
    chance_px: Float[Tensor, " frame"]
    """How far photon noise alone makes each want to move."""
    measured_mean: Float[Tensor, "y x"]
    """Mean of the measured amplitudes over these frames, in detector order."""
    modelled_mean: Float[Tensor, "y x"]
    """Mean of the model's."""


@torch.no_grad()
def fit_of(problem: PtychographyProblem, x: PtychoEstimate) -> Fit:
    """Look at some frames; four propagations each."""
    count = min(len(problem), MOST_FRAMES)
    chosen = torch.linspace(0, len(problem) - 1, count).round().to(torch.int64).unique()
    gaps, background = problem.model.gap_transfers(x), problem.model.background(x)
    mean = problem.model.to_detector_order(problem.statistics.mean_pattern).to(problem.device).clamp(min=0).sqrt()
    # Roots of few counts would want narrower patterns, and so a wider scan.
    unbiased = problem.unbiased()
    brighter = unbiased.model.background(x)
    positions = Positions()
    pulls = positions.empty(problem, x)
    parts: list[Tensor] = []
    means = torch.zeros(2, *problem.trusted.shape, dtype=torch.float64, device=problem.device)
    for frames in chosen.split(CHUNK):
        view = ModelledFrames(problem=problem, x=x, frames=frames, gaps=gaps, background=background)
        positions.add_(pulls, replace(view, problem=unbiased, background=brighter))
        measured = problem.amplitudes(frames)
        means += torch.stack([measured.sum(dim=0), view.modulus.sum(dim=0)]) / len(chosen)
        looked = (
            view.deviation.square(),
            amplitude_variance(view.photons + background) * problem.trusted,
            (measured - mean).square() * problem.trusted,
            measured.square() * problem.trusted,
        )
        parts.append(torch.stack([each.sum(dim=(1, 2), dtype=torch.float64) for each in looked]).cpu())
    misfit, noise, alike, power = torch.cat(parts, dim=1)
    return Fit(
        frames=chosen,
        misfit=misfit,
        noise=noise,
        alike=alike,
        power=power,
        steps_px=_steps(*(sums[chosen] for sums in pulls)),
        mended=_mended(*(sums[chosen] for sums in pulls)) / max(float(misfit.sum()), 1e-30),
        chance_px=_chance(pulls[1][chosen]),
        measured_mean=means[0].float(),
        modelled_mean=means[1].float(),
    )


def _steps(pulls: Float[Tensor, "frame 2"], curvatures: Float[Tensor, "frame 2 2"]) -> Float[Tensor, "frame 2"]:
    steps = torch.linalg.solve(_damped(curvatures), pulls)
    return steps - steps.mean(dim=0)


def _mended(pulls: Float[Tensor, "frame 2"], curvatures: Float[Tensor, "frame 2 2"]) -> float:
    """By how much the linearised misfit falls with the steps; what mere noise would gain, two quarters a frame, taken off."""
    gains = (pulls * torch.linalg.solve(_damped(curvatures), pulls)).sum(dim=1)
    return float((gains - 0.5).sum())


def _chance(curvatures: Float[Tensor, "frame 2 2"]) -> Float[Tensor, " frame"]:
    """Each amplitude scatters with variance 1/4."""
    return (torch.linalg.inv(_damped(curvatures)).diagonal(dim1=1, dim2=2).sum(dim=1) / 4).sqrt()


def _damped(curvatures: Float[Tensor, "frame 2 2"]) -> Float[Tensor, "frame 2 2"]:
    typical = DAMPING * curvatures.diagonal(dim1=1, dim2=2).mean() + 1e-30
    return curvatures + typical * torch.eye(2, dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What the frames' wishes to move have in common: how the positions are scaled, turned or sheared.

    Each frame counts by how well it tells where it stands.
    """

    rms_px: float
    """Root mean square of the wishes."""
    chance_px: float
    """The same as photon noise makes it."""
    shared: float
    """Share of their power that one affine map of the positions explains beyond chance: 0 to 1."""
    scale: float
    """Positions want to be so many times larger."""
    rotation_rad: float
    slow: float
    """Correlation of the wishes of frames that follow each other, the affine part taken off: a drift."""


def stage_of(fit: Fit, positions_px: Float[Tensor, "frame 2"]) -> Stage:
    """An affine map fitted to the frames' wishes to move."""
    weights = 1 / fit.chance_px.square().clamp(min=1e-12)
    weights = (weights / weights.mean())[:, None]
    places = positions_px.detach().cpu().double()[fit.frames]
    places = places - (weights * places).mean(dim=0)
    steps = fit.steps_px - (weights * fit.steps_px).mean(dim=0)
    rms = math.sqrt(float((weights * steps.square()).sum(dim=1).mean()))
    chance = math.sqrt(1 / float((1 / fit.chance_px.square().clamp(min=1e-12)).mean()))
    if len(places) < 8 or not bool((places.std(dim=0) > 0).all()):
        return Stage(rms_px=rms, chance_px=chance, shared=0.0, scale=1.0, rotation_rad=0.0, slow=0.0)
    root = weights.sqrt()
    found = torch.linalg.lstsq(root * places, root * steps).solution
    explained, rest = root * (places @ found), root * (steps - places @ found)
    # Each of two columns of the map explains its part of pure chance, too.
    by_chance = 2 / (len(places) - 1)
    shared = (float(explained.square().sum()) / max(len(places) * rms**2, 1e-30) - by_chance) / (1 - by_chance)
    return Stage(
        rms_px=rms,
        chance_px=chance,
        shared=max(shared, 0.0),
        scale=1 + float(found[0, 0] + found[1, 1]) / 2,
        rotation_rad=float(found[0, 1] - found[1, 0]) / 2,
        slow=float((rest[1:] * rest[:-1]).sum() / rest.square().sum().clamp(min=1e-30)),
    )


def outlying(residuals: Float[Tensor, " frame"], by_noise: Float[Tensor, " frame"]) -> float:
    """Share of the frames that fit several times worse than most, and than photon noise makes them."""
    worse = (residuals > OUTLYING * residuals.median()) & (residuals > BEYOND_NOISE * by_noise)
    return float(worse.double().mean())
