"""Time of an epoch and peak memory for ever larger scans of 64 pixel frames, each read from a file by a fresh process.

Peak memory is that of the whole process, as the system counts it; its part beyond what the process held before the scan
was read is fitted. Exponents are slopes of straight lines through the points on double logarithmic axes, from 1000
frames on: 1 is in proportion to the frames.
"""

import math
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np

import exitwave as ew
from exitwave.problems.initial_guess import first_guess
from exitwave.problems.setup import Setup
from exitwave.running.pose import pose
from harness import problems, subprocess_run
from harness.command_line import Solvers
from harness.solvers import make
from harness.tables import Row, shown

FRAMES = (250, 1000, 4000, 16000)
SOLVERS = ("rpie", "awf", "lsqml", "raar")
EPOCHS = 3
FROM_FRAMES = 1000
THREADS = 2
KEY = ("solver", "frames")
"""What makes a row another one."""
FILE = "iterative_growth"


def run(*, solvers: Solvers = (), frames: Annotated[tuple[int, ...], "sizes of scans"] = FRAMES) -> list[Row]:
    """One row for each solver and number of frames, and a row with the exponents for each solver."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for count in frames:
            path = Path(folder) / f"{count}.cxi"
            ew.write(problems.growing(count), path)
            for name in solvers or SOLVERS:
                if make(name) is not None:
                    row = subprocess_run.call("studies.growth:measure", {"path": str(path), "name": name}, THREADS)
                    rows += [shown(row)] if row else []
            path.unlink()
    return rows + [exponents(name, rows) for name in dict.fromkeys(row["solver"] for row in rows)]


def measure(path: str, name: str) -> Row:
    """One solver on one file, in this process: the median of some epochs after the first, and the peak of memory."""
    before_mib = peak_mib()
    scan = ew.read(Path(path))
    problem = pose(scan, setup=Setup(device="cpu"))
    guess = first_guess(problem, probe=problems.zone_plate(scan.frame_shape, diameter_px=30.0)[None])
    solver = make(name, epochs=EPOCHS + 1)
    assert solver is not None
    seconds, began = [], time.perf_counter()
    for _ in solver.solve(problem, ew.Step(epoch=0, estimate=guess)):
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    peak = peak_mib()
    data_mib = 4 * len(scan) * math.prod(scan.frame_shape) / 2**20
    return {
        "solver": name,
        "frames": len(scan),
        "epoch_s": statistics.median(seconds[1:]),
        "peak_mib": peak,
        "beyond_start_mib": peak - before_mib,
        "data_mib": data_mib,
    }


def peak_mib() -> float:
    """Most memory this process has held so far."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: what it says begins with the peak of the process that started this one.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def exponents(name: str, rows: list[Row]) -> Row:
    """Fitted powers of the number of frames for time and memory."""
    own = [row for row in rows if row["solver"] == name and row["frames"] >= FROM_FRAMES]
    if len(own) < 2:
        return {"solver": name, "frames": "exponent", "epoch_s": None, "beyond_start_mib": None}
    logs = np.log([[row["frames"], row["epoch_s"], max(row["beyond_start_mib"], 1.0)] for row in own])
    powers = [float(np.polyfit(logs[:, 0], logs[:, column], 1)[0]) for column in (1, 2)]
    return {"solver": name, "frames": "exponent", "epoch_s": powers[0], "beyond_start_mib": powers[1]}
