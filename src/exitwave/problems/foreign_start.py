"""A start that another program made, or that was made of other data: in other photons, or with axes that lie otherwise."""

import math
from dataclasses import replace

import torch

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.ptychography import PtychographyProblem

LOOKED_AT = 32
"""Frames that tell how bright the start is."""
MOST_TIMES = 2.0
"""Farther from the measured photons the start counts in other units; nearer it is left as it is, to the last bit."""


@torch.no_grad()
def in_measured_photons(problem: PtychographyProblem, start: PtychoEstimate) -> PtychoEstimate:
    """The start with a probe as bright as the frames say, where it counts in other units; both on the problem's device."""
    frames = torch.linspace(0, len(problem) - 1, min(len(problem), LOOKED_AT)).round().to(torch.int64).unique()
    modelled = float((problem.model.intensity(start, frames) * problem.trusted).sum())
    measured = float((problem.counts(frames) * problem.trusted).sum())
    times = measured / modelled if modelled > 0 else math.nan
    if not math.isfinite(times) or 1 / MOST_TIMES < times < MOST_TIMES:
        return start
    return replace(start, probe=start.probe * math.sqrt(times))


def require_same_places(problem: PtychographyProblem, start: PtychoEstimate) -> None:
    """Raise InputError where the windows of the start stand mirrored or turned against those of the scan."""
    recorded, started = (x.detach().cpu().double() for x in (problem.positions_px, start.positions_px))
    recorded, started = recorded - recorded.mean(dim=0), started - started.mean(dim=0)
    spread = float(recorded.square().sum())
    # Exchanged axes or one wrong sign give 2, both signs wrong 4; a turn by 25 degrees 0.2, errors of positions next to nothing.
    if spread > 0 and float((recorded - started).square().sum()) > spread:
        raise InputError(
            "the start's frames lie mirrored or turned against those of the scan, or are those of another scan; read the scan "
            "as the start was made (--swap-axes, --position-sign, --orientation), or take only its probe (--probe)"
        )
