"""Reconstruct two disjoint halves of the frames, to see how far their images agree: resolution without truth."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Complex
from torch import Tensor

from exitwave.data import prepare
from exitwave.data.errors import DoubtfulImageWarning, InputError
from exitwave.data.result import Result
from exitwave.data.scan import Scan
from exitwave.problems.initial_guess import first_guess
from exitwave.problems.ptychography import Problem
from exitwave.running.pose import pose
from exitwave.running.reconstruct import reconstruct
from exitwave.solvers.base import Solver, Step


def halves(scan: Scan, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two disjoint random halves of the frames, each in scan order."""
    order = torch.randperm(len(scan), generator=torch.Generator().manual_seed(seed))
    middle = len(scan) // 2
    return order[:middle].sort().values, order[middle:].sort().values


def reconstruct_halves(
    scan: Scan,
    solver: Solver[Any],
    result: Result,
    *,
    probe: Complex[Tensor, "mode y x"] | None = None,
    seed: int = 0,
    device: str = "auto",
    memory: str | int | None = None,
    watch: Callable[[Step[Any], Problem], None] | None = None,
) -> tuple[Result, Result]:
    """Reconstruct two disjoint halves of the frames independently, on one canvas, from data alone.

    Both start from an empty object and a probe guessed from their own frames, or the `probe` that was known beforehand,
    which methods with a fixed probe need. They share the canvas with `result`, and its positions: where these were
    refined, it was on all frames, so that the halves agree a little better than by themselves.
    """
    if len(scan) < 4:
        found = "one pattern has" if len(scan) == 1 else f"{len(scan)} frames have"
        raise InputError(f"{found} no halves to compare; a scan of many frames is needed")
    made: list[Result] = []
    for index in halves(scan, seed):
        part = prepare.select(scan, index)
        problem = pose(part, seed=seed, device=device, memory=memory)
        guess = first_guess(problem, modes=len(result.estimate.probe), probe=probe)
        blank = torch.ones_like(result.estimate.object)
        start = replace(
            guess,
            object=blank,
            positions_px=result.estimate.positions_px[index],
            slice_spacing_m=result.estimate.slice_spacing_m,
        )
        travel, points = result.provenance.get("exposure_m"), result.provenance.get("exposure_points")
        with warnings.catch_warnings():
            # What is doubtful of all frames was said of them.
            warnings.simplefilter("ignore", DoubtfulImageWarning)
            half = reconstruct(
                part,
                solver,
                start=start,
                exposure_m=None if travel is None else (float(travel[0]), float(travel[1])),
                exposure_points=int(points or 5),
                seed=seed,
                device=device,
                memory=memory,
                watch=watch,
            )
        made.append(half)
    return made[0], made[1]
