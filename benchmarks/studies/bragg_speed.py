"""Seconds of one epoch of phasing a rocking curve over seconds of the two FFTs that it needs, in the same process.

Processor time, so that what else the machine does counts little: with two threads it is the work of both. The median over
runs of 20 epochs, one of which draws the support anew, in turn with 20 forward and inverse FFTs of torch; the last row of each
size is the same pair of FFTs of scipy.
"""

import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import torch
from scipy import fft

import exitwave as ew
from exitwave.running.pose import pose
from harness import subprocess_run
from harness.tables import Row, shown

SIZES = (64, 128)
EPOCHS, ROUNDS = 20, 5
TARGET = 2.0
KEY = ("solver", "voxels", "threads")


def run(*, threads: Annotated[tuple[int, ...], "numbers of threads"] = (1, 2)) -> list[Row]:
    """One row for each solver, size of the array and number of threads."""
    rows: list[Row] = []
    for count in threads:
        for size in SIZES:
            measured = subprocess_run.call("studies.bragg_speed:measure", {"size": size}, count) or []
            rows += [shown(row | {"threads": count}) for row in measured]
    return rows


def measure(size: int) -> list[Row]:
    """All solvers on an array of one size, in this process."""
    made = ew.simulate_crystal(ew.RockingExperiment(angles=size), frame_px=size, seed=1)
    problem = pose(made.scan, ew.Setup(device="cpu"))
    assert isinstance(problem, ew.BraggProblem)
    start = ew.Step(epoch=0, estimate=problem.initial(None, ew.Setup()))
    wave, rows = start.estimate.object, []
    for solver in (ew.ER(epochs=10_000), ew.HIO(epochs=10_000), ew.CDIRAAR(epochs=10_000)):
        steps = solver.solve(problem, start)
        pairs = [
            (_seconds(lambda steps=steps: next(steps)), _seconds(lambda: _transformed(wave))) for _ in range(ROUNDS)
        ]
        epoch, ffts = (statistics.median(each) for each in zip(*pairs[1:], strict=True))
        rows.append({"solver": solver.name, "voxels": size, "epoch_ms": 1e3 * epoch, "ffts_ms": 1e3 * ffts})
        rows[-1] |= {"ratio": epoch / ffts, "target": TARGET}
    values = wave.numpy()
    workers = torch.get_num_threads()
    taken = [_seconds(lambda: fft.ifftn(fft.fftn(values, workers=workers), workers=workers)) for _ in range(ROUNDS)]
    return [*rows, {"solver": "scipy.fft alone", "voxels": size, "ffts_ms": 1e3 * statistics.median(taken)}]


@torch.no_grad()
def _transformed(wave: torch.Tensor) -> None:
    torch.fft.ifftn(torch.fft.fftn(wave, norm="ortho"), norm="ortho")


def _seconds(work: Callable[[], Any]) -> float:
    """Processor time of one of many calls."""
    began = time.process_time()
    for _ in range(EPOCHS):
        work()
    return (time.process_time() - began) / EPOCHS
