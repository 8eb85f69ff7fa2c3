"""What is believed of a sample: the object, and whatever else had to be found with it. One class a kind of measurement."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Inexact, Int
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.lengths import number
from exitwave.data.showing import Shown

E = TypeVar("E", bound="Estimate")
LARGEST = 1e15
"""No object, probe or position comes near; the squares of what lies below can be summed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate(Shown):
    """An estimate of the sample: its complex transmission function, on any number of axes. Base of the kinds below.

    A kind of measurement of its own has a subclass with a `kind` of its own; all its fields are tensors, or None for what is
    not there.
    """

    kind: ClassVar[str] = "object"
    """What files call it."""
    title: ClassVar[str] = "Reconstruction"
    """What it is, in the words of a heading."""
    images: ClassVar[tuple[str, ...]] = ("object",)
    """Its fields that have a mean over several reconstructions of one measurement, once these are in one gauge; object first."""
    object: Complex[Tensor, "*axes"]

    def clone(self: E) -> E:
        """A copy that shares no memory; solvers work on one and hand out others."""
        return self._mapped(lambda value: value.detach().clone())

    def to(self: E, device: torch.device | str) -> E:
        """The same estimate on another device."""
        return self._mapped(lambda value: value.to(device))

    def tensors(self) -> dict[str, Tensor]:
        """All that it holds, by name, without what is None."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def numpy(self) -> dict[str, np.ndarray]:
        """All that it holds as arrays of numpy, by name: `estimate.numpy()["object"]`."""
        return {name: value.detach().cpu().resolve_conj().numpy() for name, value in self.tensors().items()}

    def with_images(self: E, images: Sequence[Tensor]) -> E:
        """The same with other `images`, such as their means."""
        return replace(self, **dict(zip(self.images, images, strict=True)))

    def spread(self, deviations: Sequence[Tensor]) -> "Estimate":
        """Standard deviations of its `images` as an estimate of their own."""
        return Estimate(object=deviations[0])

    @property
    def layout(self) -> tuple[int, ...]:
        """What two estimates must share to be of one measurement: the object's shape, where a kind says nothing else."""
        return tuple(self.object.shape)

    def plane(self) -> Complex[Tensor, "y x"]:
        """The object as one image, on the CPU: the middle of its further axes, where it has such."""
        return middle_plane(self.object)

    def light(self) -> Float[Tensor, "y x"]:
        """How much of the beam each pixel of that image saw, in any unit; zero where nothing is known."""
        return torch.ones(self.plane().shape, dtype=torch.float64)

    def told(self) -> tuple[str, ...]:
        modulus = self.object.detach().abs()
        low, high = number(float(modulus.min())), number(float(modulus.max()))
        return f"{type(self).__name__}: object of {_times(self.object.shape)} pixels", f"modulus {low} to {high}"

    def fault(self) -> str:
        """Why it can be no estimate, in words; empty when it can. For files that may have been edited."""
        for name, value in self.tensors().items():
            # Written so that NaN is refused, too.
            value = value.double() if value.dtype == torch.bool else value
            if value.numel() and not float(value.abs().max()) < LARGEST:
                return f"its {name} holds values beyond all bounds"
        return "" if self.object.is_complex() and self.object.numel() else "its object is no complex image"

    def _mapped(self: E, change: Callable[[Tensor], Tensor]) -> E:
        return replace(self, **{name: change(value) for name, value in self.tensors().items()})


def middle_plane(values: Inexact[Tensor, "*axes"] | Bool[Tensor, "*axes"]) -> Tensor:
    """Two axes of an array on the CPU: the middle of those before, where it has such."""
    values = values.detach().cpu()
    while values.ndim > 2:
        values = values[len(values) // 2]
    return values if values.ndim == 2 else values[None]


def estimate_kinds(base: type[Estimate] = Estimate) -> dict[str, type[Estimate]]:
    """All kinds of estimate by their names in files, those of other packages that were imported included."""

    def below(cls: type[Estimate]) -> Iterator[type[Estimate]]:
        yield cls
        for each in cls.__subclasses__():
            yield from below(each)

    return {cls.kind: cls for cls in below(base) if "kind" in vars(cls)}


@dataclass(frozen=True, kw_only=True, eq=False)
class PtychoEstimate(Estimate):
    """A belief about a ptychography scan: object, probe and where the probe stood, and what else may have varied.

    The object is a transmission function; the probe carries the photons (its summed |probe|^2 is photons per frame).
    What is None did not vary or was not there.
    """

    kind: ClassVar[str] = "ptychography"
    title: ClassVar[str] = "Ptychographic reconstruction"
    images: ClassVar[tuple[str, ...]] = ("object", "probe")
    object: Complex[Tensor, "slice Y X"]
    probe: Complex[Tensor, "mode y x"]
    positions_px: Float[Tensor, "frame 2"]
    """(y, x) in the object array of the first row and column that each frame's window covers; float64, sub-pixel."""
    slice_spacing_m: Float[Tensor, " gap"] | None = None
    """Free space between the slices of a thick sample, float64; as many as there are slices, less one."""
    variations: Complex[Tensor, "component y x"] | None = None
    """Orthogonal waves by which the first probe mode varies from frame to frame (OPR)."""
    weights: Complex[Tensor, "frame component"] | None = None
    """How much of each variation each frame has."""
    brightness: Float[Tensor, " frame"] | None = None
    """Factor on the probe's amplitude in each frame."""
    background: Float[Tensor, "y x"] | None = None
    """Photons in every frame that did not come through the sample's window; beam centre at [h // 2, w // 2]."""

    def __post_init__(self) -> None:
        if self.object.ndim != 3 or self.probe.ndim != 3 or self.positions_px.ndim != 2:
            raise InputError(
                f"object {tuple(self.object.shape)}, probe {tuple(self.probe.shape)}, positions "
                f"{tuple(self.positions_px.shape)}; expected (slice, y, x), (mode, y, x), (frame, 2)"
            )
        if self.slice_spacing_m is not None and len(self.object) != len(self.slice_spacing_m) + 1:
            raise InputError(
                f"the object has {len(self.object)} slices but {len(self.slice_spacing_m)} spacings are given; give "
                f"{len(self.object) - 1} spacings in metres"
            )
        if (self.variations is None) != (self.weights is None):
            raise InputError("variations of the probe and their weights go together; one of them is missing")

    def spread(self, deviations: Sequence[Tensor]) -> "PtychoEstimate":
        obj, probe = deviations
        return PtychoEstimate(object=obj, probe=probe, positions_px=torch.zeros(0, 2, dtype=torch.float64))

    @property
    def layout(self) -> tuple[int, ...]:
        return len(self.positions_px), *self.probe.shape[-2:]

    def told(self) -> tuple[str, ...]:
        first, modulus = super().told()
        counts = number(float(self.probe.detach().abs().double().square().sum()))
        modes = f"{len(self.probe)} mode{'s' * (len(self.probe) > 1)}"
        found = [name.replace("_", " ") for name in self.tensors() if name not in ("object", "probe", "positions_px")]
        return (
            f"{first} (slice × y × x), {modulus}",
            f"probe of {modes} of {_times(self.probe.shape[1:])} pixels, {counts} counts a frame",
            ", ".join([f"{len(self.positions_px)} positions", *found]),
        )

    def plane(self) -> Complex[Tensor, "y x"]:
        """The transmission of all slices together, on the CPU."""
        return self.object.detach().cpu().prod(dim=0)

    def some(self, kept: Int[Tensor, " kept"]) -> "PtychoEstimate":
        """The same of these frames only; the object array stays as it is."""
        parts = {"positions_px": self.positions_px, "weights": self.weights, "brightness": self.brightness}
        return replace(self, **{name: None if part is None else part[kept] for name, part in parts.items()})

    def light(self) -> Float[Tensor, "y x"]:
        """Photons that fell on each pixel of the object, summed over the scan; zero where no window reached."""
        intensity = self.probe.detach().cpu().abs().square().sum(dim=0).double()
        # So that a window counts as seen to its dark corners.
        intensity = intensity + 1e-12 * intensity.max()
        total = torch.zeros(self.object.shape[1:], dtype=torch.float64)
        (height, width), room = intensity.shape, torch.tensor(total.shape) - torch.tensor(intensity.shape)
        corners = self.positions_px.detach().cpu().round().clamp(min=torch.zeros(2), max=room)
        for row, column in corners.to(torch.int64).tolist():
            total[row : row + height, column : column + width] += intensity
        return total

    def fault(self) -> str:
        room = torch.tensor(self.object.shape[-2:]) - torch.tensor(self.probe.shape[-2:])
        if found := super().fault():
            return found
        if not self.probe.is_complex() or not self.probe.numel():
            return "its probe is no complex image"
        if bool((room < 0).any()):
            return "its probe is larger than its object"
        # Windows lie on the nearest whole pixel; refined positions may stand up to half a pixel beyond the last one.
        inside = bool((self.positions_px > -1).all() and (self.positions_px < room + 1).all())
        return "" if inside else "its positions lie outside its object"


@dataclass(frozen=True, kw_only=True, eq=False)
class SupportEstimate(Estimate):
    """An estimate of an isolated object that one pattern, or one rocking curve, shows: coherent diffraction imaging (CDI).

    The object has as many axes as its pattern, and is zero outside its support.
    """

    kind: ClassVar[str] = "support"
    title: ClassVar[str] = "Isolated object phased from its pattern"
    object: Complex[Tensor, "*axes"]
    support: Bool[Tensor, "*axes"]
    """Where the object may be."""
    beam_photons: Float[Tensor, ""]
    """Photons that fall on a pixel of the even beam: |object|^2 times these are those that pass through it."""
    coherence: Float[Tensor, "*window"] | None = None
    """Small kernel that blurs the pattern where the beam is partly coherent; sum 1, zero shift in its middle, one axis for each
    of the object's."""

    def __post_init__(self) -> None:
        if self.coherence is not None and self.coherence.ndim != self.object.ndim:
            raise InputError(
                f"a coherence kernel on {self.coherence.ndim} axes for an object on {self.object.ndim}; expected the same"
            )
        if self.support.shape != self.object.shape:
            raise InputError(
                f"the support is {tuple(self.support.shape)}, the object {tuple(self.object.shape)}; expected the same"
            )

    def told(self) -> tuple[str, ...]:
        return *super().told(), f"support of {int(self.support.sum())} pixels"

    def with_images(self, images: Sequence[Tensor]) -> "SupportEstimate":
        (obj,) = images
        # A mean may be wherever any of its parts was.
        return replace(self, object=obj, support=obj != 0)

    def light(self) -> Float[Tensor, "y x"]:
        """1 inside the support, 0 elsewhere."""
        return middle_plane(self.support).double()

    def fault(self) -> str:
        if self.support.dtype != torch.bool:
            return "its support is not what it should be"
        if found := super().fault():
            return found
        light = self.beam_photons
        known = light.numel() == 1 and not light.is_complex() and float(light) > 0
        return "" if known and not light.ndim else "its beam has no number of photons"


@dataclass(frozen=True, kw_only=True, eq=False)
class BraggEstimate(SupportEstimate):
    """An estimate of a crystal that a rocking curve shows (3D Bragg CDI): amplitude is electron density, phase is -Q . u.

    u is the displacement of the lattice. The array's axes (frame, row, column) are in general not at right angles; `basis_m`
    tells how they lie in the laboratory.
    """

    kind: ClassVar[str] = "bragg"
    title: ClassVar[str] = "Crystal phased from its rocking curve"
    object: Complex[Tensor, "frame y x"]
    support: Bool[Tensor, "frame y x"]
    basis_m: Float[Tensor, "3 3"]
    """Step in the laboratory (z, y, x: rows) per voxel along each axis of the array (columns), metres, float64."""
    scattering_vector: Float[Tensor, "3"]
    """Q (z, y, x) in the laboratory, 1/m, float64; |Q| = 2 pi / d of the lattice planes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        shapes = self.object.ndim, tuple(self.basis_m.shape), tuple(self.scattering_vector.shape)
        if shapes != (3, (3, 3), (3,)):
            raise InputError(
                f"a crystal on {shapes[0]} axes with a basis of {shapes[1]} and a scattering vector of {shapes[2]}; expected 3 "
                "axes, (3, 3) and (3,)"
            )

    @property
    def spacing_m(self) -> float:
        """Distance of the lattice planes that reflect: 2 pi / |Q|."""
        return 2 * math.pi / float(self.scattering_vector.norm())

    def told(self) -> tuple[str, ...]:
        return *super().told(), f"lattice planes {number(self.spacing_m * 1e10, 5)} Å apart"

    def fault(self) -> str:
        if found := super().fault():
            return found
        volume = float(torch.linalg.det(self.basis_m.double() / self.basis_m.double().norm().clamp(min=1e-30)).abs())
        return "" if volume > 1e-9 and float(self.scattering_vector.norm()) > 0 else "its axes lie in one plane"


def _times(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))
