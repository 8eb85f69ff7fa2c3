"""Made crystals (3D Bragg CDI) phased from random starts by the usual recipe: how many of the starts find the crystal.

Each row is one crystal of 32^3 voxels at 1e6 counts in its brightest voxel: the structural similarity (windows of 7^3 voxels)
of the amplitude with the truth, after shift, twin and scale, of each start, least and largest; how many exceed 0.94; residual.
Most voxels are empty and alike, so that the least correlation of the complex images is told beside it.
Epochs, blur and threshold are those that are usual for such crystals; none was chosen on these seeds.
"""

import time
from dataclasses import replace
from typing import Annotated

from skimage.metrics import structural_similarity
from torch import Tensor

import exitwave as ew
from exitwave.evaluation.cdi_alignment import register_twin
from harness.command_line import Seeds
from harness.tables import Row, shown

REACHED = 0.94
WINDOW_PX = 7
RECIPE = ew.CDI(er=20, hio=160, finish=0, cycles=3, threshold=0.12, sigma_start_px=2.0, sigma_end_px=1.0)
KEY = ("phase_span_rad", "oversampling", "seed")


def run(
    *,
    seeds: Seeds = (201, 202, 203, 204, 205, 206),
    phase_spans_rad: Annotated[tuple[float, ...], "largest less smallest phase in the crystal"] = (2.0, 4.0, 6.0),
    oversampling: Annotated[float, "size of the array over that of the crystal"] = 3.0,
    starts: Annotated[int, "random starts of each crystal"] = 5,
    frame_px: Annotated[int, "voxels along each axis"] = 32,
) -> list[Row]:
    """One row for each crystal."""
    rows: list[Row] = []
    for span in phase_spans_rad:
        experiment = ew.RockingExperiment(
            angles=frame_px, phase_span_rad=span, oversampling=oversampling, peak_photons=1e6
        )
        for seed in seeds:
            made = ew.simulate_crystal(experiment, frame_px=frame_px, seed=seed)
            told = {"phase_span_rad": span, "oversampling": oversampling, "seed": seed}
            rows.append(shown(told | solved(made, starts)))
    return rows


def solved(made: ew.Simulated[ew.RockingCurve, ew.BraggEstimate], starts: int) -> Row:
    """How like the truth each start ends."""
    found: dict[str, Tensor] = {}
    begun = time.process_time()
    solver = replace(RECIPE, starts=starts, keep=starts)
    ew.reconstruct(made.scan, solver, watch=lambda step, _: found.update(step.state))
    each = [found[f"best_of.found.{number}.object"] for number in range(starts)]
    laid = [register_twin(obj, made.truth.object) for obj in each]
    similar = [similarity(image.image, made.truth.object) for image in laid]
    residuals = found["best_of.found.residuals"].tolist()
    return {
        "starts_right": sum(value > REACHED for value in similar),
        "starts": starts,
        "least_ssim": min(similar),
        "largest_ssim": max(similar),
        "least_correlation": min(image.correlation for image in laid),
        "least_residual": min(residuals),
        "largest_residual": max(residuals),
        "cpu_seconds": round(time.process_time() - begun, 1),
    }


def similarity(obj: Tensor, truth: Tensor) -> float:
    """Of the amplitudes, after the scale that fits best; the object in the truth's pose."""
    amplitude, true = obj.abs(), truth.abs()
    scaled = amplitude * float((amplitude * true).sum() / amplitude.square().sum().clamp(min=1e-30))
    return float(structural_similarity(true.numpy(), scaled.numpy(), win_size=WINDOW_PX, data_range=1.0))
