"""AutoPhaseNN: a network that sees the rocking curve of a crystal and gives its shape and strain in one pass."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Complex
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from exitwave.data.errors import InputError
from exitwave.data.estimate import SupportEstimate
from exitwave.data.measurement import Measurement
from exitwave.io.network_paths import network_path, short_name
from exitwave.io.weights import Weights, read_weights
from exitwave.networks.crystal_networks import AutoPhaseNet, SlimCrystalNet
from exitwave.problems.base import Problem
from exitwave.problems.bragg import BraggProblem
from exitwave.simulation.crystal_settings import TRAINING
from exitwave.solvers.base import Step
from exitwave.solvers.neural.compatibility import require_same_solver
from exitwave.solvers.neural.crystal_data import CrystalData, CrystalTask, MadeCrystals, MeasuredCrystals
from exitwave.solvers.neural.crystal_grid import GriddedPattern, gridded
from exitwave.solvers.neural.crystal_losses import CrystalLoss, crystals_of, fit
from exitwave.solvers.neural.crystal_views import FEATURES, ORIENTATIONS, seen_by_network, turned, turned_back
from exitwave.solvers.neural.trained_solver import Posing, TrainedSolver
from exitwave.solvers.registry import solver
from exitwave.training.state import load

SHIPPED = "crystals"
"""The trained network that comes with the package."""
TOO_FEW, TOO_MANY = 1 / 3, 10.0
"""Photons of a pattern, relative to the fewest and the most trained on, beyond which a network is not trusted."""


@solver
class AutoPhaseNN(TrainedSolver[SupportEstimate, CrystalData]):
    """A crystal from its rocking curve in one pass, by a network trained on made crystals; refine it: chain(AutoPhaseNN, ER).
    Yao et al., npj Comput. Mater. 8, 124 (2022).

    It was trained without labels, by the patterns of the crystals that it gives. Then 50 epochs of er without shrink-wrap.
    """

    name: ClassVar[str] = "autophasenn"
    solves: ClassVar[type[Problem[Any]]] = BraggProblem
    seeded: ClassVar[bool] = False
    makes_examples: ClassVar[bool] = True
    not_trained: ClassVar[frozenset[str]] = frozenset({"weights", "orientations"})
    identity_terms: ClassVar[Mapping[str, str]] = {"crystals": "rocking curve or preparation"}

    weights: str | None = None
    """Trained network: the file or folder that exitwave train made. Left out, the one that comes with the package predicts, and
    a training begins anew."""
    orientations: Annotated[int, Field(ge=1, le=ORIENTATIONS)] = 8
    """The pattern is shown in so many orientations (mirrored, axes exchanged), and the crystal that fits best is kept; 1-48."""
    network: Literal["slim", "published"] = "slim"
    """slim: for processors, 1.3 million parameters. published: 24.7 million at width 1, for GPUs."""
    grid_px: Annotated[int, Field(ge=16, le=256, multiple_of=16)] = 32
    """Voxels of the network's grid along each axis; the crystal has the middle half. 64 as published, 32 is eight times as fast."""
    width: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Factor on the channels of the network."""
    oversampling: tuple[float, float] = (2.5, 4.0)
    """Frame over crystal along each axis, from least to most: what it is trained on, and what rocking curves are brought to."""
    photons: tuple[float, float] = (3e5, 1e8)
    """Fewest and most photons in the patterns of made crystals."""
    loss: CrystalLoss = "rms"
    """rms: root of the squared relative amplitude residual; chi2: that residual; l1: mean absolute error over the mean; pcc: 1 less
    the correlation of the amplitudes; comb2: mean of rms and pcc, as published."""
    first_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.07
    """Share of the largest amplitude below which nothing is crystal, at the beginning of the training,"""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """and at its end and when predicting: what lies above is support."""
    epochs: PositiveInt = 20
    """Passes over so many patterns;"""
    samples_per_epoch: PositiveInt = 2048
    """patterns of an epoch: made crystals, or measured ones in other orientations and with fewer photons."""
    batch: PositiveInt = 16
    """Patterns of a training step."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Largest step of Adam; 1e-4 and less to train further on measured crystals. Lower it when the loss jumps."""

    @property
    def total_epochs(self) -> int:
        return 1

    def training_data(self, data: Any, posing: Posing, seed: int) -> CrystalData:
        """Made crystals where `data` is empty, else the rocking curves in it."""
        curves = list(data)
        if not curves:
            return MadeCrystals(
                grid_px=self.grid_px,
                settings=replace(TRAINING, oversampling=self.oversampling),
                photons=self.photons,
                samples_per_epoch=self.samples_per_epoch,
                seed=seed,
            )
        if others := [each for each in curves if not isinstance(each, Measurement)]:
            raise InputError(f"{self.name} learns from rocking curves; found {type(others[0]).__name__} to learn from")
        problems = [posing.pose(curve) for curve in curves]
        return MeasuredCrystals(
            patterns=[self._gridded(problem) for problem in problems],
            problems=problems,
            samples_per_epoch=self.samples_per_epoch,
        )

    def new_network(self, data: CrystalData, seed: int) -> nn.Module:
        return self._fresh(seed) if self.weights is None else self.made(self.weights)

    def training_task(self, data: CrystalData, seed: int) -> CrystalTask:
        thresholds = (self.threshold if self.weights else self.first_threshold, self.threshold)
        return CrystalTask(data, features=self.features, loss=self.loss, thresholds=thresholds, epochs=self.epochs)

    def identity(self, data: CrystalData) -> dict[str, Any]:
        measured = isinstance(data, MeasuredCrystals)
        return {"crystals": [problem.fingerprint() for problem in data.problems] if measured else "made"}

    def record(self, data: CrystalData) -> tuple[dict[str, Any], dict[str, Tensor]]:
        if isinstance(data, MadeCrystals):
            return {"photons": list(self.photons)}, {}
        photons = [pattern.photons for pattern in data.patterns]
        return {"photons": [min(photons), max(photons)]}, {}

    def resumed(self, data: CrystalData, kept: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
        return dict(kept)

    def previewed(self, data: CrystalData) -> Measurement:
        return data.first.pattern

    def preview(self, network: nn.Module, data: CrystalData) -> SupportEstimate:
        return self.predicted(network.to(data.first.device), data.first, self._gridded(data.first))

    @property
    def features(self) -> int:
        """Channels in which the network sees a pattern."""
        return 1 if self.network == "published" else FEATURES

    def made(self, weights: str) -> nn.Module:
        """The trained network. Raises InputError where it is another one than the options say."""
        network, stored = self._fresh(0), self._stored(weights)
        load(network, {n.removeprefix("network."): v for n, v in stored.tensors.items() if n.startswith("network.")})
        return network

    def _fresh(self, seed: int) -> nn.Module:
        if self.network == "published":
            return AutoPhaseNet(grid_px=self.grid_px, width=self.width, seed=seed)
        fine, middle, coarse = (max(8, 8 * round(self.width * n / 8)) for n in (16, 48, 96))
        return SlimCrystalNet(features=FEATURES, grid_px=self.grid_px, channels=(fine, middle, coarse), seed=seed)

    def _stored(self, weights: str) -> Weights:
        stored = read_weights(network_path(weights))
        require_same_solver(self.name, weights, stored.spec)
        trained = self.like_stored(stored.spec)
        other = [o for o in ("network", "grid_px", "width") if getattr(trained, o) != getattr(self, o)]
        if other:
            told = ", ".join(f"{o} {getattr(trained, o)} (here {getattr(self, o)})" for o in other)
            raise InputError(
                f"the network {short_name(weights)} was trained with {told}; leave these options out, or train one with them: "
                f"exitwave train {self.name} --save FOLDER"
            )
        return stored

    def _gridded(self, problem: BraggProblem) -> GriddedPattern:
        return gridded(problem, self.grid_px, self.oversampling)

    def warnings(self, problem: BraggProblem, start: SupportEstimate) -> tuple[str, ...]:
        stored, pattern = self._stored(self.weights or SHIPPED), self._gridded(problem)
        name, found = short_name(self.weights or SHIPPED), []
        least, most = stored.record.get("photons", [0.0, float("inf")])
        if not TOO_FEW * least <= pattern.photons <= TOO_MANY * most:
            found.append(
                f"the rocking curve holds {pattern.photons:.3g} photons, but {name} was trained on {least:.3g} to {most:.3g}"
            )
        if pattern.resampled:
            found.append(
                f"the pattern is sampled {pattern.told} times as finely as its crystal needs along frame, row and column; it was "
                f"resampled, because {name} was trained on {self.oversampling[0]:g} to {self.oversampling[1]:g}"
            )
        return tuple(f"{each}; refine the crystal with er, and compare it with that of cdi" for each in found)

    def solve(self, problem: BraggProblem, start: Step[SupportEstimate]) -> Iterator[Step[SupportEstimate]]:
        if start.epoch >= 1:
            return
        network = self.made(self.weights or SHIPPED).to(problem.device)
        found = self.predicted(network, problem, self._gridded(problem))
        yield Step(epoch=1, estimate=found, residual=problem.residual(found))

    @torch.no_grad()
    def predicted(self, network: nn.Module, problem: BraggProblem, pattern: GriddedPattern) -> SupportEstimate:
        """What a network makes of the pattern of a problem."""
        network.eval()
        ways = range(self.orientations)
        seen = torch.stack([turned(pattern.amplitudes, way) for way in ways]).to(problem.device)
        found = crystals_of(network(seen_by_network(seen, self.features)), self.threshold)
        best = int(fit(found, seen).chi2.argmin())
        return _in_place(problem, pattern.crystal(turned_back(found[best], best)), self.threshold)


def _in_place(problem: BraggProblem, obj: Complex[Tensor, "z y x"], threshold: float) -> SupportEstimate:
    """A crystal as an estimate: at the scale that fits the measured pattern best, its support where it is not faint."""
    obj = obj.to(problem.device)
    seen = problem.seen(obj) * problem.trusted
    scale = (seen * problem.amplitudes).sum() / seen.square().sum().clamp(min=1e-12)
    support = obj.abs() >= threshold * obj.abs().max()
    support &= problem.first_support if problem.support_is_known else True
    return problem.estimate(torch.where(support, obj * scale, 0.0), support)
