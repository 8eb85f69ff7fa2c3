"""Reconstruct several scans of one beam together: one probe, an object each, and a result each."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jaxtyping import Complex
from torch import Tensor

from exitwave.data.checks import check_layout
from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.joined_scans import join
from exitwave.data.measurement import Measurement
from exitwave.data.result import Result
from exitwave.data.scan import Scan
from exitwave.problems.base import relative
from exitwave.problems.frame_fits import best_median_worst, fits_of_frames
from exitwave.problems.setup import Setup
from exitwave.problems.shared_probe import SharedProbeProblem
from exitwave.running.checkpoints import Checkpoints
from exitwave.running.examined import examined
from exitwave.running.pose import pose
from exitwave.running.reconstruct import Watch, default_solver, reconstruct, scan_provenance
from exitwave.running.stopping import Stop
from exitwave.solvers.base import Solver
from exitwave.solvers.neural.network_solver import NetworkSolver
from exitwave.solvers.requirements import require_solved

OF_BRIGHT_OBJECTS = ("phase_only", "max_amplitude", "l1")
"""Options that say how bright the object is, which carries the beam where the beams of scans differ."""


def reconstruct_together(
    scans: Sequence[Measurement],
    solver: Solver[Any] | None = None,
    *,
    probe: Complex[Tensor, "mode y x"] | None = None,
    setup: Setup | None = None,
    stop: Stop | None = None,
    checkpoints: Checkpoints | None = None,
    watch: Watch | None = None,
    progress: bool = True,
) -> tuple[Result, ...]:
    """Turn scans into images that share their probe, one result a scan; arguments as those of `reconstruct`.

    Where `variations` of the probe are refined, each scan has one probe of its own, near to that of the others. Raises
    InputError, by name, for scans that cannot share a probe.
    """
    solver, setup = solver or default_solver(), setup or Setup()
    for option in ("drop_frames", "keep_frames"):
        if getattr(setup, option) is not None:
            raise InputError(f"{option} does not say of which scan; leave frames of one out with --prepare select=...")
    for scan in scans:
        require_solved(solver, scan)
    names = join(scans, same_object=setup.same_object).names
    scans = [_examined(scan, name, setup) for scan, name in zip(scans, names, strict=True)]
    joined = join(scans, same_object=setup.same_object)
    problem = pose(joined, setup, solver=solver)
    assert isinstance(problem, SharedProbeProblem)
    _require_able(solver, problem)
    whole = reconstruct(
        problem,
        solver,
        probe=probe,
        setup=setup,
        stop=stop,
        checkpoints=checkpoints,
        watch=watch,
        progress=progress,
    )
    return split(problem, whole)


def split(problem: SharedProbeProblem, whole: Result) -> tuple[Result, ...]:
    """The result of several scans as one result each."""
    x = whole.estimate
    assert isinstance(x, PtychoEstimate)
    x, spread = x.to(problem.device), whole.spread
    fit = problem.misfits(x)
    free = problem.misfits(x, held_out=True) if problem.has_held_out else None
    made: list[Result] = []
    for number in range(len(problem.joined.sources)):
        mine = problem.joined.owner == number
        residual, frame_residual = relative(fit[0][mine], fit[1][mine])
        shown = best_median_worst(frame_residual)
        fits = fits_of_frames(problem, x, mine.nonzero().flatten()[list(shown)].tolist())
        recorded = whole.recorded_positions_px
        made.append(
            replace(
                whole,
                estimate=problem.of_scan(x, number).to("cpu"),
                spread=problem.spread_of_scan(spread, x, number),
                residual=residual,
                free_residual=None if free is None else relative(free[0][mine], free[1][mine])[0],
                frame_residual=frame_residual,
                frame_fits=replace(fits, frames=shown),
                recorded_positions_px=None if recorded is None else problem.region(x, number).placed(recorded),
                provenance=_provenance(problem, whole, number) | {"counts_per_frame": float(fit[1][mine].mean())},
            )
        )
    return tuple(made)


def _provenance(problem: SharedProbeProblem, whole: Result, number: int) -> dict[str, Any]:
    """That of the whole run, with what is of this scan alone."""
    joined = problem.joined
    told = {key: value for key, value in whole.provenance.items() if key not in ("outliers", "beams")}
    left_out = problem.left_out_of(number)
    shared = {
        "scans": list(joined.names),
        "number": number,
        "beam": float(problem.beams[number].square()),
        "same_object": joined.same_object,
    }
    outliers = {"outliers": left_out.described()} if left_out else {}
    return {**told, **scan_provenance(joined.sources[number]), "shared_probe": shared, **outliers}


def _examined(scan: Measurement, name: str, setup: Setup) -> Measurement:
    assert isinstance(scan, Scan)
    try:
        healthy = examined(scan, setup)
        assert isinstance(healthy, Scan)
        check_layout(healthy)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    return healthy


def _require_able(solver: Solver[Any], problem: SharedProbeProblem) -> None:
    """Refuse what takes the object for as bright as the sample is, where it carries how bright the beam was."""
    if bool((problem.beams == 1).all()) or problem.joined.same_object:
        return
    powers = ", ".join(
        f"{name} {power:.3g}" for name, power in zip(problem.joined.names, problem.beams.square().tolist(), strict=True)
    )
    for part in solver.parts():
        wished = [option for option in OF_BRIGHT_OBJECTS if getattr(part, option, None)]
        if wished or isinstance(part, NetworkSolver):
            what = wished[0] if wished else part.name
            raise InputError(
                f"{what} takes the object for as bright as its sample is, but the beams of the scans differ (photons a frame "
                f"over their mean: {powers}); leave it out, or reconstruct the scans one by one"
            )
