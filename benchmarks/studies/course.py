"""Passes over the frames that each method needs to a given error, counted in transforms, and `newton` with parts left out.

A pass is a forward and an inverse FFT of every frame, so that shortened steps and the frames from which curvature is
learnt are paid for; the common problems of the study of other packages, from the same start. Options of `newton` were
chosen on drawings 2 and 3. Nothing is timed: other work on the machine does no harm.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

import exitwave as ew
from exitwave.problems.ptychography import PtychographyProblem
from harness import subprocess_run
from harness.command_line import Problems, Seeds, Solvers
from harness.problems import MARGIN_PX, Trial, common
from harness.scoring import projection, score
from harness.tables import Row, shown

RUNS: dict[str, tuple[str, dict[str, Any], int]] = {
    "newton": ("newton", {}, 40),
    "newton, slow phase left to the frames": ("newton", {"slow_gain": 0.0}, 40),
    "newton, approach of 8 epochs": ("newton", {"warm_start": 8}, 40),
    "newton, approach of 4 epochs": ("newton", {"warm_start": 4}, 40),
    "newton, without approach": ("newton", {"warm_start": 0}, 60),
    "newton, 20 epochs": ("newton", {}, 20),
    "newton, 10 epochs": ("newton", {}, 10),
    "lsqml": ("lsqml", {}, 100),
    "mpie": ("mpie", {}, 100),
    "rpie": ("rpie", {}, 200),
    "wasp": ("wasp", {}, 100),
    "awf": ("awf", {}, 100),
    "apg": ("apg", {}, 100),
    "lbfgs": ("lbfgs", {}, 100),
    "adam": ("adam", {}, 200),
    "raar": ("raar", {}, 200),
    "dm": ("dm", {}, 200),
}
"""Label -> solver, options, epochs."""
LOOKS = (*range(1, 13), 15, 20, 25, 30, 40, 50, 60, 80, 100, 125, 150, 175, 200)
"""Epochs after which an image is judged."""
LEVELS = (0.2, 0.1, 0.05)
KEY = ("method", "problem", "seed")
"""What makes a row another one."""
FILE = "iterative_course"


def run(*, problems: Problems = ("small", "big"), seeds: Seeds = (0,), solvers: Solvers = ()) -> list[Row]:
    """One row for each method, problem and drawing."""
    rows: list[Row] = []
    for name in problems:
        for seed in seeds:
            for label, (solver, _, _) in RUNS.items():
                if not solvers or solver in solvers:
                    found = subprocess_run.call("studies.course:one", {"name": name, "seed": seed, "label": label}, 1)
                    rows += [shown(found)] if found else []
    return rows


def one(name: str, seed: int, label: str) -> Row:
    """One method on one drawing, in this process."""
    solver, chosen, epochs = RUNS[label]
    trial = common(name, seed)
    points = list(course(ew.from_spec({"name": solver, "epochs": epochs, **chosen}), trial))
    reached = {f"to_{level}": next((cost for cost, error in points if error < level), None) for level in LEVELS}
    return {"method": label, "problem": name, "seed": seed, **reached, "passes": points[-1][0], "nrmse": points[-1][1]}


@dataclass
class Counting:
    """A propagator that counts the waves it transforms."""

    inner: Any
    waves: int = 0

    def propagate(self, waves: Tensor, out: Tensor | None = None) -> Tensor:
        self.waves += waves.shape[:-2].numel()
        return self.inner.propagate(waves, out)

    def backpropagate(self, waves: Tensor, out: Tensor | None = None) -> Tensor:
        self.waves += waves.shape[:-2].numel()
        return self.inner.backpropagate(waves, out)

    def to_detector_order(self, frames: Tensor) -> Tensor:
        return self.inner.to_detector_order(frames)


def course(solver: ew.Solver, trial: Trial) -> Iterator[tuple[float, float]]:
    """Passes and error at each look."""
    problem = PtychographyProblem.of(trial.scan, margin_px=MARGIN_PX)
    counter = Counting(problem.model.propagator)
    problem = replace(problem, model=replace(problem.model, propagator=counter))
    for step in solver.solve(problem, ew.Step(epoch=0, estimate=trial.start)):
        if step.epoch in LOOKS:
            passes = counter.waves / (2 * len(problem) * len(step.estimate.probe))
            yield passes, score(projection(step.estimate), trial).nrmse
