"""Reconstruct two disjoint halves of the frames, to see how far their images agree: resolution without truth."""

import warnings
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from exitwave.data import prepare
from exitwave.data.errors import DoubtfulImageWarning, InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.result import Result
from exitwave.data.scan import Scan
from exitwave.io.given import GivenMeasurement, GivenProbe, GivenResult, given_measurement, given_probe, given_result
from exitwave.problems.outliers import Outliers
from exitwave.problems.setup import Setup
from exitwave.running.examined import examined
from exitwave.running.pose import pose
from exitwave.running.reconstruct import Watch, reconstruct
from exitwave.running.right_call import showing_the_right_call
from exitwave.solvers.spec import AnySolver, given_solver


def halves(scan: Scan, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two disjoint random halves of the frames, each in scan order."""
    order = torch.randperm(len(scan), generator=torch.Generator().manual_seed(seed))
    middle = len(scan) // 2
    return order[:middle].sort().values, order[middle:].sort().values


@showing_the_right_call
def reconstruct_halves(
    measurement: GivenMeasurement,
    solver: AnySolver,
    result: GivenResult,
    *,
    probe: GivenProbe | None = None,
    setup: Setup | None = None,
    watch: Watch | None = None,
    progress: bool = True,
) -> tuple[Result, Result]:
    """Reconstruct two disjoint halves of a scan's frames independently, on one canvas, from data alone.

    Both start from an empty object and a probe guessed from their own frames, or the `probe` that was known beforehand,
    which methods with a fixed probe need. They share the canvas with `result`, and its positions: where these were
    refined, it was on all frames, so that the halves agree a little better than by themselves. Files, names, `setup` (that of
    the result), `watch` and `progress` are as of `reconstruct`. Raises InputError for measurements that cannot be halved.
    """
    scan = given_measurement(measurement)
    if not isinstance(scan, Scan):
        raise InputError(f"{scan.title} has no halves to compare; a scan of many frames is needed")
    solver, result, probe = given_solver(solver), given_result(result), given_probe(probe)
    if len(scan) < 4:
        raise InputError(f"{len(scan)} frames have no halves to compare; a scan of many frames is needed")
    whole = result.estimate
    if not isinstance(whole, PtychoEstimate):
        raise InputError(f"the result is an estimate of {whole.kind}; give that of this scan")
    # The halves are of what the result was made from.
    scan = Outliers.stored(result.provenance).without(cast(Scan, examined(scan, setup or Setup())))
    # No pixel is held out from halves, which are compared with each other.
    alike = replace(setup or Setup(), free_fraction=0.0)
    made: list[Result] = []
    for index in halves(scan, alike.seed):
        part = prepare.select(scan, index)
        # Of the half of a scan one frame more may stand alone; both halves are to have all that the whole had.
        problem = pose(part, replace(alike, robust=False), solver=solver)
        thin = replace(alike, modes=len(whole.probe), slices=1, slice_spacing_m=None)
        start = replace(
            problem.initial(None, thin, probe=probe),
            object=torch.ones_like(whole.object),
            positions_px=whole.positions_px[index],
            slice_spacing_m=whole.slice_spacing_m,
        )
        with warnings.catch_warnings():
            # What is doubtful of all frames was said of them.
            warnings.simplefilter("ignore", DoubtfulImageWarning)
            made.append(_whole(reconstruct(problem, solver, start=start, setup=thin, watch=watch, progress=progress)))
    return made[0], made[1]


def _whole(half: Result) -> Result:
    """A half that was reconstructed to its end; one that Ctrl-C ended would be compared as if it were all there is."""
    if str(half.provenance["ending"]).startswith("interrupted"):
        interruption = KeyboardInterrupt()
        interruption.add_note("reconstructing half of the frames")
        raise interruption
    return half
