"""How far an image is from the truth after so many epochs and seconds: the same judge for every program."""

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

import exitwave as ew
from exitwave.evaluation.align import align
from exitwave.evaluation.metrics import nrmse
from exitwave.evaluation.resolution import edge_window, radial_frequency, windowed_spectrum
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.setup import Setup
from exitwave.running.pose import pose
from harness.problems import Trial

RIM_PX = 24
"""Pixels kept around the compared rectangle while the image is moved onto the truth."""
BANDS = (0.0, 1 / 32, 1 / 16, 1 / 8, 1 / 4, math.inf)
"""Edges of the bands of spatial frequency, as fractions of Nyquist: octaves, but for the first and the last."""
BAND_NAMES = ("below 1/32", "1/32-1/16", "1/16-1/8", "1/8-1/4", "above 1/4")
LEVELS = (0.1, 0.05)
"""Errors to which the time is told."""


@dataclass(frozen=True)
class Score:
    """An image against the truth, after removing shift below a pixel, phase ramp and one complex scale."""

    nrmse: float
    bands: tuple[float, ...]
    """Error in each band over the signal in all: their squares add up to about that of `nrmse`."""
    position_error_px: float = 0.0
    """Root mean square along an axis, after the mean shift."""


@dataclass(frozen=True)
class Course:
    """The way of one run: epochs at which it was looked at, seconds spent by the solver until then, score there."""

    epochs: list[int]
    seconds: list[float]
    scores: list[Score]

    def reached(self, level: float) -> tuple[int, float] | None:
        """The first look at which the error was no larger than `level`: epoch and seconds."""
        for epoch, seconds, score in zip(self.epochs, self.seconds, self.scores, strict=True):
            if score.nrmse <= level:
                return epoch, seconds
        return None


def looks(last: int = 100_000) -> Iterator[int]:
    """Epochs at which to look: every one up to 24, then steps of about 8 %. The same for all programs."""
    epoch = 1
    while epoch <= last:
        yield epoch
        epoch += max(1, epoch // 12)


def score(obj: Complex[Tensor, "y x"], trial: Trial, positions_px: Float[Tensor, "frame 2"] | None = None) -> Score:
    """Judge an object array that has the pixel grid of the truth, and where its frames were believed to be.

    Positions are those of the start where none are given. A shift of all of them is one of the object, and removed from both;
    a stretch is not: no diffraction pattern fits a stretched object in the same probe.
    """
    truth = trial.truth.object[0]
    off = position_error(trial.start.positions_px if positions_px is None else positions_px, trial)[0]
    if not bool(torch.isfinite(torch.view_as_real(obj)).all()) or not bool(obj.abs().any()):
        return Score(math.inf, (math.inf,) * len(BAND_NAMES), off)
    near, inner = _around(trial.box, truth.shape)
    weights = torch.zeros(truth[near].shape)
    weights[inner] = 1
    image = align(obj[near], truth[near], weights=weights).image[inner]
    reference = truth[near][inner]
    return Score(nrmse(image, reference)["M-NRMSE"], bands(image, reference), off)


def position_error(positions_px: Float[Tensor, "frame 2"], trial: Trial) -> tuple[float, float]:
    """Root mean square and median of the distance along an axis, pixels; the mean shift belongs to the object."""
    off = positions_px - trial.truth.positions_px
    off = off - off.mean(dim=0)
    return math.sqrt(float(off.square().mean())), float(off.abs().median())


def bands(image: Complex[Tensor, "y x"], truth: Complex[Tensor, "y x"]) -> tuple[float, ...]:
    """Root of the error power in each band over the signal power in all, the zero frequency apart."""
    window = edge_window((truth.shape[0], truth.shape[1]), 0.25)
    error = np.abs(windowed_spectrum(image, window) - windowed_spectrum(truth, window)) ** 2
    signal = float(np.sum((window * truth.abs().numpy()) ** 2))
    radius = radial_frequency(error.shape)
    rings = pairwise(BANDS)
    return tuple(math.sqrt(float(error[(radius > low) & (radius <= high)].sum()) / signal) for low, high in rings)


def course(
    found: Iterable[tuple[int, float, Complex[Tensor, "y x"], Float[Tensor, "frame 2"]]], trial: Trial
) -> Course:
    """Judge what a run left behind: (epoch, seconds, object, positions) at each look."""
    epochs, seconds, scores = [], [], []
    for epoch, spent, obj, positions_px in found:
        epochs.append(epoch)
        seconds.append(spent)
        scores.append(score(obj, trial, positions_px))
    return Course(epochs, seconds, scores)


def run(solver: ew.Solver, trial: Trial, *, most_seconds: float = math.inf, seed: int = 0) -> Course:
    """Run one of our solvers from the start of a trial, a second mode begun as `Setup(modes=2)` does, which counts as time as
    the solver's own work does.

    Posing the problem (square roots of the patterns) is not counted, as the loading of data is not for the others; one
    epoch is run before and thrown away, so that nothing is compiled while the clock runs.
    """
    problem = pose(trial.scan, setup=Setup(seed=seed, device="cpu"))
    next(solver.solve(problem, ew.Step(epoch=0, estimate=trial.start)))
    seen: list[tuple[int, float, Tensor, Tensor]] = []
    wanted, began = set(looks(10_000)), time.perf_counter()
    begin = ew.Step(epoch=0, estimate=problem.initial(trial.start, Setup(modes=trial.modes)))
    spent = time.perf_counter() - began
    steps = solver.solve(problem, begin)
    while True:
        began = time.perf_counter()
        step = next(steps, None)
        spent += time.perf_counter() - began
        if step is None:
            break
        last = (step.epoch, spent, projection(step.estimate), step.estimate.positions_px)
        if step.epoch in wanted:
            seen.append(last)
        if spent > most_seconds:
            break
    if seen[-1][0] != last[0]:
        seen.append(last)
    return course(seen, trial)


def finished(solver: ew.Solver, problem: PtychographyProblem, start: ew.PtychoEstimate) -> ew.PtychoEstimate:
    """The last estimate of a run."""
    return deque(solver.solve(problem, ew.Step(epoch=0, estimate=start)), maxlen=1)[0].estimate


def projection(estimate: ew.PtychoEstimate) -> Complex[Tensor, "y x"]:
    """The transmission of the whole sample."""
    return estimate.object[0] if len(estimate.object) == 1 else estimate.object.prod(dim=0)


def _around(box: tuple[slice, slice], shape: torch.Size) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The rectangle with its rim, and where in that the rectangle itself lies."""
    near, inner = [], []
    for side, size in zip(box, shape, strict=True):
        first, last = side.start or 0, size if side.stop is None else side.stop
        low, high = max(first - RIM_PX, 0), min(last + RIM_PX, size)
        near.append(slice(low, high))
        inner.append(slice(first - low, last - low))
    return (near[0], near[1]), (inner[0], inner[1])
