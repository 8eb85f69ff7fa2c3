"""A digital twin: real gold balls, real partially coherent probe, real positions, our photons, recorded positions wrong.

Object, two probe modes and 1595 positions as retrieved from measured data (CXIDB 65, by cdtools); 1e5 photons a frame;
recorded positions off by 2 pixels root mean square in y and in x. Every method with one or two probe modes, with and
without position refinement, `settle` 5. Error: complex NRMSE on the well-lit centre. Position error: root mean square and
median of the distance along an axis after the mean shift, pixels; frames on empty ground and smooth distortions of the
whole scan, which hardly change a pattern, are what remains.
"""

from typing import Annotated, Any

import exitwave as ew
from exitwave.problems.setup import Setup
from exitwave.running.pose import pose
from harness import problems, scoring, subprocess_run
from harness.command_line import Epochs, Solvers
from harness.solvers import make, registered
from harness.tables import Row, shown

EPOCHS = 40
REACH_PX = 6.0
"""Three standard deviations of the error: what a user would state who knows its size."""
SETTLE = 5
"""Epochs in which the object's blur falls to a third: so that the search is over well before the end."""
THREADS = 1
KEY = ("solver", "modes", "positions", "frames")
"""What makes a row another one."""
FILE = "iterative_twin"


def run(
    *,
    solvers: Solvers = (),
    epochs: Epochs = EPOCHS,
    every: Annotated[int, "take every so many-th of the 1595 frames"] = 4,
    seeds: Annotated[tuple[int, ...], "drawing of noise; the first counts"] = (0,),
) -> list[Row]:
    """One row for each method, number of modes, and refinement or none."""
    if not problems.GOLD_BALLS.exists():
        print(f"skipped: {problems.GOLD_BALLS.name} is not here")
        return []
    rows: list[Row] = []
    for name in solvers or registered():
        case = {"name": name, "epochs": epochs, "every": every, "seed": seeds[0]}
        found = subprocess_run.call("studies.twin:variants", case, THREADS) if make(name) is not None else None
        rows += found or []
    return rows


def variants(name: str, epochs: int, every: int, seed: int) -> list[Row]:
    """One method in all four ways, in this process."""
    trial = problems.twin(every, seed=seed)
    plain = make(name, epochs=epochs)
    assert plain is not None
    rows = []
    for positions, modes in ((False, 1), (False, 2), (True, 1), (True, 2)):
        row = {"solver": name, "modes": modes, "positions": positions, "frames": len(trial.scan)}
        try:
            solver = (
                ew.Refined(solver=plain, refine_positions=True, max_position_error_px=REACH_PX, blur_epochs=SETTLE)
                if positions
                else plain
            )
            rows.append(shown(row | one(solver, trial, modes)))
        except Exception as error:  # a method that refuses modes or refinement says so, and the next goes on
            print(f"   skipped: {row}: {error}", flush=True)
    return rows


def one(solver: Any, trial: problems.Trial, modes: int) -> Row:
    """Run from the recorded positions; judge object and positions."""
    problem = pose(trial.scan, setup=Setup(device="cpu"))
    last = scoring.finished(solver, problem, problem.initial(trial.start, Setup(modes=modes)))
    off, median = scoring.position_error(last.positions_px, trial)
    return {
        "nrmse": scoring.score(scoring.projection(last), trial).nrmse,
        "position_error_px": off,
        "median_error_px": median,
        "start_error_px": scoring.position_error(trial.start.positions_px, trial)[0],
        "residual": problem.residual(last),
    }
