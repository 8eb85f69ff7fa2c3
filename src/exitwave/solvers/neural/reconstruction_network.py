"""Reconstruction networks, which work on groups of frames: from measured amplitudes to an image on the canvas of each group."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar, NamedTuple, TypeVar, cast, dataclass_transform

import torch
from jaxtyping import Float
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as validated
from torch import Tensor, nn

from exitwave.data.errors import InputError
from exitwave.networks.scaling import Scaling
from exitwave.problems.groups.canvases import Canvases, Images
from exitwave.solvers.registry import solvers

Engine = Callable[[int, Tensor], Tensor]
"""Computes one part of a network elsewhere, such as in ONNX Runtime: number of the part, its input."""


class GroupBatch:
    """Groups of frames of one scan, and the image from which each starts. Not a dataclass: Fabric would take it apart."""

    def __init__(self, canvases: Canvases, start: Images, *, near_field: bool) -> None:
        self.canvases = canvases
        self.start = start
        self.near_field = near_field

    @property
    def probe_photons(self) -> Float[Tensor, ""]:
        """Of the probe, all modes together; the mean over frames where it varies."""
        return self.canvases.probes.abs().square().sum(dim=(1, 2, 3)).mean()


class Prediction(NamedTuple):
    """What a network makes of groups of frames. A tuple, which Fabric passes on as it is."""

    image: Images
    """The transmission of the sample on the canvas of each group."""
    variance: Float[Tensor, "group Y X"] | None = None
    """Expected |error|^2 of each pixel, above 0, from networks that say how far they can be trusted."""


class ReconstructionNetwork(nn.Module):
    """Makes an image of every group of frames; differentiable. `parts` are its trained modules, real numbers in and out."""

    def __init__(
        self, architecture: "NetworkArchitecture", parts: Sequence[nn.Module], *, learned_scale: bool = False
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.scaling = Scaling(learned=learned_scale)
        self.parts = nn.ModuleList(parts)
        self.engine: Engine | None = None

    def forward(self, batches: Sequence[GroupBatch]) -> list[Prediction]:
        """What it makes of the groups of each batch.

        All batches in one call, because devices that share a training exchange gradients once a call.
        """
        found = [self.architecture.predict(self, batch) for batch in batches]
        scaled = self.scaling.leaving
        return [Prediction(scaled(p.image), None if p.variance is None else scaled(scaled(p.variance))) for p in found]

    def run(self, number: int, inputs: Float[Tensor, "batch channel y x"]) -> Tensor:
        """One of the parts, wherever it is computed, as 32-bit numbers."""
        if self.engine is not None:
            return self.engine(number, inputs)
        return self.parts[number](inputs.contiguous(memory_format=torch.channels_last)).float()


class NetworkArchitecture(ABC):
    """A kind of network for groups of frames: a frozen value whose fields are its options. Declared with `@network`.

    It holds no weights: those are in the `ReconstructionNetwork` that is built of its parts.
    """

    name: ClassVar[str]
    """Names it in specs and on the command line."""
    starts_from_image: ClassVar[bool] = True
    """Whether it corrects the image from which a group starts; then a warm start of the whole scan helps it."""
    sees_positions: ClassVar[bool] = True
    """False where it is not told where the frames of a group are, so that all groups must be arranged alike."""
    needs_fixed_probe: ClassVar[bool] = False
    """True where it is not told the probe, so that all scans must have the same."""
    any_frame_shape: ClassVar[bool] = True
    """False where it takes frames of the size that it was trained on alone."""

    @abstractmethod
    def parts(self, frame_shape: tuple[int, int], group: int, seed: int) -> Sequence[nn.Module]:
        """The modules to be trained, for frames of this shape in groups of so many, their weights drawn by the seed alone."""

    @abstractmethod
    def predict(self, network: ReconstructionNetwork, batch: GroupBatch) -> Prediction:
        """An image of each group. Parts are called by `network.run`, so that another runtime can compute them."""

    @abstractmethod
    def example_input(self, part: nn.Module) -> tuple[Tensor, tuple[int, ...]]:
        """An input of a part to export it with, and which of its sizes may vary (those must differ from each other)."""

    @abstractmethod
    def input_description(self, part: nn.Module) -> str:
        """What a part expects and gives, in words that are written into exported files."""

    def accepts(self, frame_shape: tuple[int, int]) -> None:
        """Raise InputError where it cannot see frames of this shape."""
        return


A = TypeVar("A", bound=NetworkArchitecture)
_REGISTRY: dict[str, type[NetworkArchitecture]] = {}


@dataclass_transform(kw_only_default=True, frozen_default=True)
def network(cls: type[A]) -> type[A]:
    """Register a kind of network and make it a frozen, keyword-only, validated value: an option of solvers from then on."""
    made = cast(
        "type[A]",
        validated(cls, frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True)),
    )
    if made.name in _REGISTRY:
        raise ValueError(f"two networks are called {made.name!r}")
    _REGISTRY[made.name] = made
    return made


def architectures() -> Mapping[str, type[NetworkArchitecture]]:
    """All kinds of networks by name, those of other packages (entry points `exitwave.solvers`) included."""
    solvers()
    return dict(_REGISTRY)


def option_names(cls: type[NetworkArchitecture]) -> list[str]:
    """The options of a kind of network."""
    return [option.name for option in fields(cast(Any, cls))]


def as_architecture(value: Any) -> Any:
    """A network where its name, or a table with name and options, is given; anything else as it is, for validators to refuse."""
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping):
        return value
    options = dict(cast("Mapping[str, Any]", value))
    known, name = architectures(), options.pop("name", None)
    if name not in known:
        raise InputError(f"there is no network {name!r}; there are {', '.join(sorted(known))}")
    allowed = option_names(known[name])
    if unknown := [key for key in options if key not in allowed]:
        raise InputError(
            f"the network {name} has no option {', '.join(map(repr, unknown))}; its options are {', '.join(allowed) or 'none'}"
        )
    return known[name](**options)
