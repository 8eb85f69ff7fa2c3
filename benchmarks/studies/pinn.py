"""PtychoPINN against PtychoNN and against no network at all, at equal steps and equal parameters, on the paper's samples.

The reduced study (make study-pinn) is resumable and takes at most two hours on 2 cores; `--full --device cuda` is the
paper's configuration (make study-pinn-full); a part, such as `--samples lines --methods "pinn unet" --seeds 11`, is kept
with the rest.

Scans as in Hoidn, Mishra & Mehta, Sci. Rep. 13, 22789 (2023): 64 px frames, flat disc-like probe, 1e9 photons, clusters of
2 x 2 frames 4 px apart, on a raster of 9 px for training and 10 px for judging; objects of 392 px. Results are
kept after every run. Recipes were chosen on objects of other seeds than those here: 100 and 101 to
train on, 150 to judge.
"""

import math
import multiprocessing
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from itertools import product
from typing import Annotated, Any, Literal

import torch
from scipy import ndimage
from torch import Tensor

import exitwave as ew
from exitwave.evaluation.metrics import frc_50, mean_absolute_error, psnr_255
from exitwave.problems.groups.neighbours import neighbour_groups
from exitwave.running.train import training_data
from exitwave.simulation.objects import OBJECTS
from exitwave.solvers.neural.labels import label_on
from exitwave.solvers.neural.network_solver import NetworkSolver
from exitwave.solvers.neural.training_data import TrainingScan
from exitwave.solvers.ptychography.local import LocalWork
from exitwave.training.collapse import Collapsed
from exitwave.training.engine import fabric_for
from exitwave.training.state import load
from exitwave.training.trainer import Trainer
from harness import record
from harness.command_line import Out, Seeds
from harness.tables import Row, print_table

GEOMETRY = ew.Geometry.from_energy(8000.0, 2.0, (75e-6, 75e-6))
FRAME_PX, OBJECT_PX = 64, 392
RADIUS_PX = 13.0
INNER_PX, TRAIN_PITCH_PX, TEST_PITCH_PX = 4, 9, 10
PHOTONS = 1e9
SAMPLES = ("lines", "grf", "features")
SEEDS = (11, 12, 13)
STEPS, FULL_STEPS = 500, 42_000
"""Of 64 frames each: about a hundredth of the paper's, and those of the paper."""
EDGE_PX = 33
"""Cut off each side of an object of 392 px: what is judged is 326 px wide, as in the paper."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A scan with its truth on the canvas of its problem."""

    scan: ew.Scan
    probe: Tensor
    label: ew.PtychoEstimate


def clusters(pitch_px: int) -> Tensor:
    """Corners of clusters of 2 x 2 frames on a raster, cluster after cluster."""
    room = OBJECT_PX - FRAME_PX - INNER_PX
    origin = torch.arange(0, room + 1, pitch_px, dtype=torch.float64)
    inner = torch.tensor([(0, 0), (0, INNER_PX), (INNER_PX, 0), (INNER_PX, INNER_PX)], dtype=torch.float64)
    grid = torch.cartesian_prod(origin, origin)
    return (grid[:, None] + inner).flatten(0, 1)


def probe(curvature: float) -> Tensor:
    """A disc with a soft edge and phase `curvature` r^2; 0 is the flat probe of the paper."""
    axis = torch.arange(FRAME_PX) - FRAME_PX // 2
    radius = torch.hypot(axis[:, None].double(), axis[None, :].double())
    return torch.polar(torch.sigmoid((RADIUS_PX - radius) / 0.6), curvature * radius**2).to(torch.complex64)


def case(sample: str, seed: int, pitch_px: int, *, curvature: float = 0.0, photons: float = PHOTONS) -> Case:
    """A simulated scan of a made sample."""
    made = ew.measure(
        OBJECTS[sample]((OBJECT_PX, OBJECT_PX), seed=seed),
        probe(curvature),
        clusters(pitch_px),
        GEOMETRY,
        detection=ew.Detection(photons_per_frame=photons),
        seed=seed,
    )
    return Case(scan=made.scan, probe=made.truth.probe, label=made.truth)


ENCODER_WIDTH = 0.5
"""So that the published network has about as many parameters as ours (the table tells)."""


ALONE = ew.PtychoPINN(group=4, warm_start=None)
"""Makes a scan ready that a network saw nothing of before."""


def networks(steps: int, *, width: float = ENCODER_WIDTH) -> dict[str, NetworkSolver]:
    """The four ways to train, each with the published network and with ours; all take 64 frames a step."""
    published = {"network": "encoder", "width": width, "learning_rate": 1e-3, "translation": "bilinear"}
    # From the frames of a group alone, as the paper has it: nothing is known of the rest of the scan.
    ours = {"network": "unet", "warm_start_epochs": 0, "stages": 4, "nearest": 3}
    found: dict[str, NetworkSolver] = {}
    for name, options in (("encoder", published), ("unet", ours)):
        taught = {"learning_rate": 4e-3, **options}
        found[f"supervised {name}"] = ew.PtychoNN(**{**taught, "group": 1})
        found[f"overlaps {name}"] = ew.PtychoNN(**{**taught, "group": 4})
        found[f"pinn-only {name}"] = ew.PtychoPINN(**{**options, "group": 1})
        found[f"pinn {name}"] = ew.PtychoPINN(**{**options, "group": 4})
    return found


def learned(solver: NetworkSolver, train: Sequence[Case], steps: int, seed: int, device: str) -> tuple[Any, bool]:
    """The network after so many steps, and whether it collapsed before."""
    examples = [
        ew.TrainingExample(scan=c.scan, probe=c.probe, label=c.label if solver.learns_from_labels else None)
        for c in train
    ]
    lessons = training_data(solver, examples, ew.TrainingRun(seed=seed, device=device))
    network = solver.new_network(lessons, seed)
    taught = Steps(solver.training_task(lessons, seed), steps * solver.training_settings.batch, seed)
    recipe = replace(solver.training_settings, epochs=1)
    course = Trainer(network, taught, recipe, fabric=fabric_for(device, "auto"), seed=seed)
    collapsed = False
    try:
        for _ in course.run():
            pass
    except Collapsed:
        collapsed = True
    load(network, course.weights())
    return network.to(device), collapsed


class Steps:
    """Lessons gone through again and again, each time in another order, until so many samples were seen: one long epoch."""

    def __init__(self, lessons: Any, count: int, seed: int) -> None:
        self._lessons = lessons
        generator = torch.Generator().manual_seed(seed)
        rounds = [torch.randperm(len(lessons), generator=generator) for _ in range(math.ceil(count / len(lessons)))]
        self._order = torch.cat(rounds)[:count]

    def __len__(self) -> int:
        return len(self._order)

    @property
    def held_out(self) -> int:
        """Groups that judge."""
        return self._lessons.held_out

    def loss(self, network: Any, samples: Tensor, *, held_out: bool, seed: tuple[int, ...]) -> Any:
        """As the lessons say."""
        chosen = samples if held_out else self._order[samples.cpu()].to(samples.device)
        return self._lessons.loss(network, chosen, held_out=held_out, seed=seed)


def judged(image: Tensor, lesson: TrainingScan) -> Row:
    """M-MAE, M-PSNR255, M-FRC50 of amplitude and phase, and the correlation of their fine structure."""
    assert lesson.label is not None
    margin = EDGE_PX + 4
    a, b = (z[0, margin:-margin, margin:-margin].cpu() for z in (image, lesson.label))
    turn = torch.vdot(a.flatten(), b.flatten())
    a = a * (turn / turn.abs().clamp(min=1e-12))
    found: Row = {**mean_absolute_error(a, b), **psnr_255(a, b), **frc_50(a, b)}
    found["high-pass amplitude"] = high_pass(a.abs(), b.abs())
    found["high-pass phase"] = high_pass(a.angle(), b.angle())
    found["nrmse"] = float(((a * torch.vdot(a.flatten(), b.flatten()) / a.abs().square().sum()) - b).norm() / b.norm())
    return found


def high_pass(one: Tensor, other: Tensor) -> float:
    """Correlation of what is finer than about 3 px; 0 where there is nothing."""
    fine = [torch.from_numpy(z.numpy() - ndimage.gaussian_filter(z.numpy(), 3.0)).flatten() for z in (one, other)]
    size = fine[0].norm() * fine[1].norm()
    return float(fine[0] @ fine[1] / size) if float(fine[1].norm()) > 1e-3 else 0.0


BASELINES = {"no network, K = 1": 1, "no network, K = 5": 5, "no network, K = 20": 20}
"""Conjugate gradient iterations on each cluster alone from a flat start, stitched alike: what every network must beat."""
SHOWN = ("M-MAE-amplitude", "M-PSNR255-amplitude", "M-FRC50-amplitude", "high-pass amplitude")
SHOWN_PHASE = ("M-MAE-phase", "M-PSNR255-phase", "M-FRC50-phase", "high-pass phase")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training, or the baseline, on one sample with one seed."""

    sample: str
    method: str
    seed: int
    steps: int
    device: str
    objects: int
    encoder_width: float

    @property
    def key(self) -> str:
        """What names its result."""
        return f"{self.sample} | {self.method} | {self.seed} | {self.steps}"


def one(trial: Trial) -> tuple[str, Row]:
    """Train, predict, judge."""
    torch.set_num_threads(1 if trial.device == "cpu" else 8)
    test = case(trial.sample, 1000 + trial.seed, TEST_PITCH_PX)
    row: Row = {"sample": trial.sample, "method": trial.method, "seed": trial.seed, "steps": trial.steps}
    began = time.process_time()
    if trial.method in BASELINES:
        solver: Any = ew.Local(update_probe=False, group=4, iterations=BASELINES[trial.method])
        (lesson,) = training_data(ALONE, [ew.TrainingExample(scan=test.scan, probe=test.probe)])
        image = alone(solver, lesson)
    else:
        solver = networks(trial.steps, width=trial.encoder_width)[trial.method]
        # Objects of the training differ between seeds, too.
        train = [case(trial.sample, 10 * trial.seed + n, TRAIN_PITCH_PX) for n in range(trial.objects)]
        network, collapsed = learned(solver, train, trial.steps, trial.seed, trial.device)
        row |= {"parameters": sum(p.numel() for p in network.parameters()), "collapsed": collapsed}
        row["training cpu_s"] = time.process_time() - began
        began = time.process_time()
        example = ew.TrainingExample(scan=test.scan, probe=test.probe)
        (lesson,) = training_data(ALONE, [example], ew.TrainingRun(device=trial.device))
        image, _ = solver.image(network, lesson.problem, lesson.x)
    row["image cpu_s"] = time.process_time() - began
    label = label_on(lesson.problem, test.label, trial.sample)
    return trial.key, row | judged(image, replace(lesson, label=label))


def alone(solver: ew.Local, lesson: TrainingScan) -> Tensor:
    """Every cluster solved from a flat start, none learning from its neighbours; photons taken at their word, as for networks."""
    groups = neighbour_groups(lesson.problem.positions_px, solver.group)
    work = LocalWork.begin(solver, lesson.problem.model, lesson.problem.trusted, lesson.x, groups, seed=0)
    work.patchwork.scales = False
    work.solve(groups, lesson.problem.amplitudes(groups.flatten()))
    return work.image()[None]


def medians(rows: Sequence[Row]) -> None:
    """Print medians over seeds, a table for each sample."""
    for sample in dict.fromkeys(row["sample"] for row in rows):
        print(f"\n{sample}: medians over seeds")
        own = [row for row in rows if row["sample"] == sample]
        names = SHOWN + (() if sample == "lines" else SHOWN_PHASE)
        told: list[Row] = []
        for method in dict.fromkeys(row["method"] for row in own):
            mine = [row for row in own if row["method"] == method]
            middle = {name: statistics.median(row[name] for row in mine) for name in names}
            told.append({"method": method, **middle, "seeds": len(mine)})
        print_table(told)


def run(
    *,
    full: Annotated[bool, "the paper's configuration: 9 objects, 42,000 steps, width 2"] = False,
    samples: tuple[Literal["lines", "grf", "features"], ...] = SAMPLES,
    methods: Annotated[tuple[str, ...], "only these ways to train, such as 'pinn unet', or to do without"] = (),
    seeds: Seeds = SEEDS,
    steps: Annotated[int | None, "500 if not stated, 42,000 with --full"] = None,
    device: str = "cpu",
    again: Annotated[bool, "run anew what is known already"] = False,
    workers: Annotated[int | None, "trainings at a time, one thread each"] = None,
    out: Out = None,
) -> None:
    """Run what is missing, keep every result at once, print the table."""
    known = [*BASELINES, *networks(1)]
    if strange := set(methods) - set(known):
        raise SystemExit(f"there is no method {sorted(strange)}; the methods are {', '.join(known)}")
    asked = [
        Trial(
            sample=sample,
            method=method,
            seed=seed,
            steps=0 if method in BASELINES else steps or (FULL_STEPS if full else STEPS),
            device=device,
            objects=9 if full else 2,
            encoder_width=2.0 if full else ENCODER_WIDTH,
        )
        # The quickest answers first.
        for seed, method, sample in product(seeds, methods or known, samples)
    ]
    path = out or record.RESULTS / ("pinn_full.json" if full else "pinn.json")
    found = record.read(path) or {"runs": {}}
    missing = [trial for trial in asked if again or trial.key not in found["runs"]]
    workers = workers or (1 if device != "cpu" else os.cpu_count() or 1)
    print(f"{len(asked)} runs, {len(missing)} to do, {workers} at a time", flush=True)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(one, trial) for trial in missing]):
            key, row = done.result()
            found["runs"][key] = row
            found |= {
                "machine": record.machine(),
                "device": device,
                "date": record.today(),
                "objects": asked[0].objects,
            }
            record.write(found, path)
            print(f"{key}: {row['M-MAE-amplitude']:.4f} {row['M-FRC50-amplitude']:.0f}", flush=True)
    medians([found["runs"][trial.key] for trial in asked])
