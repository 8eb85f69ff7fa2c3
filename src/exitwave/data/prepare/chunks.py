"""Basis of every preparation step: chunks of frames, a note of what was done, sizes as pairs."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.measurement import Measurement
from exitwave.data.progress import in_parts

CHUNK_PIXELS = 2**24
"""Pixels read at once when a step must see the whole stack: 64 MiB of float32."""


def noted(scan: Measurement, step: str) -> Mapping[str, Any]:
    """The scan's provenance with one more line about its preparation."""
    return {**scan.provenance, "preparation": [*scan.provenance.get("preparation", []), step]}


def chunks(scan: Measurement) -> Iterator[tuple[Int[Tensor, " batch"], Float[Tensor, "batch y x"]]]:
    """All frames in order, a few at a time, each with its index."""
    height, width = scan.frame_shape
    step = max(1, CHUNK_PIXELS // (height * width))
    for start in in_parts("preparing frames", range(0, len(scan), step)):
        index = torch.arange(start, min(start + step, len(scan)))
        yield index, scan.frames(index)


def mean_pattern(scan: Measurement, sample: int) -> Float[Tensor, "y x"]:
    """Mean of at most `sample` frames spread evenly over the scan."""
    index = torch.linspace(0, len(scan) - 1, min(sample, len(scan)), dtype=torch.float64).round().to(torch.int64)
    return scan.frames(index).mean(dim=0)


def pair(name: str, value: int | tuple[int, int], least: int = 1) -> tuple[int, int]:
    """One whole number for both axes, or a pair (y, x). Raises InputError below `least`."""
    rows, columns = (value, value) if isinstance(value, int) else value
    if rows < least or columns < least:
        raise InputError(f"{name} is {value}; expected whole numbers (y, x) of at least {least}")
    return rows, columns
