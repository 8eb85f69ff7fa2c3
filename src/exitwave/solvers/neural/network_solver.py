"""Base of all solvers with a trained network: their options, how the network is made, fed and kept."""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Complex
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt, field_validator
from pydantic.dataclasses import dataclass as validated
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.io.network_paths import network_name, network_path, short_name
from exitwave.io.weights import Weights, read_spec
from exitwave.problems.groups.canvases import Images
from exitwave.problems.groups.clusters import Clusters
from exitwave.problems.groups.neighbours import Grouping, Neighbours, Singles
from exitwave.problems.groups.tiles import Kind
from exitwave.problems.ptychography import Problem
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.neural.compatibility import (
    BEFORE,
    network_warnings,
    require_same_frames,
    require_same_network,
    require_same_solver,
    settled,
    stored_weights,
)
from exitwave.solvers.neural.prediction import predicted
from exitwave.solvers.neural.reconstruction_network import Network, Published, ReconstructionNetwork, Unrolled
from exitwave.solvers.neural.runtimes import Precision, Runtime, engine_for
from exitwave.solvers.neural.training_data import GroupDataset, TrainingScan
from exitwave.solvers.ptychography.quasi_newton import QuasiNewton
from exitwave.solvers.requirements import require_supported
from exitwave.training.engine import fabric_for
from exitwave.training.settings import TrainingSettings
from exitwave.training.state import load
from exitwave.training.trainer import Trainer, TrainingTask

CLIP = 1.0
"""Longest gradient that is followed: a few bright frames must not undo what was learned."""


@validated(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class NetworkSolver(Solver[PtychoEstimate]):
    """A network that turns groups of neighbouring patterns into images, trained once and then used on any scan alike."""

    unsupported: ClassVar[frozenset[str]] = frozenset({"slices", "positions", "variations", "brightness", "background"})
    takes_probe_as_given: ClassVar[bool] = True
    learns_from_labels: ClassVar[bool] = False
    """True for networks that are taught known images."""

    weights: str | None = None
    """Trained network: the file or folder that exitwave train made. Without it the network learns on the scan at hand."""
    epochs: PositiveInt = 20
    """Passes over all groups when training; 5-50, fewer for many frames."""
    finetune: NonNegativeInt = 0
    """Passes of further training on the scan at hand before the image is made; 0 takes trained weights as they are."""
    network: Network = "unet"
    """unet: steps of the physics, each corrected by a small U-Net. encoder: the published network, which has to learn
    diffraction first and takes many times as many steps."""
    group: PositiveInt = 16
    """Frames that are seen together, on one canvas. 1 for single shots with a curved probe, 4 as published, 16
    where frames overlap; predict with about as many as were trained."""
    grouping: Literal["auto", "neighbours", "clusters"] = "auto"
    """Which frames form a group. neighbours: any that lie close together. clusters: blocks of rows and columns, all arranged alike,
    as the encoder needs, which is not told where frames are. auto: clusters for the encoder, neighbours for unet."""
    nearest: PositiveInt | None = None
    """Of neighbours: so many of each frame, among which those of its training groups are drawn; half as many again as the group
    when left out."""
    samples: PositiveInt = 1
    """Of neighbours: training groups drawn around each frame; more are more varied and take longer."""
    stages: PositiveInt = 2
    """Steps of the unet network, each with a transform there and back of every frame: 2 after an approach, 4-6 without, as for
    single shots."""
    width: Annotated[float, Field(gt=0, le=16)] = 1.0
    """Factor on the channels of the network: 8 for unet, 32 and more for encoder, whose published width is 2."""
    warm_start_epochs: NonNegativeInt = 5
    """Epochs of newton with which the unet network begins: what they make of the whole scan is what the network corrects. 0
    starts from the merged back-projection of each group by itself, as single shots always do."""
    translation: Kind = "fourier"
    """How the encoder's tiles are moved below a pixel: bilinear as published blurs, bicubic less, fourier does not."""
    learn_scale: bool = False
    """Whether the scale of the images is learned, as published; the probe carries the photons, so that it is not needed."""
    batch: PositiveInt = 64
    """Frames of a training step: 4 groups of 16, or 16 of 4 as published."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 4e-3
    """Largest step of Adam; 1e-3 for the encoder. Lower it when the loss jumps."""
    schedule: Literal["cosine", "plateau"] = "cosine"
    """cosine: warm-up, then falling to a hundredth; plateau: halved whenever the held-out loss stalls, as published."""
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the running average of the weights, which is what predicts; 0 takes the last weights as published."""
    precision: Literal["auto", "32", "bf16"] = "auto"
    """Numbers of the network while training: bf16 is faster on GPUs and some processors, which auto knows."""
    frames_per_batch: PositiveInt = 128
    """Frames that each processor works on at once when predicting; 4096 on a GPU, less for large frames and little memory."""
    runtime: Runtime = "torch"
    """What computes the trained network when predicting: onnx and openvino (extra `export`) are about as fast as torch for
    unet, a sixth faster for the encoder."""
    prediction_precision: Precision = "32"
    """Numbers of the network when predicting: bf16 changes the image by less than a percent of the network's correction and is
    worth it on GPUs, and for the encoder on processors that know such numbers."""

    @field_validator("weights")
    @classmethod
    def _from_anywhere(cls, value: str | None) -> str | None:
        """A result made with it can be made again in another folder."""
        return None if value is None else network_name(value)

    @classmethod
    def complete_options(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Options with those that the named weights were trained with, where these are not given."""
        name = options.get("weights")
        if not isinstance(name, str) or all(option.name in options for option in fields(cls)):
            return options
        stored = {**BEFORE, **read_spec(network_path(name))}
        require_same_solver(cls.name, name, stored)
        return {**{option: value for option, value in stored.items() if option != "name"}, **options}

    @property
    def total_epochs(self) -> int:
        return self.epochs if self.weights is None else max(1, self.finetune)

    @property
    def learns_here(self) -> bool:
        """Whether it trains on the scan at hand."""
        return self.weights is None or self.finetune > 0

    @property
    def groups(self) -> Grouping:
        """How frames are seen together: in training, in what judges it and in prediction alike."""
        if self.group == 1:
            return Singles()
        if settled({"network": self.network, "group": self.group, "grouping": self.grouping})["grouping"] == "clusters":
            return Clusters(size=self.group)
        nearest = self.nearest or max(self.group - 1, math.ceil(1.5 * self.group))
        if nearest < self.group - 1:
            raise InputError(
                f"nearest is {nearest}; a group of {self.group} needs at least {self.group - 1} neighbours"
            )
        return Neighbours(size=self.group, nearest=nearest, samples=self.samples)

    @property
    def training_settings(self) -> TrainingSettings:
        """How the network is trained; finetuning goes at a third of the rate."""
        further = self.weights is not None
        return TrainingSettings(
            epochs=max(1, self.finetune) if further else self.epochs,
            batch=max(1, self.batch // self.group),
            learning_rate=self.learning_rate / 3 if further else self.learning_rate,
            schedule=self.schedule,
            averaging=self.averaging,
            clip=CLIP,
            precision=self.precision,
        )

    def made(self, frame_shape: tuple[int, int], seed: int) -> ReconstructionNetwork:
        """The network for frames of this shape: trained where there are weights, else as the seed draws it.

        Raises InputError where it cannot see such frames or the weights belong to another one.
        """
        network = self.fresh(frame_shape, seed)
        if self.weights is not None:
            stored = self._stored(self.weights, frame_shape).tensors
            load(network, {n.removeprefix("network."): v for n, v in stored.items() if n.startswith("network.")})
        return network

    def fresh(self, frame_shape: tuple[int, int], seed: int) -> ReconstructionNetwork:
        """The network as the seed draws it."""
        if self.network == "unet":
            return Unrolled(stages=self.stages, width=self.width, learned_scale=self.learn_scale, seed=seed)
        if frame_shape[0] != frame_shape[1]:
            raise InputError(
                f"frames of {frame_shape[0]} x {frame_shape[1]} pixels; the encoder sees square ones: crop them"
            )
        try:
            return Published(
                frame_px=frame_shape[0],
                views=self.group,
                width=self.width,
                full=self.learns_from_labels,
                kind=self.translation,
                learned_scale=self.learn_scale,
                seed=seed,
            )
        except ValueError as error:
            raise InputError(str(error)) from error

    @abstractmethod
    def training_task(self, given: Sequence[TrainingScan], seed: int) -> TrainingTask:
        """What the network learns from these scans."""

    def group_dataset(self, given: Sequence[TrainingScan], seed: int) -> GroupDataset:
        """The groups of these scans, as the network sees them."""
        return GroupDataset(given, self.groups, begun=self.has_warm_start, seed=seed)

    @property
    def has_warm_start(self) -> bool:
        """Whether the network starts from what newton makes of the whole scan. Single shots stay by themselves."""
        return self.network == "unet" and self.warm_start_epochs > 0 and self.group > 1

    def warm_started(self, problem: Problem, x: PtychoEstimate) -> PtychoEstimate:
        """Where the network starts."""
        x = replace(x, object=torch.ones_like(x.object))
        if not self.has_warm_start:
            return x
        *_, last = QuasiNewton(epochs=self.warm_start_epochs, update_probe=False).solve(
            problem, Step(epoch=0, estimate=x)
        )
        return replace(x, object=last.estimate.object)

    def training_scan(
        self, problem: Problem, x: PtychoEstimate, *, label: Images | None = None, seed: int = 0
    ) -> TrainingScan:
        """A scan made ready to learn from, with the probe of `x`."""
        return TrainingScan(problem=problem, x=self.warm_started(problem, x), label=label)

    def warnings(self, problem: Problem, start: PtychoEstimate) -> tuple[str, ...]:
        # What will be refused anyway need not be doubted first.
        self.require_ready()
        stored = None if self.weights is None else self._stored(self.weights, problem.scan.frame_shape)
        name = self.name if self.weights is None else short_name(self.weights)
        return network_warnings(problem, start, None if self.learns_here else stored, groups=self.groups, name=name)

    def _stored(self, weights: str, frame_shape: tuple[int, int]) -> Weights:
        """The trained weights, when they are those of this very network and it can see such frames."""
        stored = stored_weights(weights)
        require_same_network(self, stored)
        require_same_frames(self, stored, frame_shape)
        return stored

    def solve(self, problem: Problem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
        require_supported(self, problem, start.estimate)
        self.require_ready()
        x = self.warm_started(problem, start.estimate.to(problem.device).clone())
        network = self.made(problem.scan.frame_shape, problem.seed).to(problem.device)
        if self.learns_here:
            yield from self._learning(network, problem, x, start)
        elif start.epoch < 1:
            network.engine = engine_for(self.runtime, network, self.weights, self.prediction_precision)
            yield self._step(network, problem, x, 1)

    def require_ready(self) -> None:
        """Raise InputError where it can neither predict nor learn as asked."""
        if self.learns_here and (self.runtime != "torch" or self.prediction_precision != "32"):
            raise InputError(
                f"runtime {self.runtime} and prediction_precision {self.prediction_precision} are for trained weights as they "
                "are, but this network learns on the scan at hand; leave them out, or train first and leave out finetune"
            )

    def _learning(
        self, network: ReconstructionNetwork, problem: Problem, x: PtychoEstimate, start: Step[PtychoEstimate]
    ) -> Iterator[Step[PtychoEstimate]]:
        """Train on this scan, with an image after every epoch."""
        lesson = self.training_scan(problem, x, seed=problem.seed)
        if self.weights is None:
            set_gain(network, [lesson])
        course = Trainer(
            network,
            self.training_task([lesson], problem.seed),
            self.training_settings,
            fabric=fabric_for(problem.device, self.precision),
            seed=problem.seed,
            state=start.state if start.epoch else None,
        )
        for epoch in course.run():
            load(network, course.weights())
            yield replace(self._step(network, problem, x, epoch.epoch), state=course.state())

    def _step(
        self, network: ReconstructionNetwork, problem: Problem, x: PtychoEstimate, epoch: int
    ) -> Step[PtychoEstimate]:
        image = self.image(network, problem, x)
        found = replace(x.clone(), object=image)
        return Step(epoch=epoch, estimate=found, residual=problem.residual(found))

    def image(self, network: ReconstructionNetwork, problem: Problem, x: PtychoEstimate) -> Complex[Tensor, "1 Y X"]:
        """The whole object as the network sees it."""
        return predicted(
            network, problem, x, grouping=self.groups, together=self.frames_per_batch, begun=self.has_warm_start
        )


def set_gain(network: ReconstructionNetwork, given: Sequence[TrainingScan]) -> None:
    """Set the gain of the inputs from the scans trained on: (N/2)^2 over the mean sum of squares, as published."""
    shares: list[float] = []
    for lesson in given:
        probe_photons = float(lesson.x.probe.abs().square().sum())
        pixels = lesson.problem.trusted.numel()
        shares.append(pixels / 4 * probe_photons / (lesson.problem.power / len(lesson.problem)))
    network.scaling.input_gain.fill_(math.sqrt(sum(shares) / len(shares)))
