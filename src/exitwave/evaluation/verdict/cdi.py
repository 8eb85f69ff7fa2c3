"""The verdict on the image of one pattern (CDI): whether several starts found the same object, and held-out pixels."""

import re
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from exitwave.data.estimate import SupportEstimate
from exitwave.data.result import Result
from exitwave.data.verdict import Verdict
from exitwave.evaluation.cdi_alignment import register_twin
from exitwave.evaluation.verdict.kinds import verdict_of
from exitwave.evaluation.verdict.rule import Says, verdict
from exitwave.physics.photon_noise import amplitude_variance
from exitwave.problems.cdi import SupportProblem

SAME, OTHER = 0.95, 0.8
"""Correlation of two starts after alignment: from the first on they found the same, below the second something else."""
NOISY, SAME_BUT_FOR_NOISE = 5.0, 0.85
"""Where the misfit is less than so many times what photon noise leaves, starts may differ by their noise."""
FREE_GOOD, FREE_BAD = 0.1, 0.25
"""Free residual, photon noise taken off: up to the first a good image, above the second none."""
FAR_ABOVE, BEYOND_NOISE = 3.0, 1.5
"""Times that the free residual must be above the residual, and what is beyond the noise above the noise, to tell anything."""
OFF_CENTRE = 0.15
"""Distance of a pattern's brightest part from the centre of its frame, as a share of the frame, that no object explains."""
LARGEST_SUPPORT = 0.3
"""Share of the frame that a support may fill: more than a quarter and the pattern hardly settles the object."""


@verdict_of.register
def _(problem: SupportProblem, result: Result, state: Mapping[str, Tensor]) -> Verdict:
    x = result.estimate.to(problem.device)
    assert isinstance(x, SupportEstimate)
    figures = evidence(problem, result, x, state)
    return verdict(said(figures), figures)


def evidence(
    problem: SupportProblem, result: Result, x: SupportEstimate, state: Mapping[str, Tensor]
) -> dict[str, float]:
    """The figures on which the verdict rests, by id; what could not be tested is not there."""
    modelled = torch.fft.fftn(x.object * x.beam_photons.to(x.object.real).sqrt(), norm="ortho").abs().square()
    noise = amplitude_variance(modelled)
    misfit, _ = problem.misfits(x)
    figures = {
        "noise-ratio": float(misfit.sum()) / max(float((noise * problem.trusted).sum()), 1e-30),
        "support-share": float(x.support.double().mean()),
        "beam-off": _off_centre(problem),
    }
    if result.free_residual is not None:
        _, hidden = problem.misfits(x, held_out=True)
        floor = float((noise * problem.held_out).sum()) / max(float(hidden.sum()), 1e-30)
        figures["free-residual"] = result.free_residual
        figures["free-noise"] = floor
        figures["free-beyond-noise"] = max(result.free_residual - floor, 0.0)
        figures["free-ratio"] = result.free_residual / max(result.residual, 1e-30)
    found = agreements(state)
    if found:
        figures |= {"starts-compared": len(found) + 1, "starts-correlation": min(found)}
    return figures


def _off_centre(problem: SupportProblem) -> float:
    """Distance of the brightest part of the pattern from zero frequency, as a share of the frame."""
    blurred = ndimage.gaussian_filter((problem.amplitudes * problem.trusted).cpu().numpy(), 2.0, mode="wrap")
    place = np.unravel_index(int(blurred.argmax()), blurred.shape)
    return max(min(int(at), n - int(at)) / n for at, n in zip(place, blurred.shape, strict=True))


def agreements(state: Mapping[str, Tensor]) -> list[float]:
    """Correlation of the other reconstructions that a run kept with its best, after shift, twin and phase."""
    pattern = re.compile(r"(?:^|[.:])found\.(\d+)\.object$")
    numbered = sorted((int(match[1]), state[key]) for key in state if (match := pattern.search(key)))
    kept = [image.squeeze() for _, image in numbered]
    return [register_twin(other, kept[0]).correlation for other in kept[1:]]


def said(e: Mapping[str, float]) -> Iterator[Says]:
    """What the figures say, one thing each."""
    yield from _of_starts(e)
    yield from _of_held_out(e)
    if e["beam-off"] > OFF_CENTRE:
        yield Says(
            grade="doubtful",
            reason=f"the brightest part of the pattern lies {e['beam-off']:.0%} of the frame off its centre: the image carries a "
            "phase ramp",
            advice=("--prepare recentre; where the beam is in the corner of the frame, --prepare unshift",),
        )
    if e["support-share"] > LARGEST_SUPPORT:
        yield Says(
            grade="doubtful",
            reason=f"the support fills {e['support-share']:.0%} of the frame: it hardly tells the object from empty space",
            advice=("raise the threshold of the support, or give a support that is known",),
        )


def _of_starts(e: Mapping[str, float]) -> Iterator[Says]:
    agreement, same = e.get("starts-correlation"), SAME_BUT_FOR_NOISE if e["noise-ratio"] < NOISY else SAME
    if agreement is None:
        yield Says(
            grade="doubtful",
            reason="there is one start, and nothing to compare it with: a start that went wrong looks like any other",
            advice=("several starts (cdi, or best_of)",),
        )
    elif agreement < OTHER:
        yield Says(
            grade="failed",
            reason=f"the best starts found different objects (correlation {agreement:.2f} after shift, twin and phase)",
            advice=(
                "more starts and more epochs of hio (--starts 10 --hio 400)",
                "a known support, or another threshold of it",
                "check the pattern: beam centre, background, beam stop, saturated pixels",
            ),
        )
    elif agreement < same:
        yield Says(
            grade="doubtful",
            reason=f"the best starts agree only partly (correlation {agreement:.2f} after shift, twin and phase)",
            advice=("more starts and more epochs of hio (--starts 10 --hio 400)",),
        )
    else:
        yield Says(grade="sound", reason=f"the best starts found the same object (correlation {agreement:.3f})")


def _of_held_out(e: Mapping[str, float]) -> Iterator[Says]:
    free = e.get("free-beyond-noise")
    if free is None:
        yield Says(
            grade="sound",
            reason="no pixels were held out, so that nothing tells whether the support is too large",
            advice=("--free-fraction 0.05",),
        )
    elif free > max(FREE_GOOD, BEYOND_NOISE * e["free-noise"]) and e["free-ratio"] > FAR_ABOVE:
        failed = free > FREE_BAD
        yield Says(
            grade="failed" if failed else "doubtful",
            reason=f"pixels that the solver never saw are off by {e['free-residual']:.2g}, {e['free-ratio']:.2g} times the "
            "residual" + (": the image does not predict the pattern" if failed else ""),
            advice=("a tighter support (raise the threshold), more starts, or fewer unmeasured pixels",),
        )
    else:
        yield Says(
            grade="sound", reason=f"pixels that the solver never saw are predicted (off by {e['free-residual']:.2g})"
        )
