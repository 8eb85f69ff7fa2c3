"""The estimate a run begins with: from the data, from an earlier result or a known probe; refused where it does not suit."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Complex
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.scan import Scan
from exitwave.problems.cdi import IsolatedProblem, isolated_guess
from exitwave.problems.initial_guess import first_guess, more_modes, scale_to_photons
from exitwave.problems.ptychography import Problem
from exitwave.solvers.base import Solver


def require_suited(solver: Solver[Any], scan: Scan) -> None:
    """Refuse methods of ptychography for one pattern and those of one pattern for a scan, each by its name."""
    for part in solver.leaf_solvers():
        if part.one_pattern and len(scan) > 1:
            raise InputError(
                f"{part.name} phases one pattern of an isolated object but the scan has {len(scan)} frames; use a method "
                "of ptychography such as rpie, or take one frame with the preparation step select=0:1"
            )
        if part.one_pattern and solver.adds:
            raise InputError(
                f"{part.name} phases one pattern in an even, known beam, so that there is nothing to refine: leave out "
                f"{', '.join(sorted(solver.adds))}"
            )
        if not part.one_pattern and len(scan) == 1:
            raise InputError(
                f"1 frame is not a ptychography scan; expected several overlapping positions for {part.name}. One pattern of "
                "an isolated object can be phased with cdi, or er, hio and cdi_raar"
            )


def first_estimate(
    problem: Problem,
    start: PtychoEstimate | None = None,
    *,
    probe: Complex[Tensor, "mode y x"] | None = None,
    modes: int = 1,
) -> PtychoEstimate:
    """The estimate to begin with, on the problem's device: `start` or else an empty object, its probe or this one.

    Raises InputError where start or probe do not belong to the frames.
    """
    if probe is not None and not bool(torch.view_as_real(probe).isfinite().all() and probe.abs().any()):
        raise InputError(
            "the probe to start from is empty or holds values that are not finite; start from another file"
        )
    if isinstance(problem, IsolatedProblem):
        if modes > 1 or probe is not None:
            raise InputError("one pattern of an isolated object is phased for an even beam: leave out modes and probe")
        return isolated_guess(problem) if start is None else problem.started(start)
    if start is None:
        return first_guess(problem, modes=modes, probe=probe)
    _check_start(problem, start)
    chosen = start.probe if probe is None else scale_to_photons(probe.to(torch.complex64), problem)
    if chosen.shape[-2:] != start.probe.shape[-2:]:
        raise InputError(f"the probe is {tuple(chosen.shape[-2:])} pixels but frames are {problem.scan.frame_shape}")
    return replace(start, probe=chosen if len(chosen) >= modes else more_modes(chosen, modes)).to(problem.device)


def with_slices(x: PtychoEstimate, slices: int, spacing_m: float | Sequence[float] | None) -> PtychoEstimate:
    """The start with as many slices as asked for: what it knows of one slice stands in the first, the others are empty.

    `spacing_m` is one distance for all gaps, or one each. Raises InputError where they do not go together.
    """
    if slices == 1 and spacing_m is None:
        return x
    if x.support is not None:
        raise InputError(
            "an isolated object phased from one pattern has one slice: leave out slices and slice_spacing_m"
        )
    if slices < 2 or spacing_m is None:
        raise InputError(
            f"slices is {slices} and slice_spacing_m {spacing_m}; a thick sample needs at least 2 slices and their spacing"
        )
    spacings = (
        [float(spacing_m)] * (slices - 1) if isinstance(spacing_m, int | float) else [float(s) for s in spacing_m]
    )
    if len(spacings) != slices - 1 or not all(math.isfinite(s) and s > 0 for s in spacings):
        raise InputError(
            f"slice_spacing_m is {spacings} for {slices} slices; give one positive length, or {slices - 1}, in metres"
        )
    if len(x.object) not in (1, slices):
        raise InputError(f"the start has {len(x.object)} slices but {slices} are asked for; leave one of them out")
    empty = torch.ones_like(x.object[:1]).expand(slices - len(x.object), -1, -1)
    spaced = torch.tensor(spacings, dtype=torch.float64, device=x.object.device)
    # Together: an estimate of several slices without spacings is none.
    return replace(x, object=torch.cat([x.object, empty]), slice_spacing_m=spaced)


def _check_start(problem: Problem, start: PtychoEstimate) -> None:
    if len(start.positions_px) != len(problem):
        raise InputError(
            f"the start was made from {len(start.positions_px)} frames but the scan has {len(problem)}; start from a result "
            "of the same frames, or take only its probe (--probe)"
        )
    if tuple(start.probe.shape[-2:]) != problem.scan.frame_shape:
        raise InputError(
            f"the start's probe is {tuple(start.probe.shape[-2:])} pixels but frames are {problem.scan.frame_shape}; prepare "
            "the scan (crop, bin, pad) as it was when the start was made"
        )
    for name, values in (("object", start.object), ("probe", start.probe), ("positions", start.positions_px)):
        if not bool((torch.view_as_real(values) if values.is_complex() else values).isfinite().all()):
            raise InputError(f"the start's {name} holds values that are not finite; start from another file")
    # Windows lie on the nearest whole pixel; refined positions may stand up to half a pixel beyond the last one.
    top = start.positions_px.amax(dim=0).round() + torch.tensor(problem.scan.frame_shape)
    if bool((start.positions_px.amin(dim=0) < -0.5).any()) or bool((top > torch.tensor(start.object.shape[-2:])).any()):
        raise InputError("the start's positions lie outside its object array; it is damaged or was edited")
