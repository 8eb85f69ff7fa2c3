"""How good and how fast `local` is: quality against iterations, group, dose and curvature of the probe; frames per second.

Two to three minutes on 2 idle cores. Options were chosen on other seeds than those measured here.
Errors are NRMSE of the object, one complex factor removed, where the light of the scan is at least half its maximum.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

import exitwave as ew
from exitwave.physics.fourier import fft2, ifft2, to_centre
from exitwave.physics.interaction import split_positions
from exitwave.physics.kernels.reference import scatter_add_
from exitwave.problems.initial_guess import first_guess
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.simulation.objects import lines, textured
from harness.command_line import Parts
from harness.tables import Part, Row, measured

GEOMETRY = ew.Geometry.from_energy(8000.0, 2.0, (75e-6, 75e-6))
FRAME_PX = 64
RADIUS_PX = 20.0
SEEDS = (11, 12)
MARGIN_PX = 4


@dataclass(frozen=True, eq=False)
class Case:
    """A scan with its truth: a disc-like probe with phase `curvature` r^2, on a raster."""

    problem: PtychographyProblem
    start: ew.PtychoEstimate
    """Flat object, true probe."""
    truth: Tensor
    judged: Tensor

    def error(self, x: ew.PtychoEstimate) -> float:
        """NRMSE of the object."""
        a, b = x.object[0][self.judged], self.truth[self.judged]
        factor = torch.vdot(a, b) / torch.vdot(a, a)
        return float((factor * a - b).norm() / b.norm())

    def solved(self, solver: ew.Solver[Any]) -> ew.PtychoEstimate:
        """What a solver makes of it."""
        *_, last = solver.solve(self.problem, ew.Step(epoch=0, estimate=self.start))
        return last.estimate


def case(
    sample: str = "textured",
    *,
    curvature: float = 0.06,
    step_px: int = 4,
    side: int = 16,
    photons: float = 1e9,
    seed: int = 11,
) -> Case:
    """A raster of `side` x `side` frames; `lines` have a phase tied to their amplitude, `textured` has one of its own."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    corners = torch.stack([rows.flatten(), columns.flatten()], dim=1) * step_px
    extent = (side - 1) * step_px + FRAME_PX
    obj = textured((extent, extent), seed=seed) if sample == "textured" else _complex_lines(extent, seed)
    axis = torch.arange(FRAME_PX) - FRAME_PX // 2
    squared = (axis[:, None] ** 2 + axis[None, :] ** 2).to(torch.float32)
    probe = torch.polar(torch.exp(-0.5 * (squared / RADIUS_PX**2) ** 4), curvature * squared)
    probe = probe * math.sqrt(photons) / probe.norm()
    windows = torch.stack([obj[y : y + FRAME_PX, x : x + FRAME_PX] for y, x in corners.tolist()])
    noise = torch.Generator().manual_seed(seed)
    patterns = torch.poisson(to_centre(fft2(probe * windows).abs().square()).double(), generator=noise)
    pixel_m = torch.tensor(GEOMETRY.object_pixel_m((FRAME_PX, FRAME_PX)), dtype=torch.float64)
    scan = ew.Scan(patterns=patterns.to(torch.float32), positions_m=corners * pixel_m, geometry=GEOMETRY)
    problem = PtychographyProblem.of(scan, seed=seed, margin_px=MARGIN_PX)
    start = replace(first_guess(problem, probe=probe[None]), probe=probe[None])
    truth = torch.ones(problem.object_shape, dtype=torch.complex64)
    truth[MARGIN_PX : MARGIN_PX + extent, MARGIN_PX : MARGIN_PX + extent] = obj
    lit = torch.zeros(1, *problem.object_shape)
    light = probe.abs().square().expand(len(scan), 1, -1, -1)
    scatter_add_(lit, light, split_positions(problem.positions_px)[0])
    return Case(problem, start, truth, lit[0] > 0.5 * lit.max())


def _complex_lines(extent: int, seed: int) -> Tensor:
    amplitude = lines((extent, extent), seed=seed).abs()
    return torch.polar(amplitude, 0.25 * (amplitude - amplitude.mean()) / amplitude.std())


def known(**options: Any) -> ew.Local:
    """The solver with the probe known."""
    return ew.Local(update_probe=False, **options)


def mean_error(solver: ew.Solver[Any] | None, **made: Any) -> float:
    """Over the seeds; None judges the flat start."""
    cases = [case(seed=seed, **made) for seed in SEEDS]
    return statistics.mean(c.error(c.start if solver is None else c.solved(solver)) for c in cases)


def iterations() -> list[Row]:
    """Quality against iterations, 1e9 photons; `alone`: 20 iterations on groups of 4 that learn nothing from neighbours."""
    rows = []
    for sample in ("lines", "textured"):
        for curvature in (0.0, 0.06):
            for step_px, side in ((4, 16), (12, 10)):
                made = {"sample": sample, "curvature": curvature, "step_px": step_px, "side": side}
                row: Row = {**made, "flat": mean_error(None, **made)}
                row["alone"] = mean_error(known(group=4, batch=10**6), **made)
                row |= {f"K={n}": mean_error(known(iterations=n), **made) for n in (1, 5, 20, 60)}
                rows.append(row)
    return rows


def groups() -> list[Row]:
    """Quality against frames per group and groups solved together, 20 iterations, step 4 px."""
    rows = []
    for group, batch in ((4, 1), (9, 1), (16, 1), (25, 1), (4, 4), (16, 4), (16, 16)):
        row: Row = {"group": group, "batch": batch}
        for curvature in (0.0, 0.06):
            for sample in ("lines", "textured"):
                error = mean_error(known(group=group, batch=batch), sample=sample, curvature=curvature)
                row[f"{sample}, {curvature}"] = error
        rows.append(row)
    return rows


def dose() -> list[Row]:
    """Quality against photons per frame, step 4 px: curved probe, and flat phase (lines only)."""
    rows = []
    for photons in (1e4, 1e5, 1e6, 1e7, 1e9):
        row: Row = {"photons": photons}
        for sample in ("lines", "textured"):
            for steps in (5, 20):
                row[f"{sample}, K={steps}"] = mean_error(known(iterations=steps), sample=sample, photons=photons)
        row["lines, flat, K=20"] = mean_error(known(), sample="lines", curvature=0.0, photons=photons)
        rows.append(row)
    return rows


def curvature() -> list[Row]:
    """Quality against the curvature of the probe's phase (rad / px^2), 20 iterations, step 4 px."""
    rows = []
    for value in (0.0, 0.01, 0.03, 0.06):
        row: Row = {"curvature": value}
        for sample in ("lines", "textured"):
            row[f"{sample}, alone"] = mean_error(known(group=4, batch=10**6), sample=sample, curvature=value)
            row[sample] = mean_error(known(), sample=sample, curvature=value)
        rows.append(row)
    return rows


def speed() -> list[Row]:
    """Frames per second of one sweep over 576 frames of 64 px, the residual's extra pass included; beside the FFTs alone."""
    made = case(side=24)
    rows = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        floor = _fft_seconds()
        for steps, group, batch in ((5, 16, 1), (20, 16, 1), (60, 16, 1), (20, 16, 4), (20, 4, 1)):
            solver = known(iterations=steps, group=group, batch=batch)
            seconds = statistics.median(_seconds(lambda solver=solver: made.solved(solver)) for _ in range(2))
            frames = len(made.problem)
            ratio = seconds / (frames * steps * floor)
            row: Row = {"threads": threads, "K": steps, "group": group, "batch": batch}
            rows.append(row | {"frames/s": frames / seconds, "times the FFTs": ratio})
    torch.set_num_threads(before)
    return rows


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _fft_seconds() -> float:
    """Of a forward and an inverse transform of one frame, in chunks of 16."""
    waves = torch.randn(16, 1, FRAME_PX, FRAME_PX, dtype=torch.complex64)
    _seconds(lambda: ifft2(fft2(waves)))
    return min(_seconds(lambda: ifft2(fft2(waves))) for _ in range(200)) / len(waves)


PARTS = {study.__name__: study for study in (iterations, groups, dose, curvature, speed)}


def run(*, parts: Parts = ()) -> Iterator[Part]:
    """Measure the parts asked for."""
    yield from measured(PARTS, parts)
