"""What we believe: the object, and whatever else had to be found with it."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from exitwave.data.errors import InputError

E = TypeVar("E", bound="Estimate")
LARGEST = 1e15
"""No object, probe or position comes near; the squares of what lies below can be summed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """A belief about the sample: its complex transmission function, slice by slice along the beam."""

    object: Complex[Tensor, "slice Y X"]

    def clone(self: E) -> E:
        """A copy that shares no memory; solvers work on one and hand out others."""
        return self._mapped(lambda value: value.detach().clone())

    def to(self: E, device: torch.device | str) -> E:
        """The same estimate on another device."""
        return self._mapped(lambda value: value.to(device))

    def _mapped(self: E, change: Callable[[Tensor], Tensor]) -> E:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        changed: dict[str, Any] = {name: None if v is None else change(v) for name, v in values.items()}
        return type(self)(**changed)


@dataclass(frozen=True, kw_only=True, eq=False)
class PtychoEstimate(Estimate):
    """A belief about a ptychography scan: object, probe and where the probe stood, and what else may have varied.

    The object is a transmission function; the probe carries the photons (its summed |probe|^2 is photons per frame).
    What is None did not vary or was not there.
    """

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
    support: Bool[Tensor, "slice Y X"] | None = None
    """Where an isolated object may be; it is zero elsewhere. One pattern of it is a scan of one frame, the probe even."""

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
        if self.support is not None and self.support.shape != self.object.shape:
            raise InputError(
                f"the support is {tuple(self.support.shape)}, the object {tuple(self.object.shape)}; expected the same"
            )
