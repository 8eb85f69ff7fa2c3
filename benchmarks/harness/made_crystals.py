"""Made crystals that no network was trained on, posed as rocking curves, and how good what was found of them is."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Complex, Float
from skimage.metrics import structural_similarity
from torch import Tensor

import exitwave as ew
from exitwave.evaluation.cdi_alignment import register_twin
from exitwave.problems.bragg import BraggProblem
from exitwave.simulation.crystal_settings import CrystalSettings
from exitwave.simulation.rocking_curve import simulate_crystal
from exitwave.simulation.rocking_experiment import RockingExperiment
from exitwave.solvers.neural.crystal_data import MadeCrystals

WINDOW = 7
"""Voxels along each axis of the windows in which structures are compared."""
VISIBLE = 0.1
"""Of the largest amplitude: what is fainter counts as nothing, as published."""


@dataclass(frozen=True)
class Case:
    """A crystal and its rocking curve."""

    problem: BraggProblem
    truth: Complex[Tensor, "z y x"]

    @cached_property
    def oversampling(self) -> float:
        """Frame over crystal, the mean over the axes."""
        there = (self.truth.abs() > VISIBLE).nonzero()
        extents = there.amax(dim=0) - there.amin(dim=0) + 1
        return float((torch.tensor(self.truth.shape) / extents).mean())


def made_cases(
    count: int, *, grid_px: int, settings: CrystalSettings, photons: tuple[float, float], seed: int
) -> Iterator[Case]:
    """Crystals on the grid, with axes that lean at random, as those trained on but of another seed."""
    made = MadeCrystals(grid_px=grid_px, settings=settings, photons=photons, samples_per_epoch=1, seed=seed)
    curve = made.first.pattern
    for number in range(count):
        counts = torch.fft.fftshift(made.counts(number))
        yield Case(BraggProblem.from_intensity(curve, counts, seed=number), made.crystal(number))


def six_circle_cases(count: int, *, grid_px: int, photons: tuple[float, float], seed: int) -> Iterator[Case]:
    """Rocking curves in the six-circle geometry of 34-ID-C, through the whole of reading and posing."""
    for number in range(count):
        drawn = np.random.default_rng([seed, number])
        least, most = np.log(photons)
        frame_photons = float(np.exp(drawn.uniform(least, most))) / grid_px
        experiment = RockingExperiment(
            angles=grid_px,
            facets=int(drawn.integers(4, 21)),
            phase_span_rad=float(drawn.uniform(0, 2 * np.pi)),
            oversampling=float(drawn.uniform(2.5, 3.5)),
        )
        made = simulate_crystal(
            experiment,
            frame_px=grid_px,
            detection=ew.Detection(photons_per_frame=frame_photons),
            seed=seed + number,
        )
        problem = ew.pose(made.scan, ew.Setup(seed=number, device="cpu"))
        assert isinstance(problem, BraggProblem)
        yield Case(problem, made.truth.object)


@dataclass(frozen=True)
class Score:
    """How good an estimate is."""

    chi2: float
    """sum (|F| - A)^2 / sum A^2,"""
    chi2_low: float
    """of the voxels up to half of the largest q along an axis, over their own sum A^2,"""
    chi2_high: float
    """and of those beyond."""
    ssim: float
    """Structural similarity of the amplitudes over the whole frame, as published;"""
    ssim_box: float
    """in a box about the crystal, where there is less of nothing to agree on."""
    phase_rad: float
    """Mean difference of phase where there is crystal, its mean and slope removed by the alignment."""


def scored(case: Case, estimate: ew.SupportEstimate) -> Score:
    """Compare pattern and crystal, the latter after shift, twin, phase and scale."""
    problem = case.problem
    deviation = (problem.seen(estimate.object) - problem.amplitudes).square() * problem.trusted
    power = problem.amplitudes.square() * problem.trusted
    low = _low(problem.amplitudes.shape)
    amplitude, expected, phase = _laid(estimate.object, case.truth)
    there = (expected > VISIBLE).nonzero()
    sides = zip(there.amin(dim=0).tolist(), there.amax(dim=0).tolist(), expected.shape, strict=True)
    box = tuple(slice(max(first - 3, 0), min(last + 4, n)) for first, last, n in sides)
    return Score(
        chi2=float(deviation.sum() / power.sum()),
        chi2_low=float(deviation[low].sum() / power[low].sum()),
        chi2_high=float(deviation[~low].sum() / power[~low].sum().clamp(min=1e-12)),
        ssim=_ssim(amplitude, expected),
        ssim_box=_ssim(amplitude[box], expected[box]),
        phase_rad=float(phase.abs()[expected > VISIBLE].mean()),
    )


def _low(shape: torch.Size) -> Tensor:
    axes = torch.meshgrid(*(torch.fft.fftfreq(n) for n in shape), indexing="ij")
    return torch.stack(axes).norm(dim=0) <= 0.25


def _laid(
    found: Complex[Tensor, "z y x"], truth: Complex[Tensor, "z y x"]
) -> tuple[Float[Tensor, "z y x"], Float[Tensor, "z y x"], Float[Tensor, "z y x"]]:
    """Amplitudes of both, the largest of the truth 1, faint ones zero; and the difference of phase."""
    truth = truth / truth.abs().max()
    laid = register_twin(found.cpu().to(torch.complex128), truth.to(torch.complex128)).image
    amplitude, expected = laid.abs(), truth.abs().double()
    scale = (amplitude * expected).sum() / amplitude.square().sum().clamp(min=1e-12)
    shown = [torch.where(each > VISIBLE, each, 0.0) for each in (amplitude * scale, expected)]
    return shown[0], shown[1], (laid * truth.conj()).angle()


def _ssim(one: Float[Tensor, "z y x"], other: Float[Tensor, "z y x"]) -> float:
    return float(structural_similarity(one.numpy(), other.numpy(), data_range=1.0, win_size=WINDOW))
