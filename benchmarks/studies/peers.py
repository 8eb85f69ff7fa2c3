"""Time to a given error, on the common problems, for other packages and for exitwave, from the same start.

Every program gets the same patterns, mask, positions, wrong start probe and empty object, runs on two threads in
a process of its own, and is looked at after the same epochs; seconds are those of its own iterations, not of loading,
setting up or judging. In `realistic` the positions are wrong and the beam has two modes: every program refines positions and
finds a second mode in its own way. Error: complex NRMSE on the well-lit centre after removing shift, phase ramp and one
complex scale. Position error: root mean square along an axis after the mean shift. A time is that of the first look at which
the error is no larger than the level; "-" means not within the budget. Bands: error in a band of spatial frequency (as
fractions of Nyquist) over the signal in all, at the end.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch

import exitwave as ew
from harness import scoring, subprocess_run
from harness.command_line import Seeds, Solvers
from harness.problems import Trial, common, flat_error
from harness.realistic import realistic
from harness.solvers import make
from harness.tables import Row

RUNNERS = Path(__file__).parents[1] / "peers"
ENGINES: dict[str, dict[str, str]] = {
    "small": {
        "cdtools simple_fast": "cdtools",
        "ptychi rpie_50": "ptychi",
        "ptylab mPIE": "ptylab",
        "ptyrad adam": "ptyrad",
    },
    "big": {"cdtools simple_fast": "cdtools", "ptylab mPIE": "ptylab", "ptyrad adam": "ptyrad"},
    "realistic": {
        "cdtools fancy": "cdtools",
        "ptychi lsqml_50": "ptychi",
        "ptylab mPIE": "ptylab",
        "ptyrad adam": "ptyrad",
    },
}
"""Problem -> engine -> its runner: those that reached the levels first when all were tried; one of each package where positions
are wrong (pty-chi's rPIE came to no image there, whatever its steps and batches).
"""
BY_NAME = {
    "cdtools simple": "cdtools",
    "ptychi rpie_50": "ptychi",
    "ptychi rpie_20": "ptychi",
    "ptychi lsqml_50": "ptychi",
}
"""Engines that run where they are asked for."""
BUDGET_S = {"small": 80.0, "big": 50.0, "realistic": 150.0}
"""Seconds of iterations for each run of a package."""
OUR_EPOCHS = 200
OURS = ("rpie", "mpie", "awf", "lsqml", "raar", "adam")
OURS_REALISTIC = ("newton", "lsqml")
THREADS = 2
Problem = Literal["small", "big", "realistic"]
KEY = ("problem", "seed", "program")
"""What makes a row another one."""
FILE = "iterative_peers"


def run(
    *,
    python: Annotated[Path | None, "interpreter of the environment with the other packages"] = None,
    seeds: Seeds = (0,),
    problems: Annotated[tuple[Problem, ...], "which of the common problems"] = ("small", "big", "realistic"),
    engines: Annotated[tuple[str, ...], "only these, such as 'cdtools simple'"] = (),
    solvers: Solvers = (),
    budget: Annotated[float | None, "seconds for each run; 80 (small), 50 (big), 150 (realistic) if left out"] = None,
) -> list[Row]:
    """One row for each program, problem and seed; other packages only where `python` leads to their environment."""
    rows: list[Row] = []
    for name in problems:
        for seed in seeds:
            trial = drawn(name, seed)
            empty = flat_error(trial)
            print(f"-- {name}, seed {seed}: {len(trial.scan)} frames; an empty object scores {empty:.3f}", flush=True)
            known = ENGINES[name] | BY_NAME
            chosen = [engine for engine in engines if engine in known] if engines else list(ENGINES[name])
            for engine in chosen if python else []:
                rows += _told(name, seed, theirs(python, known[engine], engine, trial, budget or BUDGET_S[name]))
            for solver in solvers or (OURS_REALISTIC if name == "realistic" else OURS):
                if make(solver) is not None:
                    case = {"name": name, "seed": seed, "spec": solver, "most_seconds": budget or BUDGET_S[name]}
                    rows += _told(name, seed, subprocess_run.call("studies.peers:ours", case, THREADS))
    return rows


def drawn(name: str, seed: int) -> Trial:
    """One drawing of a common problem."""
    return realistic(seed) if name == "realistic" else common(name, seed)


def _told(problem: str, seed: int, found: Row | None) -> Iterator[Row]:
    if found is not None:
        levels = ", ".join(f"{level}: {found[f'seconds_to_{level}']}" for level in scoring.LEVELS)
        end = f"NRMSE {found['nrmse']:.4f}, positions {found['position_error_px']:.3f} px"
        print(
            f"   {found['program']:24} {found['epochs']} epochs, {found['seconds']:.1f} s, {end}; s to {levels}",
            flush=True,
        )
        yield {"problem": problem, "seed": seed, **found}


def ours(name: str, seed: int, spec: Any, most_seconds: float) -> Row:
    """One of our solvers, in this process."""
    solver = make(spec, epochs=OUR_EPOCHS)
    assert solver is not None
    trial = drawn(name, seed)
    if trial.max_position_error_px:
        unknown = ew.RefinementOptions(refine_positions=True, max_position_error_px=trial.max_position_error_px)
        solver = ew.refine(solver, unknown)
    label = spec if isinstance(spec, str) else spec["name"]
    return summary(f"exitwave {label}", scoring.run(solver, trial, most_seconds=most_seconds, seed=seed), repr(solver))


def theirs(python: Path, runner: str, engine: str, trial: Trial, budget_s: float) -> Row | None:
    """One engine of another package, in its own environment; None after a message where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "problem.npz", Path(folder) / "out.npz"
        write_problem(trial, given)
        command = [
            python,
            RUNNERS / f"run_{runner}.py",
            given,
            made,
            "--engine",
            engine.split()[1],
            "--seconds",
            budget_s,
        ]
        environment = {k: v for k, v in subprocess_run.environment(THREADS).items() if k != "PYTHONPATH"}
        done = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True)
        if done.returncode or not made.exists():
            print(f"   failed: {engine}, exit code {done.returncode}: {done.stderr[-500:]}")
            return None
        with np.load(made) as file:
            looks = zip(
                file["epochs"].tolist(),
                file["seconds"].tolist(),
                torch.from_numpy(file["images"]),
                torch.from_numpy(file["positions_px"]),
                strict=True,
            )
            course = scoring.course(looks, trial)
            package, version = str(file["package"]), str(file["version"])
            return summary(f"{package} {version}: {engine.split()[1]}", course, str(file["settings"]))


def write_problem(trial: Trial, path: os.PathLike[str]) -> None:
    """What the runners read: no truth."""
    geometry, mask = trial.scan.geometry, trial.scan.mask
    np.savez(
        path,
        patterns=trial.scan.frames(slice(None)).numpy(),
        mask=np.ones(trial.scan.frame_shape, bool) if mask is None else mask.numpy(),
        positions_px=trial.start.positions_px.numpy(),
        modes=trial.modes,
        refine_positions=trial.max_position_error_px > 0,
        probe=trial.start.probe[0].numpy(),
        object_shape=np.array(trial.start.object.shape[-2:]),
        wavelength_m=geometry.wavelength_m,
        distance_m=geometry.distance_m,
        detector_pixel_m=geometry.detector_pixel_m[0],
        object_pixel_m=trial.scan.object_pixel_m[0],
    )


def summary(program: str, course: scoring.Course, settings: str) -> Row:
    """The figures of one run, and the whole course of its error for plots."""
    row: Row = {"program": program, "settings": settings, "epochs": course.epochs[-1], "seconds": course.seconds[-1]}
    for level in scoring.LEVELS:
        epoch, seconds = course.reached(level) or (None, None)
        row |= {f"epochs_to_{level}": epoch, f"seconds_to_{level}": seconds}
    best = min(course.scores, key=lambda score: score.nrmse)
    row |= {"nrmse": course.scores[-1].nrmse, "best_nrmse": best.nrmse}
    row |= {"position_error_px": course.scores[-1].position_error_px}
    row |= {"bands": dict(zip(scoring.BAND_NAMES, asdict(course.scores[-1])["bands"], strict=True))}
    nrmse = [round(score.nrmse, 5) for score in course.scores]
    off = [round(score.position_error_px, 4) for score in course.scores]
    seconds = [round(s, 3) for s in course.seconds]
    return row | {"course": {"epochs": course.epochs, "seconds": seconds, "nrmse": nrmse, "position_error_px": off}}
