"""The real near-field scan of a Siemens star (PETRA III, P25): residual of every method, split-half resolution of the best.

Residual: sum (|F| - A)^2 / sum A^2. Split half: two reconstructions from disjoint random halves of the frames, from the
data alone; where their Fourier rings fall below half a bit, as a fraction of Nyquist. There is no truth: a low residual
may be fitted noise, which the split half shows.
"""

import time

import exitwave as ew
from harness import problems, subprocess_run
from harness.command_line import Epochs, Solvers
from harness.solvers import make, registered
from harness.tables import Row, shown

EPOCHS = 60
BEST = 3
THREADS = 2
KEY = ("solver",)
"""What makes a row another one."""
FILE = "iterative_petra"


def run(*, solvers: Solvers = (), epochs: Epochs = EPOCHS) -> list[Row]:
    """One row for each method, by residual."""
    if not problems.PETRA.exists():
        print(f"skipped: {problems.PETRA.name} is not here")
        return []
    rows: list[Row] = []
    for name in solvers or registered():
        if make(name) is not None:
            row = subprocess_run.call("studies.petra:whole", {"name": name, "epochs": epochs}, THREADS)
            rows += [shown(row)] if row else []
    rows.sort(key=lambda row: row["residual"])
    for row in rows[:BEST]:
        case = {"name": row["solver"], "epochs": epochs}
        row |= subprocess_run.call("studies.petra:split", case, THREADS) or {}
        shown(row)
    return rows


def whole(name: str, epochs: int) -> Row:
    """A reconstruction from all frames."""
    solver, scan = make(name, epochs=epochs), problems.petra()
    assert solver is not None
    began = time.perf_counter()
    result = ew.reconstruct(scan, solver, setup=ew.Setup(device="cpu"))
    seconds = time.perf_counter() - began
    return {"solver": name, "epochs": len(result.history), "residual": result.residual, "seconds": seconds}


def split(name: str, epochs: int) -> Row:
    """Two reconstructions from halves, compared."""
    solver, scan = make(name, epochs=epochs), problems.petra()
    assert solver is not None
    result = ew.reconstruct(scan, solver, setup=ew.Setup(device="cpu"))
    first, second = ew.reconstruct_halves(scan, solver, result, setup=ew.Setup(device="cpu"))
    judged = ew.compare_halves(first.estimate, second.estimate, pixel=result.object_pixel_m).metrics
    return {"frc_split": judged["FRC-half-bit-split"], "nrmse_split": judged["M-NRMSE-split-whole"]}
