"""A ptychography measurement: a diffraction pattern for each position of the beam on the sample."""

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.arrays import as_tensor
from exitwave.data.errors import InputError
from exitwave.data.lengths import length_unit, number
from exitwave.data.measurement import Measurement
from exitwave.data.pattern import Pattern
from exitwave.data.patterns import SelectedPatterns


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan(Measurement):
    """One ptychography measurement: a diffraction pattern for each position of the beam on the sample.

    A plain array or tensor given as `patterns` is wrapped. Raises InputError for shapes that do not fit together.
    """

    positions_m: Float[Tensor, "frame 2"]
    """(y, x) of the probe in the sample frame, metres, float64: +y is a larger row, +x a larger column of the object."""

    def __post_init__(self) -> None:
        super().__post_init__()
        frames = len(self)
        positions = as_tensor(self.positions_m, dtype=torch.float64).cpu()
        if positions.ndim != 2 or positions.shape[1] != 2:
            raise InputError(f"positions have shape {tuple(positions.shape)}; expected (frame, 2) with columns (y, x)")
        if len(positions) != frames:
            raise InputError(
                f"{frames} diffraction patterns but {len(positions)} positions; each frame needs exactly one position: "
                "select the frames that have one, or repair the file"
            )
        self._store("positions_m", positions)

    @property
    def object_pixel_m(self) -> tuple[float, float]:
        """Pixel size (y, x) of the object that will be reconstructed."""
        return self.geometry.object_pixel_m(self.frame_shape)

    @property
    def places(self) -> Float[Tensor, "frame axis"]:
        """What no two frames have in common: where they were measured."""
        return self.positions_m

    @property
    def title(self) -> str:
        return (
            f"a ptychography scan of {len(self)} frames (one of them can be phased alone: preparation step select=0:1)"
        )

    def told(self) -> tuple[str, ...]:
        first, *rest = super().told()
        span = self.positions_m.amax(dim=0) - self.positions_m.amin(dim=0)
        scale, unit = length_unit(float(span.max()))
        over = " × ".join(number(float(side) / scale) for side in span)
        return f"{first} over {over} {unit} (y × x)", *rest

    def some(self, kept: Int[Tensor, " kept"]) -> Self:
        monitor = None if self.monitor is None else self.monitor[kept]
        patterns = SelectedPatterns(self.patterns, kept)
        return replace(self, patterns=patterns, positions_m=self.positions_m[kept], monitor=monitor)

    def settled(self) -> Measurement:
        """One frame alone has no place: it is the pattern of an isolated object."""
        return self.pattern(0) if len(self) == 1 else self

    def pattern(self, frame: int) -> Pattern:
        """One frame by itself, to be phased as the pattern of an isolated object. Raises IndexError."""
        alone = self.some(torch.arange(len(self))[frame][None])
        return Pattern(**{f.name: getattr(alone, f.name) for f in fields(Pattern)})
