"""What a dim scan gains from a bright one under the same beam: its image with a shared probe, and alone.

A few minutes. The first scan has 121 frames of 1e6 photons, the second, of another sample, fewer frames with a hundredth or a
tenth of the photons; both in frames of 64 pixels, probe unknown, overlap 70 %. Errors are M-NRMSE of the second image
against the truth, medians over three seeds, which nothing was tuned on.
"""

import statistics
from collections.abc import Iterator

import torch

import exitwave as ew
from harness.command_line import Epochs, Parts, Solvers
from harness.solvers import make
from harness.tables import Part, Row, measured

SEEDS = (71, 72, 73)
PHOTONS, FRAME_PX, OVERLAP = 1e6, 64, 0.7
METHODS = ("newton", "rpie", "lsqml")


def scans(seed: int, frames: int, dimmer: float, sample: str) -> tuple[ew.Simulated, ew.Simulated]:
    """The bright scan and the dim one, under one probe."""
    first = ew.simulate("circuit", frames=121, frame_px=FRAME_PX, overlap=OVERLAP, photons_per_frame=PHOTONS, seed=seed)
    second = ew.simulate(
        sample, frames=frames, frame_px=FRAME_PX, overlap=OVERLAP, photons_per_frame=PHOTONS / dimmer, seed=seed + 500
    )
    return first, second


def compared(name: str, epochs: Epochs, frames: int, dimmer: float, sample: str) -> Row:
    """Errors of the second scan, medians over the seeds, and in how many of them sharing helped."""
    solver = make(name, epochs=epochs)
    assert solver is not None
    alone: list[float] = []
    shared: list[float] = []
    for seed in SEEDS:
        first, second = scans(seed, frames, dimmer, sample)
        by_itself = ew.reconstruct(second.scan, solver, setup=ew.Setup(device="cpu", seed=seed))
        together = ew.reconstruct([first.scan, second.scan], solver, setup=ew.Setup(device="cpu", seed=seed))
        alone.append(ew.evaluate(by_itself, truth=second.truth).metrics["M-NRMSE"])
        shared.append(ew.evaluate(together[1], truth=second.truth).metrics["M-NRMSE"])
    better = sum(one < other for one, other in zip(shared, alone, strict=True))
    return {
        "solver": name,
        "sample": sample,
        "frames": frames,
        "photons": PHOTONS / dimmer,
        "alone": statistics.median(alone),
        "shared": statistics.median(shared),
        "better": f"{better} of {len(SEEDS)}",
    }


def run(*, parts: Parts = (), solvers: Solvers = (), epochs: Epochs = 40) -> Iterator[Part]:
    """Measure the parts asked for."""
    torch.set_num_threads(1)

    def dim() -> list[Row]:
        """A second scan with a hundredth of the photons a frame; few frames."""
        return [compared(name, epochs, 25, 100, "cells") for name in solvers or METHODS]

    def few() -> list[Row]:
        """A second scan of nine frames, with a tenth of the photons a frame."""
        return [compared(name, epochs, 9, 10, "siemens") for name in solvers or METHODS]

    yield from measured({study.__name__: study for study in (dim, few)}, parts)
