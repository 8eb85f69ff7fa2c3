"""Shrink-wrap whose threshold suits the object: that with which the held-out pixels are predicted best.

A residual falls with every pixel that a support gains. Pixels that the solver never saw tell a support that is too large,
for it lets the object fit noise, from one that is too small, which cuts the object. Free pixels: Brünger, Nature 355, 472
(1992); for patterns of isolated objects Favre-Nicolin, Leake & Chushkin, Sci. Rep. 10, 2664 (2020).
"""

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.physics.partial_coherence import CoherenceBlur
from exitwave.physics.support import soft
from exitwave.problems.cdi import SupportProblem

THRESHOLDS = (0.08, 0.13, 0.18, 0.23, 0.28, 0.34, 0.4, 0.47, 0.55, 0.63)
"""Shares of the brightest pixels' blurred amplitude, which are tried at every update."""
BRIGHTEST = 0.005
"""Share of the support whose faintest pixel stands for the maximum: one wild pixel would lift every threshold."""
MOST_LOST = 0.3
"""Share of the support that one update may take away: a start is rough, and what is cut off does not come back soon."""


def best_support(
    problem: SupportProblem,
    obj: Complex[Tensor, "*axes"],
    support: Bool[Tensor, "*axes"],
    sigma_px: float,
    blur: CoherenceBlur | None = None,
) -> Bool[Tensor, "*axes"]:
    """The support of what was found so far, inside the problem's first one.

    Raises InputError where no pixels are held out.
    """
    if not problem.has_held_out:
        raise InputError(
            "an adaptive threshold is chosen by pixels held out, and there are none: state a free fraction (--free-fraction "
            "0.05), or a threshold without adaptive_threshold"
        )
    blurred = torch.where(problem.first_support, soft(obj.abs(), sigma_px), -1.0)
    inside = blurred[support]
    if not len(inside):
        return problem.first_support
    top = float(inside.topk(max(1, round(BRIGHTEST * len(inside)))).values[-1])
    tried = [blurred > share * top for share in THRESHOLDS]
    held = problem.held_out.flatten().nonzero().squeeze(1)
    measured = problem.amplitudes.flatten()[held]
    best = min(
        tried, key=lambda region: _missed(problem.seen(torch.where(region, obj, 0.0), blur).flatten()[held], measured)
    )
    least = round((1 - MOST_LOST) * int(support.sum()))
    return best if int(best.sum()) >= least else blurred >= blurred.flatten().topk(least).values[-1]


def _missed(expected: Float[Tensor, " pixel"], measured: Float[Tensor, " pixel"]) -> float:
    """How far amplitudes are off at the held-out pixels, after the scale that fits them best."""
    scale = (expected @ measured) / (expected @ expected).clamp(min=1e-30)
    return float((scale * expected - measured).square().sum())
