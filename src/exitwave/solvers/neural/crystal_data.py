"""What networks for crystals learn from: made crystals without end, or few measured ones in many guises."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn

from exitwave.problems.bragg import BraggProblem, rocking_problem
from exitwave.simulation.crystal_settings import CrystalSettings
from exitwave.simulation.crystals import drawn_crystal
from exitwave.simulation.detection import Detection
from exitwave.simulation.rocking_curve import simulate_crystal
from exitwave.simulation.rocking_experiment import RockingExperiment
from exitwave.solvers.neural.crystal_grid import GriddedPattern
from exitwave.solvers.neural.crystal_losses import (
    LOSSES,
    Amplitudes,
    CrystalLoss,
    Crystals,
    crystals_of,
    fit,
    support_threshold,
)
from exitwave.solvers.neural.crystal_views import ORIENTATIONS, seen_by_network, turned

JUDGES = 64
"""Patterns that judge a training and are never trained on."""
ENDLESS = 2**31
"""Numbers from which made crystals are drawn."""
SHEAR = 0.25
"""Standard deviation of how far the axes of a made crystal's array lean, as the tangent of an angle."""
FEWEST_PHOTONS = 0.3
"""Share of a measured pattern's photons that its guises keep at least."""
Samples = Int[Tensor, " sample"]


class CrystalPatterns(ABC):
    """Patterns to learn from, on the grid of the network, zero frequency at index 0."""

    @abstractmethod
    def __len__(self) -> int:
        """Patterns of an epoch."""

    @property
    @abstractmethod
    def held_out(self) -> int:
        """Patterns that judge."""

    @abstractmethod
    def amplitudes(self, samples: Samples, *, held_out: bool, seed: tuple[int, ...]) -> Amplitudes:
        """Patterns of a step: the same for the same seed, whatever came before."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MadeCrystals(CrystalPatterns):
    """Made crystals, none of which comes a second time; their patterns with Poisson noise."""

    grid_px: int
    settings: CrystalSettings
    photons: tuple[float, float]
    """In the whole pattern; drawn evenly on a logarithmic scale."""
    samples_per_epoch: int
    seed: int

    def __len__(self) -> int:
        return self.samples_per_epoch

    @property
    def held_out(self) -> int:
        return JUDGES

    def amplitudes(self, samples: Samples, *, held_out: bool, seed: tuple[int, ...]) -> Amplitudes:
        # In epoch 0 the network is only looked at.
        judged = held_out or seed[1] == 0
        chance = np.random.default_rng([19, *seed])
        numbers = samples.tolist() if judged else (JUDGES + chance.integers(ENDLESS, size=len(samples))).tolist()
        return torch.stack([self.counts(number) for number in numbers]).sqrt()

    def counts(self, number: int) -> Float[Tensor, "z y x"]:
        """The pattern of the crystal of this number."""
        drawn = np.random.default_rng([23, self.seed, number])
        intensity = torch.fft.fftn(self.crystal(number), norm="ortho").abs().square()
        least, most = np.log(self.photons)
        photons = float(np.exp(drawn.uniform(least, most)))
        rates = intensity.double() * (photons / float(intensity.sum(dtype=torch.float64)))
        return torch.from_numpy(drawn.poisson(rates.numpy())).float()

    @cached_property
    def first(self) -> BraggProblem:
        """A rocking curve to be shown, of a crystal that is none of these."""
        angle_photons = math.sqrt(self.photons[0] * self.photons[1]) / self.grid_px
        made = simulate_crystal(
            RockingExperiment(angles=self.grid_px),
            frame_px=self.grid_px,
            detection=Detection(photons_per_frame=angle_photons),
            seed=self.seed,
        )
        return rocking_problem(made.scan)

    def crystal(self, number: int) -> Complex[Tensor, "z y x"]:
        """The crystal of this number on axes that are not at right angles, as those of rocking curves."""
        drawn = np.random.default_rng([31, self.seed, number])
        made = drawn_crystal(self.settings, drawn)
        axes = np.eye(3) + np.triu(drawn.normal(0, SHEAR, (3, 3)), 1)
        n = self.grid_px
        extents = n / drawn.uniform(*self.settings.oversampling, 3)
        return made.sampled((n, n, n), axes * (made.extent(np.linalg.inv(axes)) / extents))


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredCrystals(CrystalPatterns):
    """Patterns of few measured crystals, mirrored, with axes exchanged and with fewer photons, to train on many.

    Photons are taken away at random (binomial thinning), which leaves Poisson noise what it is. The patterns as they were
    measured judge; with so few crystals none can be kept back.
    """

    patterns: Sequence[GriddedPattern]
    problems: Sequence[BraggProblem]
    """Where they come from."""
    samples_per_epoch: int

    @property
    def first(self) -> BraggProblem:
        """The rocking curve to be shown."""
        return self.problems[0]

    def __len__(self) -> int:
        return self.samples_per_epoch

    @property
    def held_out(self) -> int:
        return len(self.patterns)

    def amplitudes(self, samples: Samples, *, held_out: bool, seed: tuple[int, ...]) -> Amplitudes:
        count = self.held_out if held_out else len(self)
        # One pattern after another in blocks: samples that are chosen evenly are of different crystals.
        places = (samples * len(self.patterns)) // count
        chosen = [self.patterns[place].amplitudes.cpu() for place in places.tolist()]
        if held_out or seed[1] == 0:
            return torch.stack(chosen)
        chance = np.random.default_rng([29, *seed])
        return torch.stack([_in_guise(each, chance) for each in chosen])


def _in_guise(amplitudes: Float[Tensor, "z y x"], chance: np.random.Generator) -> Float[Tensor, "z y x"]:
    way = int(chance.integers(ORIENTATIONS))
    share = chance.uniform(FEWEST_PHOTONS, 1.0)
    counts = turned(amplitudes, way).square().round().to(torch.int64).numpy()
    return torch.from_numpy(chance.binomial(counts, share)).float().sqrt()


CrystalData = MadeCrystals | MeasuredCrystals


class CrystalTask:
    """Training without labels: a crystal is as good as the pattern that it gives. Yao et al. (2022)."""

    def __init__(
        self,
        patterns: CrystalPatterns,
        *,
        features: int,
        loss: CrystalLoss,
        thresholds: tuple[float, float],
        epochs: int,
    ) -> None:
        """`thresholds` of the support: that of the first epoch and that of the last."""
        self._patterns, self._features, self._loss = patterns, features, LOSSES[loss]
        self._thresholds, self._epochs = thresholds, epochs

    def __len__(self) -> int:
        return len(self._patterns)

    @property
    def held_out(self) -> int:
        return self._patterns.held_out

    def loss(
        self, network: nn.Module, samples: Samples, *, held_out: bool, seed: tuple[int, ...]
    ) -> tuple[Float[Tensor, ""], Crystals]:
        """Mean loss of patterns, and the crystals found."""
        amplitudes = self._patterns.amplitudes(samples, held_out=held_out, seed=seed).to(samples.device)
        found = crystals_of(network(seen_by_network(amplitudes, self._features)), self._threshold(held_out, seed))
        return self._loss(fit(found, amplitudes)).mean(), found.detach()

    def _threshold(self, held_out: bool, seed: tuple[int, ...]) -> float:
        epoch = seed[1]
        if held_out or epoch == 0:
            return self._thresholds[1]
        return support_threshold(*self._thresholds, (epoch - 1) / max(self._epochs - 1, 1))
