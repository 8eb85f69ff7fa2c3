"""Seconds of one epoch over seconds of the two FFTs of all frames, in the same process.

The floor is torch's forward and inverse FFT of all frames, cut into chunks of 4, 8, 16 or 32 frames, whichever is
fastest here; epoch and floor take turns and the median of their ratios is told. One probe mode and whole positions, then
what sub-pixel positions and further modes add at 128 pixels (their floor has the FFTs of all modes). Where the probe is
moved by interpolation, the last column tells its error at the worst shift, over the probe's norm; what is left of the probe's
photon noise counts in it. Of `newton`, epochs of its approach.
"""

import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import torch

import exitwave as ew
from exitwave.physics.fourier import fft2
from exitwave.physics.interpolation import Interpolation
from exitwave.problems.initial_guess import first_guess
from exitwave.problems.setup import Setup
from exitwave.running.pose import pose
from harness import subprocess_run
from harness.command_line import Solvers
from harness.solvers import make
from harness.tables import Row, shown

SIZES = {64: 1000, 128: 400, 256: 100}
"""Pixels of a frame -> frames."""
SOLVERS = ("rpie", "awf", "lsqml", "newton")
CHUNKS = (4, 8, 16, 32)
ROUNDS = 9
TARGET = 2.2
SUB_PIXEL_TARGET = 2.5
"""With two threads."""
KEY = ("solver", "size", "modes", "positions", "threads")
"""What makes a row another one."""
FILE = "iterative_floor"


def run(*, solvers: Solvers = (), threads: Annotated[tuple[int, ...], "numbers of threads"] = (1, 2)) -> list[Row]:
    """One row for each solver, frame size and number of threads."""
    rows: list[Row] = []
    for count in threads:
        cases = [(size, 1, True) for size in SIZES] + [(128, 1, False), (128, 2, True), (128, 3, True)]
        for size, modes, whole in cases:
            case = {"size": size, "modes": modes, "whole": whole, "solvers": solvers or list(SOLVERS)}
            for row in subprocess_run.call("studies.floor:measure", case, count) or []:
                row |= {"threads": count, "target": _target(modes, whole, count)}
                rows.append(shown(row))
    return rows


def measure(size: int, modes: int, whole: bool, solvers: list[str]) -> list[Row]:
    """All solvers on one case, in this process."""
    made = ew.simulate("textured", frame_px=size, frames=SIZES[size], overlap=0.65, modes=modes, seed=1)
    problem = pose(made.scan, setup=Setup(device="cpu"))
    start = first_guess(problem, modes=modes, probe=made.truth.probe)
    # Off the whole pixels by at most 0.4, for certain: rounding must not make the case easy.
    offsets = 0.0 if whole else 0.4 * torch.rand(start.positions_px.shape, generator=torch.Generator().manual_seed(0))
    start = ew.PtychoEstimate(object=start.object, probe=start.probe, positions_px=start.positions_px.round() + offsets)
    waves = torch.randn(SIZES[size] * modes, size, size, dtype=torch.complex64)
    chunk = min(CHUNKS, key=lambda c: statistics.median(timed(lambda: floor(waves, c)) for _ in range(5)))
    rows = []
    for name in solvers:
        solver = make(name, epochs=10_000, probe="at once")
        if solver is not None:
            steps = solver.solve(problem, ew.Step(epoch=0, estimate=start))
            epoch, ffts = alternate(lambda steps=steps: next(steps), lambda: floor(waves, chunk))
            ratio = statistics.median(one / other for one, other in zip(epoch, ffts, strict=True))
            rows.append(
                {"solver": name, "size": size, "modes": modes, "positions": "whole" if whole else "sub-pixel"}
                | {"epoch_ms": 1e3 * statistics.median(epoch), "floor_ms": 1e3 * statistics.median(ffts)}
                | {"chunk": chunk, "ratio": ratio, "shift_error": None if whole else _shift_error(next(steps).estimate)}
            )
    return rows


def _target(modes: int, whole: bool, threads: int) -> float | None:
    if modes > 1:
        return None
    return TARGET if whole else SUB_PIXEL_TARGET if threads == 2 else None


def _shift_error(x: ew.PtychoEstimate) -> float:
    """Of the interpolation that moves this probe by fractions of a pixel, over its norm."""
    return Interpolation.of(fft2(x.probe)).error


@torch.no_grad()
def floor(waves: torch.Tensor, chunk: int) -> None:
    """The FFTs without which no epoch can do."""
    for part in waves.split(chunk):
        torch.fft.ifft2(torch.fft.fft2(part, norm="ortho"), norm="ortho")


def timed(work: Callable[[], Any]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def alternate(one: Callable[[], Any], other: Callable[[], Any]) -> tuple[list[float], list[float]]:
    """Times of two pieces of work in turn, after two rounds to warm up."""
    pairs = [(timed(one), timed(other)) for _ in range(ROUNDS + 2)][2:]
    return [a for a, _ in pairs], [b for _, b in pairs]
