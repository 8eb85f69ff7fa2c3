"""What we believe: the object, and whatever else had to be found with it."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeVar

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
        return type(self)(**{name: None if value is None else change(value) for name, value in values.items()})


@dataclass(frozen=True, kw_only=True, eq=False)
class PtychoEstimate(Estimate):
    """A belief about a ptychography scan: object, probe and where the probe stood.

    The object is a transmission function; the probe carries the photons (its summed |probe|^2 is photons per frame).
    """

    probe: Complex[Tensor, "mode y x"]
    positions_px: Float[Tensor, "frame 2"]
    """(y, x) in the object array of the first row and column that each frame's window covers; float64, sub-pixel."""
    support: Bool[Tensor, "slice Y X"] | None = None
    """Where an isolated object may be; it is zero elsewhere. One pattern of it is a scan of one frame, the probe even."""

    def __post_init__(self) -> None:
        if self.object.ndim != 3 or self.probe.ndim != 3 or self.positions_px.ndim != 2:
            raise InputError(
                f"object {tuple(self.object.shape)}, probe {tuple(self.probe.shape)}, positions "
                f"{tuple(self.positions_px.shape)}; expected (slice, y, x), (mode, y, x), (frame, 2)"
            )
        if self.support is not None and self.support.shape != self.object.shape:
            raise InputError(
                f"the support is {tuple(self.support.shape)}, the object {tuple(self.object.shape)}; expected the same"
            )
