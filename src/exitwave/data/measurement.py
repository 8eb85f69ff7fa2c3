"""What all kinds of measurement have in common: diffraction patterns, geometry, detector."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from exitwave.data.arrays import as_tensor
from exitwave.data.errors import InputError
from exitwave.data.geometry import Geometry
from exitwave.data.lengths import length, lengths, number
from exitwave.data.patterns import ArrayPatterns, MappedPatterns, Patterns, SelectedPatterns
from exitwave.data.showing import Shown


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurement(Shown):
    """Diffraction patterns of one sample, with the geometry and what is known of the detector: base of all kinds of measurement.

    Shapes are checked here; whether the values make sense is checked when a problem is posed. A plain array or tensor
    given as `patterns` is wrapped. Raises InputError for shapes that do not fit together.
    """

    keeps_lie: ClassVar[str] = ""
    """Why its frames are not to be turned or mirrored, where they are not: what says instead how they lie."""

    patterns: Patterns
    """Photons, (frame, y, x), beam centre at [h // 2, w // 2]."""
    geometry: Geometry
    mask: Bool[Tensor, "y x"] = None  # pyright: ignore[reportAssignmentType]  # filled in below
    """True where the detector can be trusted; all of it when left out."""
    background: Float[Tensor, "y x"] | None = None
    """Mean counts without the sample's light, if the file holds them; `prepare.subtract_background` uses them."""
    monitor: Float[Tensor, " frame"] | None = None
    """Beam intensity for each frame, any unit, if the file holds it; `prepare.normalise_by_monitor` uses it."""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Where this came from: file, format, what was changed on the way. JSON-able."""

    def __post_init__(self) -> None:
        patterns = self.patterns
        if isinstance(patterns, Tensor | np.ndarray):
            patterns = ArrayPatterns(patterns)
        frames, height, width = patterns.shape
        self._store("patterns", patterns)
        mask = self.mask if self.mask is not None else torch.ones(height, width, dtype=torch.bool)  # pyright: ignore[reportUnnecessaryComparison]
        self._store("mask", self._frame_array("mask", mask).to(torch.bool))
        if self.background is not None:
            self._store("background", self._frame_array("background", self.background).to(torch.float32))
        if self.monitor is not None:
            monitor = as_tensor(self.monitor, dtype=torch.float32)
            if tuple(monitor.shape) != (frames,):
                raise InputError(
                    f"monitor has shape {tuple(monitor.shape)}; expected one value for each of {frames} frames"
                )
            self._store("monitor", monitor)

    def _store(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _frame_array(self, name: str, array: Tensor) -> Tensor:
        array = as_tensor(array)
        if tuple(array.shape) != self.frame_shape:
            raise InputError(
                f"{name} has shape {tuple(array.shape)} but frames are {self.frame_shape}; "
                f"crop or transpose the {name} to the frames, or leave it out"
            )
        return array

    def __len__(self) -> int:
        return self.patterns.shape[0]

    @property
    def title(self) -> str:
        """What it is called in messages."""
        return f"a measurement of {len(self)} frames"

    @property
    def layout(self) -> tuple[int, ...]:
        """What an estimate must share to be of this measurement; see `Estimate.layout`."""
        return self.patterns.shape

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Rows and columns of one pattern."""
        return self.patterns.shape[1], self.patterns.shape[2]

    @property
    def object_pixel_m(self) -> tuple[float, ...]:
        """Pixel size (y, x) of the object that will be reconstructed."""
        return self.geometry.object_pixel_m(self.frame_shape)

    show = Shown.plot
    """The figure that `plot` gives: what the detector saw, and where the beam stood."""

    def told(self) -> tuple[str, ...]:
        geometry, masked = self.geometry, float((~self.mask).double().mean())
        source = self.provenance.get("file") or self.provenance.get("source") or "made in Python"
        return (
            f"{type(self).__name__}: {len(self)} frame{'s' * (len(self) != 1)} of {' × '.join(map(str, self.frame_shape))} pixels",
            f"{geometry.particle}s of {number(geometry.energy_ev / 1e3, 4)} keV, {'near' if geometry.near_field else 'far'} field, "
            f"object pixel {lengths(self.object_pixel_m)}, {length(geometry.distance_m)} to the detector",
            f"{source}, {f'{number(100 * masked, 2)} % of the pixels masked' if masked else 'no pixel masked'}",
        )

    def some(self, kept: Int[Tensor, " kept"]) -> Self:
        """The same measurement with these frames only."""
        monitor = None if self.monitor is None else self.monitor[kept]
        return replace(self, patterns=SelectedPatterns(self.patterns, kept), monitor=monitor)

    def reframed(
        self,
        look: Callable[..., Tensor],
        shape: tuple[int, int],
        *,
        trust: Callable[[Tensor], Tensor],
        middle_px: tuple[float, float],
        step_px: tuple[int, int] = (1, 1),
    ) -> Self:
        """The same with frames seen through `look`, such as a window or bins, masks through `trust`.

        `middle_px` is where the new frame's middle lies, from that of the old one; `step_px` how many old pixels a new one spans.
        """
        pixel_y, pixel_x = self.geometry.detector_pixel_m
        return replace(
            self,
            patterns=MappedPatterns(self.patterns, look, shape),
            mask=trust(self.mask),
            background=None if self.background is None else look(self.background),
            geometry=replace(self.geometry, detector_pixel_m=(pixel_y * step_px[0], pixel_x * step_px[1])),
        )

    def settled(self) -> "Measurement":
        """The measurement as the kind that it is after all preparation: itself, unless a kind says otherwise."""
        return self

    def frames(self, index: Int[Tensor, " batch"] | slice) -> Float[Tensor, "batch y x"]:
        """Read some diffraction patterns, float32 photons; the only way to read patterns, and reads only these."""
        if isinstance(index, slice):
            index = torch.arange(len(self))[index]
        return self.patterns.read(index.cpu())


M = TypeVar("M", bound=Measurement)
