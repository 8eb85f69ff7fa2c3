"""Frames per second of trained networks, stage by stage: network alone, with the physics around it, stitched, with residual.

Some 20 minutes on 2 idle cores. Weights are random, which changes no time. Where there is a GPU it is measured, too.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import exitwave as ew
from exitwave.problems.groups.neighbours import Grouping
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.threads import run_in_threads, single_threaded
from exitwave.simulation.objects import textured
from exitwave.simulation.probes import zone_plate
from exitwave.simulation.trajectories import raster
from exitwave.solvers.neural.prediction import predicted
from exitwave.solvers.neural.reconstruction_network import ReconstructionNetwork
from exitwave.solvers.neural.runtimes import Precision, Runtime, engine_for
from exitwave.solvers.neural.training_data import group_batch
from harness.tables import Row, shown

GEOMETRY = ew.Geometry.from_energy(8000.0, 2.0, (75e-6, 75e-6))
MARGIN_PX = 4
NETWORKS = {
    "unet": ew.PtychoPINN(),
    "unet, from back-projections": ew.PtychoPINN(warm_start=None, network=ew.UnrolledUNet(stages=4)),
    "encoder": ew.PtychoPINN(network=ew.PatchEncoder(width=2.0), group=4),
}
"""Ours as it is by default, and the published one: twice the basic width, four frames together."""
RUNTIMES: tuple[tuple[Runtime, Precision], ...] = (
    ("torch", "32"),
    ("torch", "bf16"),
    ("onnx", "32"),
    ("openvino", "32"),
    ("openvino", "bf16"),
)
SIZES, BATCHES, THREADS = (64, 128), (1, 32, 256), (1, 2)
GPU_BATCH = 4096
ENOUGH_S = 4.0
"""Repetitions end after so long, but not before the first."""


@dataclass(frozen=True, eq=False)
class Case:
    """A scan, and an estimate with an empty object."""

    problem: PtychographyProblem
    x: ew.PtychoEstimate


def case(frame_px: int, side: int, *, device: str = "cpu", whole: bool = True) -> Case:
    """`side` x `side` frames a twelfth of the frame apart; the patterns are those of whole pixels, which changes no time."""
    shape, step = (frame_px, frame_px), max(1, frame_px // 12)
    positions = raster((side, side), float(step)) + MARGIN_PX
    extent = (side - 1) * step + frame_px + 2 * MARGIN_PX
    probe = zone_plate(shape, diameter_px=0.47 * frame_px, aperture=0.7)
    made = ew.measure(textured((extent, extent), seed=1), probe, positions, GEOMETRY, seed=1)
    problem = PtychographyProblem.of(made.scan, margin_px=MARGIN_PX, device=device)
    shift = 0 if whole else torch.rand(len(positions), 2, generator=torch.Generator().manual_seed(0)) - 0.5
    x = ew.PtychoEstimate(
        object=torch.ones(1, *problem.object_shape, dtype=torch.complex64),
        probe=made.truth.probe,
        positions_px=problem.positions_px + shift,
    )
    return Case(replace(problem, positions_px=x.positions_px), x.to(torch.device(device)))


@dataclass(frozen=True)
class Clock:
    """How often work is repeated."""

    repetitions: int
    synchronise: Callable[[], None] = lambda: None

    def seconds(self, work: Callable[[], Any]) -> float:
        """Median time of some work, after one run to get ready."""
        self._once(work)
        times = [self._once(work)]
        while len(times) < self.repetitions and sum(times) < ENOUGH_S:
            times.append(self._once(work))
        return statistics.median(times)

    def _once(self, work: Callable[[], Any]) -> float:
        began = time.perf_counter()
        work()
        self.synchronise()
        return time.perf_counter() - began


@dataclass(frozen=True, eq=False)
class Course:
    """One network on one scan, in batches of so many frames."""

    case: Case
    network: ReconstructionNetwork
    members: Tensor
    """The groups of a batch."""
    groups: Grouping
    batch: int
    """Frames."""
    solver: ew.PtychoPINN

    @classmethod
    def of(cls, found: Case, name: str, network: ReconstructionNetwork, batch: int) -> "Course":
        """A single frame is a group of its own where the network can; the published one takes four at least."""
        group = NETWORKS[name].group if name == "encoder" else min(NETWORKS[name].group, batch)
        groups = replace(NETWORKS[name], group=group).groups
        members = groups.covering(found.problem.positions_px)[: max(1, batch // group)]
        return cls(found, network, members, groups, members.numel(), NETWORKS[name])

    @torch.no_grad()
    def images(self) -> Tensor:
        """Amplitudes gathered, canvases, back-projection, network and all steps between its parts: for one batch."""
        begun = self.solver.has_warm_start
        return self.network([group_batch(self.case.problem, self.case.x, self.members, begun=begun)])[0].image

    def inputs(self) -> list[Tensor]:
        """What each part of the network gets in such a batch."""
        seen: list[Tensor] = []
        kept, self.network.engine = self.network.engine, self._noting(seen)
        self.images()
        self.network.engine = kept
        return seen

    def _noting(self, seen: list[Tensor]) -> Callable[[int, Tensor], Tensor]:
        def note(number: int, inputs: Tensor) -> Tensor:
            seen.append(inputs.clone())
            return self.network.parts[number](inputs)

        return note

    @torch.no_grad()
    def alone(self, inputs: Sequence[Tensor]) -> None:
        """The network without anything else."""
        for number, images in enumerate(inputs):
            self.network.run(number, images)

    def stitched(self) -> Tensor:
        """The whole scan as one image, the epochs of newton before the network included."""
        problem, begun = self.case.problem, self.solver.has_warm_start
        x = self.solver.warm_started(problem, self.case.x)
        return predicted(self.network, problem, x, grouping=self.groups, together=self.batch, begun=begun).image

    def flops_per_frame(self, inputs: Sequence[Tensor]) -> float:
        """Of the network, a multiplication and an addition being two."""
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            for part, images in zip(self.network.parts, inputs, strict=True):
                part(images)
        return counter.get_total_flops() / self.batch


def ready(found: Case, name: str, runtime: Runtime, precision: Precision) -> ReconstructionNetwork:
    """A network, computed where it is asked to be."""
    shape = found.problem.scan.frame_shape
    network = NETWORKS[name].fresh((shape[0], shape[1]), 0).to(found.problem.device).eval()
    network.engine = engine_for(runtime, network, None, precision)
    return network


@torch.no_grad()
def peak(precision: Precision, clock: Clock, device: str = "cpu") -> float:
    """Operations a second of the product of two large matrices, or of a large convolution where that is faster.

    A convolution is a product of matrices, too. torch's product of 32-bit matrices (MKL) has not half the speed of its
    convolutions (oneDNN) on processors of AMD, and would give networks more than all.
    """
    size, images = (2048, 8) if device == "cpu" else (8192, 256)
    dtype = torch.float32 if precision == "32" else torch.bfloat16
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    shapes = ((images, 256, 32, 32), (256, 256, 3, 3))
    x, w = (torch.randn(s, device=device).to(dtype).to(memory_format=torch.channels_last) for s in shapes)
    product = 2 * size**3 / clock.seconds(lambda: a @ b)
    convolution = 2 * images * 32**2 * 256**2 * 9 / clock.seconds(lambda: torch.nn.functional.conv2d(x, w, padding=1))
    return max(product, convolution)


def rates(course: Course, threads: int, residual_s: float, clock: Clock) -> Row:
    """Frames a second of each stage, all before it included; every thread has a batch of its own, as in prediction."""
    inputs, frames = course.inputs(), threads * course.batch
    with single_threaded():
        network_s = clock.seconds(lambda: run_in_threads(lambda _: course.alone(inputs), threads))
        physics_s = clock.seconds(lambda: run_in_threads(lambda _: course.images(), threads))
    scan_frames = len(course.case.problem)
    stitched_s = clock.seconds(course.stitched)
    return {
        "network": frames / network_s,
        "physics": frames / physics_s,
        "stitched": scan_frames / stitched_s,
        "residual": scan_frames / (stitched_s + residual_s),
        "flops_per_frame": course.flops_per_frame(inputs),
    }


def networks(frame_px: int, side: int, clock: Clock) -> list[Row]:
    """All networks, runtimes, batches and threads for frames of this size."""
    rows: list[Row] = []
    found = case(frame_px, side)
    for threads in THREADS:
        torch.set_num_threads(threads)
        peaks = {precision: peak(precision, clock) for precision in ("32", "bf16")}
        residual_s = clock.seconds(lambda: found.problem.residual(found.x))
        for name in NETWORKS:
            for runtime, precision in RUNTIMES:
                network = ready(found, name, runtime, precision)
                for batch in BATCHES:
                    course = Course.of(found, name, network, batch)
                    told: Row = {"frame_px": frame_px, "threads": threads, "network_kind": name, "runtime": runtime}
                    told |= {
                        "precision": precision,
                        "batch": course.batch,
                        "group": course.groups.size,
                        "positions": "whole",
                    }
                    rows.append(shown({**told, **of_peak(rates(course, threads, residual_s, clock), peaks[precision])}))
        rows += [
            shown({"frame_px": frame_px, "threads": threads, **row})
            for row in (subpixel(frame_px, side, threads, clock), *without(found, threads, clock))
        ]
    return rows


def of_peak(row: Row, most: float) -> Row:
    """With the share of the peak that the network alone reaches."""
    return {**row, "peak_gflops": most / 1e9, "of_peak": row["network"] * row["flops_per_frame"] / most}


def subpixel(frame_px: int, side: int, threads: int, clock: Clock) -> Row:
    """Our network with torch where every frame has a probe of its own."""
    found = case(frame_px, side, whole=False)
    course = Course.of(found, "unet", ready(found, "unet", "torch", "32"), BATCHES[-1])
    residual_s = clock.seconds(lambda: found.problem.residual(found.x))
    told: Row = {"network_kind": "unet", "runtime": "torch", "precision": "32", "batch": course.batch}
    return {**told, "group": course.groups.size, "positions": "sub-pixel", **rates(course, threads, residual_s, clock)}


def without(found: Case, threads: int, clock: Clock) -> list[Row]:
    """No network at all: the local solver with known probe, a group for each thread at a time, residual included."""
    rows: list[Row] = []
    for iterations in (5, 20):
        solver = ew.Local(update_probe=False, iterations=iterations, batch=threads)
        start = ew.Step(epoch=0, estimate=found.x)
        seconds = clock.seconds(lambda solver=solver, start=start: list(solver.solve(found.problem, start)))
        rows.append({"network_kind": f"local, K={iterations}", "residual": len(found.problem) / seconds})
    return rows


def gpu(frame_px: int, side: int, clock: Clock) -> list[Row]:
    """All networks with torch on a GPU, in large batches."""
    found = case(frame_px, side, device="cuda")
    residual_s = clock.seconds(lambda: found.problem.residual(found.x))
    rows: list[Row] = []
    precisions: tuple[Precision, ...] = ("32", "bf16")
    for precision in precisions:
        most = peak(precision, clock, "cuda")
        for name in NETWORKS:
            network = ready(found, name, "torch", precision)
            course = Course.of(found, name, network, min(GPU_BATCH, len(found.problem)))
            told: Row = {"frame_px": frame_px, "threads": "GPU", "network_kind": name, "runtime": "torch"}
            told |= {"precision": precision, "batch": course.batch, "group": course.groups.size, "positions": "whole"}
            rows.append(shown({**told, **of_peak(rates(course, 1, residual_s, clock), most)}))
    return rows


def run(
    *, quick: Annotated[bool, "whether it runs: small scans, one repetition, nothing kept"] = False
) -> list[Row] | None:
    """Measure on the processor and, where there is one, on the GPU."""
    clock, before = Clock(1 if quick else 5), torch.get_num_threads()
    rows = [row for px in SIZES for row in networks(px, 6 if quick else 32, clock)]
    torch.set_num_threads(before)
    if torch.cuda.is_available():
        synchronised = replace(clock, synchronise=torch.cuda.synchronize)
        rows += [row for px in SIZES for row in gpu(px, 6 if quick else math.isqrt(2 * GPU_BATCH), synchronised)]
    return None if quick else rows
