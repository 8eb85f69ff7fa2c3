"""Stacks of diffraction patterns, which may stay on disk until frames are asked for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.errors import InputError


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


@dataclass(frozen=True, eq=False)
class RememberedPatterns:
    """Patterns of which those that were read are kept in memory, as many as fit into some bytes."""

    source: Patterns
    most_bytes: int
    _kept: dict[int, Float[Tensor, "y x"]] = field(default_factory=dict[int, Tensor], init=False, repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.source.shape

    @property
    def in_memory(self) -> bool:
        return self.source.in_memory

    def read(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
        kept, frame_bytes = self._kept, 4 * self.shape[1] * self.shape[2]
        new = [number for number in dict.fromkeys(index.tolist()) if number not in kept]
        if (len(kept) + len(new)) * frame_bytes > self.most_bytes:
            return self.source.read(index)
        if new:
            # Of their own: a part of a larger array would keep all of it.
            kept.update(zip(new, (frame.clone() for frame in self.source.read(torch.tensor(new))), strict=True))
        return torch.stack([kept[number] for number in index.tolist()]) if len(index) else self.source.read(index)


@dataclass(frozen=True, eq=False)
class SummedPatterns:
    """Frames that are sums of so many exposures each, which follow one another."""

    source: Patterns
    exposures: int

    @property
    def shape(self) -> tuple[int, int, int]:
        frames, height, width = self.source.shape
        return frames // self.exposures, height, width

    @property
    def in_memory(self) -> bool:
        return self.source.in_memory

    def read(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
        each = (index[:, None] * self.exposures + torch.arange(self.exposures)).flatten()
        return self.source.read(each).unflatten(0, (-1, self.exposures)).sum(dim=1)
