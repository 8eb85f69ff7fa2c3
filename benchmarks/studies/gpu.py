"""On a machine with a GPU: do its kernels agree with their definition, and how fast is an epoch?

For 64, 128 and 256 pixels, frames a second of rpie, awf and lsqml, the time of an epoch over that of the forward
and inverse transforms of all frames, and the memory traffic of an epoch over the measured copy bandwidth.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch

import exitwave as ew
from exitwave.physics.kernels import dispatch as verbs, reference
from exitwave.problems.initial_guess import first_guess
from exitwave.problems.setup import Setup
from exitwave.running.pose import pose
from exitwave.solvers.base import Step
from exitwave.solvers.spec import from_spec
from harness import record
from harness.tables import Row, shown

SIZES = {64: 4096, 128: 2048, 256: 512}
SPECS = ({"name": "rpie", "batch": 256}, {"name": "awf"}, {"name": "lsqml", "batch": 256})
EPOCHS = 12


def run(*, out: Annotated[Path, "write here instead"] = record.RESULTS / "gpu.json") -> None:
    """Measure, and keep the rows with the device."""
    if not torch.cuda.is_available():
        raise SystemExit("there is no GPU here that torch can use; run this on a machine with one")
    worst = agreement()
    copy = copy_bytes_per_second()
    about = {
        "device": torch.cuda.get_device_name(),
        **record.circumstances(["gpu"]),
        "largest_relative_deviation": worst,
        "copy_gigabytes_per_second": copy / 1e9,
        "rows": [shown(row) for size, frames in SIZES.items() for row in speed(size, frames, copy)],
    }
    record.write(about, out)
    print(f"kernels agree to {worst:.1e}, copies run at {copy / 1e9:.0f} GB/s")
    if worst >= 1e-5:
        raise SystemExit("the kernels do not agree with their definition")


def agreement() -> float:
    """Largest relative deviation of any kernel from its definition, on frames of 128 pixels with 3 modes."""
    generator = torch.Generator("cuda").manual_seed(0)

    def waves(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.complex64, generator=generator, device="cuda")

    corners = torch.randint(0, 300, (64, 2), generator=torch.Generator().manual_seed(1))
    canvas, probes, change = waves(430, 431), waves(1, 3, 128, 128), waves(64, 3, 128, 128)
    stack = torch.rand(64, 128, 128, generator=generator, device="cuda")
    trusted, behind, index = torch.ones(128, 128, device="cuda"), stack[0], torch.arange(64)
    found: list[list[torch.Tensor]] = []
    for of in (verbs, reference):
        total, lit = torch.zeros_like(canvas), torch.zeros(430, 431, device="cuda")
        probe_total, seen = torch.zeros_like(probes[0]), torch.zeros(128, 128, device="cuda")
        spread, imposed = change.clone(), change.clone()
        misfit = of.impose_modulus_(imposed, stack, index, trusted, behind)
        of.add_object_(change, probes, corners, total, lit)
        of.add_probe_(change, canvas, corners, probe_total, seen)
        of.times_conjugate_window_(spread, canvas, corners, seen)
        exits = of.exit_waves(canvas, probes, corners)
        found.append([misfit, imposed, total, lit, probe_total, seen, spread, exits])
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(*found, strict=True))


def timed(work: Callable[[], object], repeats: int = 9) -> float:
    """Median seconds of a piece of work on the GPU."""
    seconds: list[float] = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def copy_bytes_per_second() -> float:
    source = torch.empty(2**28, device="cuda")
    target = torch.empty_like(source)
    return 2 * 4 * 2**28 / timed(lambda: target.copy_(source))


def speed(size: int, frames: int, copy: float) -> list[Row]:
    """One row for each solver."""
    scan = ew.simulate("textured", frame_px=size, frames=frames, seed=1).scan
    problem = pose(scan, setup=Setup(device="cuda"))
    start = first_guess(problem)
    waves = torch.randn(frames, size, size, dtype=torch.complex64, device="cuda")
    floor = timed(lambda: torch.fft.ifft2(torch.fft.fft2(waves)))
    # The least that must move: waves written and read by exit, transform, modulus, transform and sums.
    least = frames * size * size * (8 * 8 + 4) / copy
    rows: list[Row] = []
    for spec in SPECS:
        steps = from_spec({**spec, "epochs": EPOCHS}).solve(problem, Step(epoch=0, estimate=start))
        next(steps)
        epoch = timed(lambda steps=steps: next(steps), repeats=EPOCHS - 2)
        rows.append(
            {
                "solver": str(spec["name"]),
                "frame_px": size,
                "frames": frames,
                "frames_per_second": frames / epoch,
                "over_transforms": epoch / floor,
                "over_copies": epoch / least,
            }
        )
    return rows
