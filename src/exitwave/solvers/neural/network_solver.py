"""What all solvers with a network for groups of frames share: their options, how the network is made, fed and kept."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, fields, replace
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
from pydantic import BeforeValidator, ConfigDict, InstanceOf, NonNegativeInt, PositiveInt, model_validator
from pydantic.dataclasses import dataclass as validated
from pydantic_core import ArgsKwargs
from torch import Tensor, nn

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.scan import Scan
from exitwave.io.network_paths import network_path, short_name
from exitwave.io.weights import Weights, read_weights
from exitwave.problems.groups.canvases import Images
from exitwave.problems.groups.clusters import Clusters
from exitwave.problems.groups.neighbours import Grouping, Neighbours, Singles
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.neural.compatibility import (
    network_warnings,
    overlap,
    require_same_frames,
    require_same_network,
    trained_on,
)
from exitwave.solvers.neural.flat_options import BEFORE, newton, understood
from exitwave.solvers.neural.prediction import predicted
from exitwave.solvers.neural.reconstruction_network import (
    NetworkArchitecture,
    Prediction,
    ReconstructionNetwork,
    as_architecture,
)
from exitwave.solvers.neural.runtimes import Precision, Runtime, engine_for
from exitwave.solvers.neural.trained_solver import Posing, TrainedSolver
from exitwave.solvers.neural.training_data import (
    GroupDataset,
    GroupSamples,
    SourceDataset,
    SourceScans,
    TrainingScan,
    TrainingScans,
    known_scans,
)
from exitwave.solvers.neural.training_examples import training_scans
from exitwave.solvers.neural.unrolled_unet import UnrolledUNet
from exitwave.solvers.requirements import require_supported
from exitwave.solvers.spec import as_solver, from_spec
from exitwave.training.engine import fabric_for
from exitwave.training.settings import TrainingSettings
from exitwave.training.state import load
from exitwave.training.trainer import Trainer

SAME_PROBE = 0.999
"""Overlap of a probe with itself, when it was guessed again with another number of threads."""


def short_newton() -> Solver[Any]:
    """The usual warm start."""
    return from_spec(newton(5))


@validated(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class NetworkSolver(TrainedSolver[PtychoEstimate, TrainingScans]):
    """A network that turns groups of neighbouring patterns into images, trained once and then used on any scan alike."""

    unsupported: ClassVar[frozenset[str]] = frozenset(
        {"slices", "positions", "variations", "brightness", "background", "noise"}
    )
    takes_probe_as_given: ClassVar[bool] = True
    learns_from_labels: ClassVar[bool] = False
    """True for networks that are taught known images."""
    renamed: ClassVar[Mapping[str, str]] = {"together": "frames_per_batch", "approach": "warm_start_epochs"}
    """Options that were called otherwise in 0.1.0."""
    not_trained: ClassVar[frozenset[str]] = frozenset(
        {"weights", "finetune", "frames_per_batch", "runtime", "prediction_precision"}
    )
    once_trained: ClassVar[Mapping[str, Any]] = {"finetune": 0}
    identity_terms: ClassVar[Mapping[str, str]] = {
        "labels": "image as label",
        "scan_fingerprints": "scan or preparation",
    }

    finetune: NonNegativeInt = 0
    """Passes of further training on the scan at hand before the image is made; 0 takes trained weights as they are."""
    network: Annotated[InstanceOf[NetworkArchitecture], BeforeValidator(as_architecture)] = UnrolledUNet()
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
    warm_start: Annotated[InstanceOf[Solver[Any]] | None, BeforeValidator(as_solver)] = field(
        default_factory=short_newton
    )
    """Solver with which the unet network begins: what it makes of the whole scan is what the network corrects. None starts
    from the merged back-projection of each group by itself, as single shots always do."""
    learn_scale: bool = False
    """Whether the scale of the images is learned, as published; the probe carries the photons, so that it is not needed."""
    frames_per_batch: PositiveInt = 128
    """Frames that each processor works on at once when predicting; 4096 on a GPU, less for large frames and little memory."""
    runtime: Runtime = "torch"
    """What computes the trained network when predicting: onnx and openvino (extra `export`) are about as fast as torch for
    unet, a sixth faster for the encoder."""
    prediction_precision: Precision = "32"
    """Numbers of the network when predicting: bf16 changes the image by less than a percent of the network's correction and is
    worth it on GPUs, and for the encoder on processors that know such numbers."""

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        return ArgsKwargs(value.args, cls.understood(value.kwargs or {})) if isinstance(value, ArgsKwargs) else value

    @classmethod
    def understood(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        default = next(option.default for option in fields(cls) if option.name == "network")
        assert isinstance(default, NetworkArchitecture)
        return understood(options, default)

    @classmethod
    def settled(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        return super().settled({**BEFORE, **stored})

    def plain_options(self) -> dict[str, Any]:
        plain = super().plain_options()
        network = cast("dict[str, Any]", plain.pop("network"))
        ignored = set() if self.network.starts_from_image else {"warm_start"}
        plain |= {"grouping": self.rule}
        return {o: v for o, v in plain.items() if o not in ignored} | {"network": network.pop("name"), **network}

    @property
    def total_epochs(self) -> int:
        return self.epochs if self.weights is None else max(1, self.finetune)

    @property
    def learns_here(self) -> bool:
        """Whether it trains on the scan at hand."""
        return self.weights is None or self.finetune > 0

    @property
    def rule(self) -> str:
        """The rule for groups that `grouping` stands for."""
        if self.group == 1 or self.grouping != "auto":
            return "auto" if self.group == 1 else self.grouping
        return "neighbours" if self.network.sees_positions else "clusters"

    @property
    def groups(self) -> Grouping:
        """How frames are seen together: in training, in what judges it and in prediction alike."""
        if self.group == 1:
            return Singles()
        if self.rule == "clusters":
            return Clusters(size=self.group)
        nearest = self.nearest or max(self.group - 1, math.ceil(1.5 * self.group))
        if nearest < self.group - 1:
            raise InputError(
                f"nearest is {nearest}; a group of {self.group} needs at least {self.group - 1} neighbours"
            )
        return Neighbours(size=self.group, nearest=nearest, samples=self.samples)

    @property
    def frames_per_sample(self) -> int:
        return self.group

    @property
    def training_settings(self) -> TrainingSettings:
        """How the network is trained; finetuning goes at a third of the rate."""
        further = self.weights is not None
        return replace(
            super().training_settings,
            epochs=max(1, self.finetune) if further else self.epochs,
            batch=max(1, self.batch // self.group),
            learning_rate=self.learning_rate / 3 if further else self.learning_rate,
        )

    def made(self, frame_shape: tuple[int, int], seed: int) -> ReconstructionNetwork:
        """The network for frames of this shape: trained where there are weights, else as the seed draws it.

        Raises InputError where it cannot see such frames or the weights belong to another one.
        """
        network = self.fresh(frame_shape, seed)
        if self.weights is not None:
            stored = self._stored(self.weights, frame_shape).tensors
            own = without_aliases(stored)
            load(network, {n.removeprefix("network."): v for n, v in own.items() if n.startswith("network.")})
        return network

    def fresh(self, frame_shape: tuple[int, int], seed: int) -> ReconstructionNetwork:
        """The network as the seed draws it."""
        self.network.accepts(frame_shape)
        parts = self.network.parts(frame_shape, self.group, seed)
        return ReconstructionNetwork(self.network, parts, learned_scale=self.learn_scale)

    def training_data(self, data: Any, posing: Posing, seed: int) -> TrainingScans:
        return training_scans(self, data, posing, seed)

    def new_network(self, data: TrainingScans, seed: int) -> ReconstructionNetwork:
        known = known_scans(data)
        network = self.made(known[0].problem.scan.frame_shape, seed)
        if self.weights is None:
            set_gain(network, known)
        return network

    def identity(self, data: TrainingScans) -> dict[str, Any]:
        known = known_scans(data)
        labels = [None if x.label is None else f"{float(x.label.abs().mean()):.4g}" for x in known]
        told: dict[str, Any] = {"scan_fingerprints": [x.problem.fingerprint() for x in known], "labels": labels}
        if isinstance(data, SourceScans):
            source = data.source
            told["source"] = [source.examples, source.samples_per_epoch, source.draws_per_example]
        return told

    def record(self, data: TrainingScans) -> tuple[dict[str, Any], dict[str, Tensor]]:
        known = known_scans(data)
        record, probes = trained_on(known)
        arranged = self.groups.arrangement(known[0].problem.positions_px)
        return {**record, "arrangement": None if arranged is None else arranged.tolist()}, probes

    def resumed(self, data: TrainingScans, kept: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
        _, probes = trained_on(known_scans(data))
        # Where 0.1.0 kept more, those of all scans, they are not told apart.
        same_kept = len(probes) == sum(name.startswith("probe.") for name in kept)
        for number, (name, probe) in enumerate(probes.items() if same_kept else ()):
            if (alike := overlap(probe, kept[name])) < SAME_PROBE:
                raise InputError(
                    f"{where} is a training with another probe for scan {number + 1} (overlap {alike:.3f}); give the same, or "
                    "choose another folder"
                )
        return without_aliases({name: value for name, value in kept.items() if not name.startswith("probe.")})

    def previewed(self, data: TrainingScans) -> Scan:
        return known_scans(data)[0].problem.scan

    def preview(self, network: nn.Module, data: TrainingScans) -> PtychoEstimate:
        lesson = known_scans(data)[0]
        assert isinstance(network, ReconstructionNetwork)
        image, _ = self.image(network.to(lesson.problem.device), lesson.problem, lesson.x)
        return replace(lesson.x, object=image)

    def group_samples(self, data: TrainingScans, seed: int) -> GroupSamples:
        """The groups of these scans, as the network sees them."""
        if isinstance(data, SourceScans):
            return SourceDataset(data, self.groups, begun=self.has_warm_start)
        return GroupDataset(data, self.groups, begun=self.has_warm_start, seed=seed)

    @property
    def has_warm_start(self) -> bool:
        """Whether the network starts from an image of the whole scan. Single shots stay by themselves."""
        return self.network.starts_from_image and self.warm_start is not None and self.group > 1

    def warm_started(self, problem: PtychographyProblem, x: PtychoEstimate) -> PtychoEstimate:
        """Where the network starts."""
        x = replace(x, object=torch.ones_like(x.object))
        if self.warm_start is None or not self.has_warm_start:
            return x
        *_, last = self.warm_start.solve(problem, Step(epoch=0, estimate=x))
        return replace(x, object=last.estimate.object)

    def training_scan(
        self, problem: PtychographyProblem, x: PtychoEstimate, *, label: Images | None = None, seed: int = 0
    ) -> TrainingScan:
        """A scan made ready to learn from, with the probe of `x`."""
        return TrainingScan(problem=problem, x=self.warm_started(problem, x), label=label)

    def warnings(self, problem: PtychographyProblem, start: PtychoEstimate) -> tuple[str, ...]:
        # What will be refused anyway need not be doubted first.
        self.require_ready()
        stored = None if self.weights is None else self._stored(self.weights, problem.scan.frame_shape)
        name = self.name if self.weights is None else short_name(self.weights)
        return network_warnings(problem, start, None if self.learns_here else stored, groups=self.groups, name=name)

    def _stored(self, weights: str, frame_shape: tuple[int, int]) -> Weights:
        """The trained weights, when they are those of this very network and it can see such frames."""
        stored = read_weights(network_path(weights))
        require_same_network(self, stored)
        require_same_frames(self, stored, frame_shape)
        return stored

    def solve(self, problem: PtychographyProblem, start: Step[PtychoEstimate]) -> Iterator[Step[PtychoEstimate]]:
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
        self,
        network: ReconstructionNetwork,
        problem: PtychographyProblem,
        x: PtychoEstimate,
        start: Step[PtychoEstimate],
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
        self, network: ReconstructionNetwork, problem: PtychographyProblem, x: PtychoEstimate, epoch: int
    ) -> Step[PtychoEstimate]:
        image, variance = self.image(network, problem, x)
        found = replace(x.clone(), object=image)
        spread = None if variance is None else x.spread([variance.sqrt().to(image.dtype), torch.zeros_like(x.probe)])
        return Step(epoch=epoch, estimate=found, residual=problem.residual(found), spread=spread)

    def image(self, network: ReconstructionNetwork, problem: PtychographyProblem, x: PtychoEstimate) -> Prediction:
        """The whole object as the network sees it, and its variance where the network says it."""
        return predicted(
            network, problem, x, grouping=self.groups, together=self.frames_per_batch, begun=self.has_warm_start
        )


def without_aliases(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a network by one name each: 0.1.0 wrote those of the encoder twice."""
    twice = ("network.network.", "average.network.")
    return {name: value for name, value in tensors.items() if not name.startswith(twice)}


def set_gain(network: ReconstructionNetwork, given: Sequence[TrainingScan]) -> None:
    """Set the gain of the inputs from the scans trained on: (N/2)^2 over the mean sum of squares, as published."""
    shares: list[float] = []
    for lesson in given:
        probe_photons = float(lesson.x.probe.abs().square().sum())
        pixels = lesson.problem.trusted.numel()
        shares.append(pixels / 4 * probe_photons / (lesson.problem.power / len(lesson.problem)))
    network.scaling.input_gain.fill_(math.sqrt(sum(shares) / len(shares)))
