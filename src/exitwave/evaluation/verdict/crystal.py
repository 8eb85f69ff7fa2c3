"""The verdict on a crystal phased from its rocking curve: what is asked of every isolated object, and of its shape."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Bool
from scipy import ndimage
from torch import Tensor

from exitwave.data.estimate import SupportEstimate
from exitwave.data.result import Result
from exitwave.data.verdict import Verdict
from exitwave.evaluation.verdict import cdi
from exitwave.evaluation.verdict.kinds import verdict_of
from exitwave.evaluation.verdict.rule import Says, verdict
from exitwave.problems.bragg import BraggProblem

PIECE = 0.05
"""Share of the crystal's intensity from which on what stands apart is a piece of its own, not a speck."""
WIDEST = 0.7
"""Share of the array that a crystal may touch along any axis: from a half on the fringes are sampled too coarsely."""
DARKEST = 0.01
"""Photons that a voxel is expected to have at least: a single count in a dark one need not be impossible."""
ALIKE = 0.93
"""Correlation of starts that differ by their noise alone: in three dimensions there is more of the crystal to agree upon."""
UNEXPLAINED, HOPELESS = 0.05, 0.2
"""Residual, what photon noise leaves taken off, from which on something else than this crystal is in the pattern."""


@verdict_of.register
def _(problem: BraggProblem, result: Result, state: Mapping[str, Tensor]) -> Verdict:
    x = result.estimate.to(problem.device)
    assert isinstance(x, SupportEstimate)
    figures = cdi.evidence(problem, result, x, state) | _shape(x)
    figures["unexplained"] = result.residual * (1 - 1 / max(figures["noise-ratio"], 1.0))
    if problem.has_held_out:
        figures["free-llk"] = free_log_likelihood(problem, x)
    return verdict([*cdi.said(figures, same_but_for_noise=ALIKE), *_of_shape(figures), *_of_residual(figures)], figures)


def free_log_likelihood(problem: BraggProblem, x: SupportEstimate) -> float:
    """Negative Poisson log-likelihood of the held-out voxels over that of a perfect model, per voxel: about 0.5 at best.

    Favre-Nicolin, Leake & Chushkin, Sci. Rep. 10, 2664 (2020), eq. 1.
    """
    wave = x.object.to(problem.device) * (x.beam_photons / problem.beam_photons).sqrt().to(
        problem.device, torch.float32
    )
    expected = problem.seen(wave, problem.blur_of(x))[problem.held_out].double().square().clamp(min=DARKEST)
    counted = problem.amplitudes[problem.held_out].double().square()
    return float((expected - counted + torch.xlogy(counted, counted / expected)).mean())


def _shape(x: SupportEstimate) -> dict[str, float]:
    """How the crystal lies in its array, which wraps at its edges."""
    support = x.support.cpu()
    touched = [float(support.any(dim=a).any(dim=b).double().mean()) for a, b in ((2, 1), (2, 0), (1, 0))]
    shares = piece_shares(support, x.object.detach().cpu())
    apart = [share for share in shares if share >= PIECE]
    return {"support-width": max(touched), "pieces": float(len(apart)), "piece-share": shares[0] if shares else 0.0}


def piece_shares(support: Bool[Tensor, "z y x"], obj: Tensor) -> list[float]:
    """Shares of the intensity in each piece of a support that hangs together, the largest first."""
    # An object that lies across the edge of its array is one piece: the emptiest plane along each axis becomes the edge.
    shifts = [-int(support.sum(dim=others).argmin()) for others in ((1, 2), (0, 2), (0, 1))]
    rolled = support.roll(shifts, (0, 1, 2)).numpy()
    light = obj.abs().square().roll(shifts, (0, 1, 2)).numpy()
    labels, count = ndimage.label(rolled, np.ones((3, 3, 3)))  # pyright: ignore[reportGeneralTypeIssues]
    sums = np.bincount(labels.ravel(), weights=light.ravel(), minlength=count + 1)[1:]
    if not len(sums):
        return []
    return sorted((sums / max(float(sums.sum()), 1e-30)).tolist(), reverse=True)


def _of_shape(e: Mapping[str, float]) -> Iterator[Says]:
    if e["pieces"] > 1:
        yield Says(
            grade="doubtful",
            reason=f"the support falls into {e['pieces']:.0f} pieces, of which the largest holds {e['piece-share']:.0%} of the "
            "intensity: two crystals in the beam, or a support that is too tight",
            advice=(
                "a lower threshold of the support (--threshold 0.1)",
                "scattering of other crystals masked, where the pattern shows it",
            ),
        )
    if e["support-width"] > WIDEST:
        yield Says(
            grade="doubtful",
            reason=f"the support reaches across {e['support-width']:.0%} of the array: it hardly tells the crystal from empty "
            "space",
            advice=(
                "a higher threshold of the support (--threshold 0.2), or background subtracted",
                "finer angles, or a detector further away, where the fringes are as narrow as voxels",
            ),
        )


def _of_residual(e: Mapping[str, float]) -> Iterator[Says]:
    if e["unexplained"] > UNEXPLAINED:
        yield Says(
            grade="failed" if e["unexplained"] > HOPELESS else "doubtful",
            reason=f"{e['unexplained']:.1%} of the pattern are not explained by a crystal in this support, nor by photon noise",
            advice=(
                "what else is in the pattern: background, other crystals, hot or saturated pixels, partial coherence "
                "(--coherence-every 20)",
                "a lower threshold of the support, or more starts",
            ),
        )
