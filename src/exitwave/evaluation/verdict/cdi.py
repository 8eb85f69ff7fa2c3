"""The verdict on the image of one pattern (CDI): whether several starts found the same object, and held-out pixels."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from exitwave.data.estimate import SupportEstimate
from exitwave.data.geometry import Particle, noise_of
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
WORSE = 3.0
"""Times the best start's residual from which on another one went wrong by itself, and says nothing against the best."""
FAR = 20.0
"""Times what photon noise leaves, from which on noise cannot be why starts differ."""
FREE_GOOD, FREE_BAD = 0.01, 0.05
"""Free residual, what noise leaves taken off, up to which an image predicts a bright pattern, and from which on it does not."""
FREE_GOOD_NOISY, FREE_BAD_NOISY = 1.0, 4.0
"""The same of a noisy one, in roots of what noise leaves: the root is half the way, in powers of ten, from that to nothing."""
ALL_NOISE = 0.5
"""Where noise alone leaves so much of the pixels held out, they cannot tell an image from none."""
OFF_CENTRE = 0.15
"""Distance of the model's brightest part from the centre of its frame, as a share of the frame, that no object explains."""
LARGEST_SUPPORT = 0.3
"""Share of the frame that a support may fill: more than a quarter and the pattern hardly settles the object."""
KEPT, RESIDUALS = re.compile(r"(?:^|[.:])found\.(\d+)\.object$"), re.compile(r"(?:^|[.:])found\.residuals$")
FIRST = re.compile(r"(?:^|[.:])found\.first$")
"""What a run from several starts holds of them, best first: see `BestOf`."""


@verdict_of.register
def _(problem: SupportProblem, result: Result, state: Mapping[str, Tensor]) -> Verdict:
    x = result.estimate.to(problem.device)
    assert isinstance(x, SupportEstimate)
    figures = evidence(problem, result, x, state)
    return verdict(said(figures, result.geometry.particle), figures)


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
        "beam-off": _off_centre(modelled.sqrt()),
    }
    if result.free_residual is not None:
        _, hidden = problem.misfits(x, held_out=True)
        figures["free-residual"] = result.free_residual
        figures["free-noise"] = float((noise * problem.held_out).sum()) / max(float(hidden.sum()), 1e-30)
        figures["free-ratio"] = result.free_residual / max(result.residual, 1e-30)
    found = other_starts(state)
    if found:
        # Starts that went wrong by themselves are asked only where there are no others.
        fair = [start for start in found if start.worse <= WORSE] or found
        figures["starts-compared"] = len(fair) + 1
        figures["starts-correlation"] = min(start.correlation for start in fair)
        figures["starts-worse"] = min(start.worse for start in fair)
    if (weight := first_mode(state)) is not None:
        figures["first-mode"] = weight
    return figures


def _off_centre(modelled: Float[Tensor, "*axes"]) -> float:
    """Distance of the brightest part of the modelled amplitudes from zero frequency, as a share of the frame.

    Of the measured ones a beam stop hides it.
    """
    blurred = ndimage.gaussian_filter(modelled.cpu().numpy(), 2.0, mode="wrap")
    place = np.unravel_index(int(blurred.argmax()), blurred.shape)
    return max(min(int(at), n - int(at)) / n for at, n in zip(place, blurred.shape, strict=True))


@dataclass(frozen=True)
class OtherStart:
    """What another start has found, beside the best one."""

    correlation: float
    """With the best, after shift, twin and phase."""
    worse: float
    """Its residual over the best's."""


def other_starts(state: Mapping[str, Tensor]) -> list[OtherStart]:
    """The other reconstructions that a run kept, beside its best."""
    kept = {int(match[1]): state[key].squeeze() for key in state if (match := KEPT.search(key))}
    residuals = next((values.tolist() for key, values in state.items() if RESIDUALS.search(key)), [])
    # Of starts that were drawn to the best of them, what they found before.
    if first := next((values.tolist() for key, values in state.items() if FIRST.search(key)), []):
        return [OtherStart(correlation, worse) for correlation, worse in first]
    if not kept or len(residuals) != len(kept):
        return []
    best, least = kept[0], max(residuals[0], 1e-30)
    return [OtherStart(register_twin(kept[n], best).correlation, residuals[n] / least) for n in sorted(kept) if n > 0]


def first_mode(state: Mapping[str, Tensor]) -> float | None:
    """Share of the first mode among those that the kept reconstructions are made of: 1 where all are the same.

    Eigenvalues of their overlaps after alignment: Favre-Nicolin, Leake & Chushkin, Sci. Rep. 10, 2664 (2020).
    """
    kept = {int(match[1]): state[key].squeeze() for key in state if (match := KEPT.search(key))}
    if len(kept) < 2:
        return None
    laid = [kept[n] if n == 0 else register_twin(kept[n], kept[0]).image for n in sorted(kept)]
    stack = torch.stack([(each / each.norm().clamp(min=1e-30)).flatten() for each in laid])
    powers = torch.linalg.eigvalsh(stack @ stack.mH)
    return float(powers[-1] / powers.sum().clamp(min=1e-30))


def said(
    e: Mapping[str, float], particle: Particle = "photon", *, same_but_for_noise: float = SAME_BUT_FOR_NOISE
) -> Iterator[Says]:
    """What the figures say, one thing each, of photons or electrons; from which correlation on noise is why starts differ, is a
    matter of its kind."""
    yield from _of_starts(e, same_but_for_noise)
    yield from _of_held_out(e, particle)
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


def _of_starts(e: Mapping[str, float], same_but_for_noise: float) -> Iterator[Says]:
    agreement, same = e.get("starts-correlation"), same_but_for_noise if e["noise-ratio"] < NOISY else SAME
    more = "more starts and more epochs of hio (--starts 10 --hio 400)"
    if agreement is None:
        yield Says(
            grade="doubtful",
            reason="there is one start, and nothing to compare it with: a start that went wrong looks like any other",
            advice=("several starts (cdi, or best_of)",),
        )
    elif agreement >= same:
        yield Says(grade="sound", reason=f"the best starts found the same object (correlation {agreement:.3f})")
    elif e["starts-worse"] > WORSE and not _far_above_noise(e):
        yield Says(
            grade="doubtful",
            reason=f"the best start stands alone: the next one has {e['starts-worse']:.2g} times its residual, and found "
            f"another object (correlation {agreement:.2f} after shift, twin and phase)",
            advice=(more,),
        )
    elif agreement < OTHER or _far_above_noise(e):
        yield Says(
            grade="failed",
            reason=f"the best starts found different objects (correlation {agreement:.2f} after shift, twin and phase)"
            + ("; noise is not the reason" if agreement >= OTHER else ""),
            advice=(
                more,
                "a known support, or another threshold of it",
                "check the pattern: beam centre, background, beam stop, saturated pixels, coherence (--coherence-px)",
            ),
        )
    else:
        yield Says(
            grade="doubtful",
            reason=f"the best starts agree only partly (correlation {agreement:.2f} after shift, twin and phase)",
            advice=(more,),
        )


def _far_above_noise(e: Mapping[str, float]) -> bool:
    """Whether the pattern is explained much worse than photons would have it: by held-out pixels, where there are some."""
    above = e["free-residual"] / max(e["free-noise"], 1e-30) if "free-residual" in e else e["noise-ratio"]
    return above > FAR


def _of_held_out(e: Mapping[str, float], particle: Particle) -> Iterator[Says]:
    free, noise = e.get("free-residual"), e.get("free-noise", 0.0)
    if free is None:
        yield Says(
            grade="sound",
            reason="no pixels were held out, so that nothing tells whether the support is too large",
            advice=("--free-fraction 0.05",),
        )
    elif noise > ALL_NOISE:
        yield Says(
            grade="doubtful",
            reason=f"pixels that the solver never saw cannot tell: {noise_of(particle)} leaves {noise:.2g} of them unexplained",
            advice=(f"more {particle}s, or a support that is known",),
        )
    elif free - noise <= max(FREE_GOOD, FREE_GOOD_NOISY * noise**0.5):
        yield Says(grade="sound", reason=f"pixels that the solver never saw are predicted (off by {free:.2g})")
    else:
        failed = free - noise > max(FREE_BAD, FREE_BAD_NOISY * noise**0.5)
        yield Says(
            grade="failed" if failed else "doubtful",
            reason=f"pixels that the solver never saw are off by {free:.2g}, where {noise_of(particle)} leaves {noise:.2g}"
            + (": the image does not predict the pattern" if failed else ""),
            advice=(
                "a tighter support (raise the threshold), more starts, or fewer unmeasured pixels",
                "what is not told of the pattern: partial coherence (--coherence-px), background, saturated pixels",
            ),
        )
