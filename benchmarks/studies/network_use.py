"""Where a network earns its place: the shipped network against no network, by dose, probe, overlap, and for single shots.

About ten minutes on 2 cores. The network is `general`, which has seen neither these objects' seeds, nor blood cells, nor
measured probes (study shipped_network). Beside it `local`, conjugate gradients on the same groups of 16 frames, and a few epochs of
`newton`, all with the probe known. Errors are NRMSE of the object, one complex factor removed, where the light of the scan
is at least half its maximum; CPU seconds a frame are of one thread.
"""

import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.io import loadmat
from torch import Tensor

import exitwave as ew
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.running.train import training_data
from exitwave.simulation.objects import OBJECTS
from exitwave.simulation.probes import disc, zone_plate
from exitwave.simulation.trajectories import TRAJECTORIES
from exitwave.solvers.neural.labels import label_on
from harness.command_line import Parts
from harness.problems import DATA
from harness.tables import Part, Row, measured

REAL = DATA / "objects_probes"
GEOMETRY = ew.Geometry.from_energy(8000.0, 2.0, (75e-6, 75e-6))
FRAME_PX, FRAMES = 64, 196
DIAMETER_PX = 28.0
SEEDS = (31, 32, 33)
NETWORK = "general"


def probe_of(name: str, frame_px: int = FRAME_PX) -> Tensor:
    """A flat disc, a zone plate behind its focus, or a measured probe in frames of its own size."""
    if name == "flat":
        return disc((frame_px, frame_px), diameter_px=DIAMETER_PX)
    if name == "curved":
        return zone_plate((frame_px, frame_px), diameter_px=DIAMETER_PX)
    return measured_probes()[name]


def measured_probes() -> Mapping[str, Tensor]:
    """Probes of three beamlines, cut or padded to even frames; empty where the files are not there."""
    found: dict[str, Tensor] = {}
    if (REAL / "aps_velociprobe_probe_2modes_positions.npz").is_file():
        modes = np.load(REAL / "aps_velociprobe_probe_2modes_positions.npz", allow_pickle=False)["probe"]
        # 256 px of 8 nm, of which the middle half holds the light.
        found["velociprobe"] = torch.from_numpy(modes[0, 64:192, 64:192].copy())
        found["gold balls"] = torch.from_numpy(loadmat(REAL / "cdtools_gold_balls_recon.mat")["probe"][0])
        found["mbptycho"] = torch.from_numpy(loadmat(REAL / "mbptycho_probe_29902.mat")["prb"])[2:98, 2:98]
    return {name: probe.to(torch.complex64) for name, probe in found.items()}


class Case:
    """A scan with known probe, and how far an image of it is off."""

    def __init__(self, sample: str, probe: Tensor, *, photons: float, step_px: float, seed: int) -> None:
        size = probe.shape[-1]
        positions = TRAJECTORIES["jittered"](FRAMES, step_px, seed=seed) + 4
        height, width = (math.ceil(float(last)) + size + 4 for last in positions.amax(dim=0))
        made = ew.measure(
            OBJECTS[sample]((height, width), seed=seed),
            probe,
            positions,
            GEOMETRY,
            detection=ew.Detection(photons_per_frame=photons),
            seed=seed,
        )
        example = ew.TrainingExample(scan=made.scan, probe=made.truth.probe)
        (lesson,) = training_data(ew.PtychoPINN(warm_start=None), [example])
        self.problem: PtychographyProblem = lesson.problem
        # The true probe, its photons those of a mean frame, as every run has it that is given a probe.
        self.start: ew.PtychoEstimate = lesson.x
        light = torch.zeros(self.problem.object_shape)
        power = probe.abs().square()
        for row, column in self.start.positions_px.round().long().tolist():
            light[row : row + size, column : column + size] += power
        self.judged = light > 0.5 * light.max()
        self.answer = replace(self.start, object=label_on(self.problem, made.truth, "truth"))
        self.truth = self.answer.object[0][self.judged]

    def left(self) -> float:
        """The residual that noise leaves of the true object, scaled to the photons that were counted."""
        frames = torch.arange(len(self.problem))
        bright = self.problem.model.intensity(self.answer, frames).mul(self.problem.trusted).sum()
        scale = math.sqrt(self.problem.power / float(bright))
        return self.problem.residual(replace(self.answer, object=scale * self.answer.object))

    def error(self, x: ew.PtychoEstimate) -> float:
        """NRMSE of the object."""
        a = x.object[0][self.judged]
        factor = torch.vdot(a, self.truth) / torch.vdot(a, a)
        return float((factor * a - self.truth).norm() / self.truth.norm())

    def row(self, solver: ew.Solver[Any]) -> tuple[float, float]:
        """Error, and CPU milliseconds a frame."""
        began = time.process_time()
        *_, last = solver.solve(self.problem, ew.Step(epoch=0, estimate=self.start))
        return self.error(last.estimate), 1e3 * (time.process_time() - began) / len(self.problem)


def methods() -> dict[str, ew.Solver[Any]]:
    """What is compared."""
    found: dict[str, ew.Solver[Any]] = {"network": ew.from_spec(NETWORK)}
    for iterations in (10, 20):
        found[f"local K={iterations}"] = ew.Local(update_probe=False, iterations=iterations)
    return found


def measured_row(named: Row, made: Mapping[str, Any], extra: Mapping[str, ew.Solver[Any]]) -> Row:
    """Medians over seeds of all methods on such scans."""
    solvers = {**methods(), **extra}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in solvers}
    flat: list[float] = []
    for seed in SEEDS:
        case = Case(**{"photons": 1e7, "step_px": 6.0, **made, "seed": seed})
        flat.append(case.error(case.start))
        for name, solver in solvers.items():
            found[name].append(case.row(solver))
    row: Row = {**named, "flat": statistics.median(flat)}
    for name, pairs in found.items():
        row[name] = statistics.median(error for error, _ in pairs)
        row[f"{name}, ms"] = statistics.median(ms for _, ms in pairs)
    return row


NEWTON = {
    "newton 5": ew.QuasiNewton(epochs=5, update_probe=False),
    "newton 10": ew.QuasiNewton(epochs=10, update_probe=False),
    "newton 20": ew.QuasiNewton(epochs=20, update_probe=False),
}


def dose() -> list[Row]:
    """Error against photons a frame; blood cells and lines, flat and curved probe, 79 % overlap."""
    return [
        measured_row(
            {"sample": sample, "probe": name, "photons": photons},
            {"sample": sample, "probe": probe_of(name), "photons": photons},
            NEWTON,
        )
        for sample in ("cells", "lines")
        for name in ("flat", "curved")
        for photons in (1e4, 1e5, 1e6, 1e8)
    ]


def overlap() -> list[Row]:
    """Error against the step of the scan, curved probe, 1e6 photons; blood cells."""
    return [
        measured_row(
            {"step px": step, "overlap": round(1 - step / DIAMETER_PX, 2)},
            {"sample": "cells", "probe": probe_of("curved"), "photons": 1e6, "step_px": step},
            NEWTON,
        )
        for step in (4.0, 8.0, 12.0, 16.0, 20.0)
    ]


def probes() -> list[Row]:
    """Probes that the network has never seen, measured at three beamlines, 1e6 photons; blood cells."""
    return [
        measured_row(
            {"probe": name, "frame px": probe.shape[-1]},
            {"sample": "cells", "probe": probe, "photons": 1e6, "step_px": 0.1 * probe.shape[-1]},
            NEWTON,
        )
        for name, probe in measured_probes().items()
    ]


def single() -> list[Row]:
    """Single shots: every pattern imaged alone (group 1), by a network trained so on two other scans (600 steps of 16 patterns)
    and by K iterations of conjugate gradients; lines, a disc of phase curvature r^2, step 12 px. newton sees the overlaps."""
    rows: list[Row] = []
    for curvature in (0.0, 0.01, 0.03):
        axis = torch.arange(FRAME_PX) - FRAME_PX // 2
        probe = probe_of("flat") * torch.exp(1j * curvature * (axis[:, None] ** 2 + axis**2))
        for photons in (1e9, 1e6):
            train = [Case("lines", probe, photons=photons, step_px=12.0, seed=seed) for seed in (61, 62)]
            with tempfile.TemporaryDirectory() as folder:
                network = ew.train(
                    ew.PtychoPINN(network=ew.UnrolledUNet(stages=4), group=1, batch=16, epochs=24),
                    [ew.TrainingExample(scan=case.problem.scan, probe=case.start.probe) for case in train],
                    save=folder,
                )
                methods: dict[str, ew.Solver[Any]] = {
                    "network": network,
                    "alone K=20": ew.Local(update_probe=False, group=1, batch=FRAMES, iterations=20),
                    "alone K=60": ew.Local(update_probe=False, group=1, batch=FRAMES, iterations=60),
                    "newton 20": NEWTON["newton 20"],
                }
                tests = [Case("lines", probe, photons=photons, step_px=12.0, seed=seed) for seed in SEEDS]
                flat = statistics.median(case.error(case.start) for case in tests)
                row: Row = {"curvature": curvature, "photons": photons, "flat": flat}
                for name, solver in methods.items():
                    found = [case.row(solver) for case in tests]
                    row[name] = statistics.median(error for error, _ in found)
                    row[f"{name}, ms"] = statistics.median(ms for _, ms in found)
            rows.append(row)
    return rows


def refined() -> list[Row]:
    """Residual after rPIE (probe refined too) from an empty object and from the network; newton's 5 epochs as a start beside it,
    and what the noise leaves of the truth."""
    rows: list[Row] = []
    short = ew.RPIE(epochs=20)
    chains: dict[str, ew.Solver[Any]] = {
        "rpie 20": short,
        "rpie 100": ew.RPIE(epochs=100),
        "network, rpie 20": ew.chain(ew.from_spec(NETWORK), short),
        "newton 5, rpie 20": ew.chain(NEWTON["newton 5"], short),
    }
    for sample, name in (("cells", "curved"), ("lines", "curved"), ("cells", "flat")):
        made = [Case(sample, probe_of(name), photons=1e6, step_px=6.0, seed=seed) for seed in SEEDS]
        row: Row = {"sample": sample, "probe": name}
        row["truth"] = statistics.median(case.left() for case in made)
        for label, solver in chains.items():
            ends = [list(solver.solve(case.problem, ew.Step(epoch=0, estimate=case.start)))[-1] for case in made]
            found = [case.problem.residual(end.estimate) for case, end in zip(made, ends, strict=True)]
            row[label] = statistics.median(found)
            row[f"{label}, error"] = statistics.median(
                case.error(end.estimate) for case, end in zip(made, ends, strict=True)
            )
        rows.append(row)
    return rows


PARTS = {study.__name__: study for study in (dose, overlap, probes, single, refined)}


def run(*, parts: Parts = ()) -> Iterator[Part]:
    """Measure the parts asked for."""
    # CPU seconds are told, of one thread.
    torch.set_num_threads(1)
    yield from measured(PARTS, parts)
