"""What a ptychography measurement is: patterns with positions, a mask and a geometry."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.geometry import Geometry


@runtime_checkable
class Patterns(Protocol):
    """A stack of diffraction patterns that gives only the frames it is asked for; it may stay on disk."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of frames, rows, columns."""
        ...

    @property
    def in_memory(self) -> bool:
        """False when reading a frame costs a disk access."""
        ...

    def read(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
        """The frames at `index`, in that order, as float32 photons."""
        ...


@dataclass(frozen=True, eq=False)
class ArrayPatterns:
    """Patterns held by an array: a tensor, a numpy array or a numpy memory map (which stays on disk)."""

    array: Tensor | np.ndarray

    def __post_init__(self) -> None:
        if self.array.ndim != 3:
            raise InputError(f"patterns have shape {tuple(self.array.shape)}; expected (frame, y, x)")
        if self.array.dtype.is_complex if isinstance(self.array, Tensor) else self.array.dtype.kind not in "biuf":
            raise InputError(
                f"patterns are {self.array.dtype}; expected real photon counts. Complex data are wave fields: "
                "pass their squared modulus if they are what was measured"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        frames, height, width = self.array.shape
        return int(frames), int(height), int(width)

    @property
    def in_memory(self) -> bool:
        return not isinstance(self.array, np.memmap)

    def read(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
        if isinstance(self.array, Tensor):
            return self.array[index.to(self.array.device)].to(torch.float32)
        # What is too large for float32 becomes infinite, which is refused where a problem is posed.
        with np.errstate(over="ignore"):
            return torch.from_numpy(self.array[index.numpy()].astype(np.float32))


@dataclass(frozen=True, eq=False)
class MappedPatterns:
    """Patterns seen through a function of a batch of frames (crop, bin, subtract ...), applied when they are read."""

    source: Patterns
    function: Callable[[Float[Tensor, "batch y x"], Int[Tensor, " batch"]], Float[Tensor, "batch y2 x2"]]
    frame_shape: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.source.shape[0], *self.frame_shape

    @property
    def in_memory(self) -> bool:
        return self.source.in_memory

    def read(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
        return self.function(self.source.read(index), index)


@dataclass(frozen=True, eq=False)
class SelectedPatterns:
    """Some frames of a stack, in a given order."""

    source: Patterns
    index: Int[Tensor, " frame"]

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.index), *self.source.shape[1:]

    @property
    def in_memory(self) -> bool:
        return self.source.in_memory

    def read(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
        return self.source.read(self.index[index])


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """One ptychography measurement: a diffraction pattern for each position of the beam on the sample.

    Shapes are checked here; whether the values make sense is checked when a problem is posed. A plain array or tensor
    given as `patterns` is wrapped. Raises InputError for shapes that do not fit together.
    """

    patterns: Patterns
    """Photons, (frame, y, x), beam centre at [h // 2, w // 2]."""
    positions_m: Float[Tensor, "frame 2"]
    """(y, x) of the probe in the sample frame, metres, float64: +y is a larger row, +x a larger column of the object."""
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
        positions = torch.as_tensor(self.positions_m, dtype=torch.float64).cpu()
        if positions.ndim != 2 or positions.shape[1] != 2:
            raise InputError(f"positions have shape {tuple(positions.shape)}; expected (frame, 2) with columns (y, x)")
        if len(positions) != frames:
            raise InputError(
                f"{frames} diffraction patterns but {len(positions)} positions; each frame needs exactly one position: "
                "select the frames that have one, or repair the file"
            )
        mask = self.mask if self.mask is not None else torch.ones(height, width, dtype=torch.bool)  # pyright: ignore[reportUnnecessaryComparison]
        self._store("patterns", patterns)
        self._store("positions_m", positions)
        self._store("mask", self._frame_array("mask", mask).to(torch.bool))
        if self.background is not None:
            self._store("background", self._frame_array("background", self.background).to(torch.float32))
        if self.monitor is not None:
            monitor = torch.as_tensor(self.monitor, dtype=torch.float32)
            if tuple(monitor.shape) != (frames,):
                raise InputError(
                    f"monitor has shape {tuple(monitor.shape)}; expected one value for each of {frames} frames"
                )
            self._store("monitor", monitor)

    def _store(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _frame_array(self, name: str, array: Tensor) -> Tensor:
        array = torch.as_tensor(array)
        if tuple(array.shape) != self.frame_shape:
            raise InputError(
                f"{name} has shape {tuple(array.shape)} but frames are {self.frame_shape}; "
                f"crop or transpose the {name} to the frames, or leave it out"
            )
        return array

    def __len__(self) -> int:
        return self.patterns.shape[0]

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Rows and columns of one pattern."""
        return self.patterns.shape[1], self.patterns.shape[2]

    @property
    def object_pixel_m(self) -> tuple[float, float]:
        """Pixel size (y, x) of the object that will be reconstructed."""
        return self.geometry.object_pixel_m(self.frame_shape)

    def frames(self, index: Int[Tensor, " batch"] | slice) -> Float[Tensor, "batch y x"]:
        """Read some diffraction patterns, float32 photons; the only way to read patterns, and reads only these."""
        if isinstance(index, slice):
            index = torch.arange(len(self))[index]
        return self.patterns.read(index.cpu())
