"""Final error of every method on a stand-in for the blood smears of the method papers, with the probe known.

A 128 pixel object of 26 soft discs, frames of 32 pixels on a raster without jitter, 1e5 counts in the brightest pixel,
300 epochs; relative complex error on the scanned region after one complex scale. The reference rows are those of the
specification, measured with independent implementations on another drawing of the same description; a target is 10 %
above its reference. Solvers without a reference run with their default options.
"""

from typing import Any

import torch

import exitwave as ew
from exitwave.evaluation.metrics import nrmse
from exitwave.evaluation.region import scanned_region
from exitwave.problems.setup import Setup
from exitwave.running.pose import pose
from harness import problems, subprocess_run
from harness.command_line import Seeds, Solvers
from harness.scoring import finished
from harness.solvers import make, registered
from harness.tables import Row, shown

STEPS_PX = (8, 12, 16, 20, 25)
OVERLAP = {8: "75 %", 12: "62.5 %", 16: "50 %", 20: "37.5 %", 25: "21.9 %"}
EPOCHS = 300
SINGLE = {"batch": 1, "settle": 0.0}
REFERENCE: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {
    "epie": ({"name": "epie", **SINGLE}, (0.022, 0.047, 0.146, 0.272, 0.360)),
    "rpie, alpha 0.25": ({"name": "rpie", "alpha": 0.25, **SINGLE}, (0.026, 0.037, 0.58, 0.393, 0.381)),
    "rpie, alpha 0.1": ({"name": "rpie", "alpha": 0.1, **SINGLE}, (0.046, 0.82, 1.00, 0.79, 0.394)),
    "wasp": ({"name": "wasp"}, (0.022, 0.051, 0.204, 0.348, 0.424)),
    "ap": ({"name": "ap"}, (0.056, 0.074, 0.172, 0.299, 0.406)),
    "dm": ({"name": "dm", "alpha": 0.97, "relax": 0.0, "inertia": 0.2}, (0.220, 0.251, 0.158, 0.190, 0.402)),
    "raar, beta 0.75": ({"name": "raar", "beta": 0.75}, (0.023, 0.030, 0.105, 0.248, 0.403)),
    "raar, beta 0.9": ({"name": "raar", "beta": 0.9}, (0.025, 0.033, 0.052, 0.199, 0.403)),
    "wf": ({"name": "wf"}, (0.114, 0.130, 0.193, 0.295, 0.360)),
    "awf": ({"name": "awf", "alpha": 1.0}, (0.019, 0.025, 0.048, 0.131, 0.331)),
    "apg, Gaussian": ({"name": "apg", "noise": "amplitude", "inertia": 1.0}, (0.025, 0.034, 0.076, 0.189, 0.330)),
    "apg, Poisson": ({"name": "apg", "noise": "poisson", "inertia": 1.0}, (0.027, 0.037, 0.086, 0.195, 0.333)),
}
"""Label -> solver with options, and the errors to compare with, for each step."""
KEY = ("method", "step_px")
"""What makes a row another one."""
FILE = "iterative_quality"


def run(*, seeds: Seeds = (0,), solvers: Solvers = ()) -> list[Row]:
    """One row for each method and step; errors are means over the seeds, which draw object and noise."""
    named = {spec["name"] for spec, _ in REFERENCE.values()}
    others = {name: ({"name": name}, ()) for name in registered() if name not in named}
    rows: list[Row] = []
    for label, (spec, reference) in (REFERENCE | others).items():
        if (solvers and spec["name"] not in solvers) or make(spec, epochs=EPOCHS, probe="known") is None:
            continue
        found = subprocess_run.call("studies.quality:errors", {"spec": spec, "seeds": seeds}, 1)
        if found is None:
            continue
        shown({"method": label} | {f"step {step_px}": error for step_px, error in zip(STEPS_PX, found, strict=True)})
        for place, step_px in enumerate(STEPS_PX):
            known = reference[place] if reference else None
            row = {"method": label, "step_px": step_px, "nrmse": found[place], "reference": known}
            row["target"] = None if known is None else 1.1 * known
            rows.append(row)
    return rows


def errors(spec: dict[str, Any], seeds: list[int]) -> list[float | None]:
    """Mean error of one method for each step; None, after a message, where it fails."""
    solver = make(spec, epochs=EPOCHS, probe="known")
    assert solver is not None
    means: list[float | None] = []
    for step_px in STEPS_PX:
        try:
            found = [once(solver, problems.smear(step_px, seed=seed), seed) for seed in seeds]
        except Exception as failure:  # one method that fails on one scan should not cost the table
            print(f"   {spec['name']} failed at step {step_px}: {failure}", flush=True)
            found = []
        means.append(sum(found) / len(found) if found else None)
    return means


def once(solver: ew.Solver, trial: problems.Trial, seed: int) -> float:
    """The error of one run."""
    return error(finished(solver, pose(trial.scan, setup=Setup(seed=seed, device="cpu")), trial.start).object[0], trial)


def error(obj: torch.Tensor, trial: problems.Trial) -> float:
    """Only a complex scale is free where the probe is known; no image at all counts as error 1."""
    if not bool(torch.isfinite(torch.view_as_real(obj)).all()):
        return 1.0
    truth = trial.truth
    region = scanned_region(truth.probe, truth.positions_px, (truth.object.shape[-2], truth.object.shape[-1]))
    return nrmse(obj, truth.object[0], weights=region)["M-NRMSE"]
