"""Four-dimensional data of scanning electron diffraction: (scan y, scan x, detector y, detector x), never read whole."""

import math
import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.errors import ExitwaveError, FormatError
from exitwave.data.patterns import MappedPatterns, Patterns, SelectedPatterns
from exitwave.io.assemble import Contents, ReadOptions
from exitwave.io.known_geometry import beam
from exitwave.io.positions import with_stated_positions
from exitwave.io.raster import raster_shape
from exitwave.io.units import ANGLES_RAD, LENGTHS_M

LARGEST_FRAME = 2**28
"""Pixels beyond which a header must be damaged: no detector has as many."""


@dataclass(frozen=True, eq=False)
class CubePatterns:
    """Frames of an array (row, column, y, x) of any order in memory; one that is a memory map stays on disk."""

    cube: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        rows, columns, height, width = self.cube.shape
        return rows * columns, height, width

    @property
    def in_memory(self) -> bool:
        return not isinstance(self.cube, np.memmap)

    def read(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
        rows, columns = np.divmod(index.numpy(), self.cube.shape[1])
        # What is too large for float32 becomes infinite, which is refused where a problem is posed.
        with np.errstate(over="ignore"):
            return torch.from_numpy(np.ascontiguousarray(self.cube[rows, columns], dtype=np.float32))


def frame_blocks(
    path: Path,
    dtype: str,
    frame_shape: tuple[int, int],
    *,
    start: int = 0,
    header_bytes: int = 0,
    trailer_bytes: int = 0,
) -> np.ndarray:
    """Frames that follow one another in a file, each between a header and a trailer of so many bytes, as a memory map.

    Raises FormatError where the file does not end behind a whole frame, or holds none.
    """
    if not 0 < math.prod(frame_shape) <= LARGEST_FRAME:
        raise FormatError(f"{path} says its frames are {frame_shape[0]} x {frame_shape[1]} pixels; it is damaged")
    frame = np.dtype((np.dtype(dtype), frame_shape))
    total = header_bytes + frame.itemsize + trailer_bytes
    record = np.dtype({"names": ["frame"], "formats": [frame], "offsets": [header_bytes], "itemsize": total})
    held = path.stat().st_size - start
    frames, rest = divmod(held, total)
    if frames < 1 or rest:
        raise FormatError(
            f"{path} holds {max(frames, 0)} whole frames of {frame_shape[0]} x {frame_shape[1]} pixels and {rest} bytes more, where "
            f"one takes {total}; it is truncated or of another kind: copy it again from where it was made"
        )
    return np.memmap(path, record, "r", start, (frames,))["frame"]


def on_raster(contents: Contents, stated: ReadOptions, path: Path) -> Contents:
    """The contents with the positions of the file that is stated, if there is one.

    Raises FormatError where the file says that its raster has more or fewer positions than it holds frames.
    """
    contents = with_stated_positions(contents, stated)
    patterns, shape = contents.patterns, contents.scan_shape
    frames = 0 if patterns is None else patterns.shape[0]
    placed = contents.positions is not None and len(contents.positions) == frames
    if shape is not None and stated.scan is None and not placed and frames != shape[0] * shape[1]:
        raise FormatError(
            f"{path} holds {frames} frames but is said to be a raster of {shape[0]} rows and {shape[1]} columns; the scan "
            "was broken off or the file is truncated: state the rows and columns that there are, such as "
            f"--scan {max(1, frames // shape[1])}x{shape[1]}"
        )
    return contents


def on_axes(contents: Contents, stated: ReadOptions, path: Path) -> Contents:
    """The same for an array that has the raster as axes of its own. Raises FormatError where another one is stated."""
    shape = contents.scan_shape
    if shape is not None and stated.scan is not None and raster_shape(stated.scan) != shape:
        raise FormatError(
            f"{path} holds a raster of {shape[0]} x {shape[1]} but scan is {stated.scan}; leave out --scan"
        )
    return with_stated_positions(contents, stated)


def transposed(patterns: Patterns) -> Patterns:
    """Frames whose rows and columns are exchanged, as they are read."""
    height, width = patterns.shape[1:]
    return MappedPatterns(patterns, _transposed, (width, height))


def x_before_y(patterns: Patterns, columns: int, rows: int) -> Patterns:
    """Frames stored as (scan x, scan y, detector x, detector y), brought into rows of the scan and rows of the detector."""
    index = torch.arange(columns * rows).reshape(columns, rows).T.flatten()
    return transposed(SelectedPatterns(patterns, index))


def _transposed(frames: Float[Tensor, "batch x y"], index: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
    return frames.mT.contiguous()


def with_detector_scale(
    contents: Contents, scale: tuple[float, float], unit: str, stated: ReadOptions, path: Path
) -> Contents:
    """The contents with what a file says of a detector pixel (y, x), as an angle or a spatial frequency 1/length.

    Left out where the unit is none of these. Raises FormatError where nobody says the voltage, so that a frequency is no angle.
    """
    word = re.sub(r"\^-1|⁻¹|1/|1 /|[\[\]\s]", "", unit)
    if not all(math.isfinite(step) and step > 0 for step in scale):
        return contents
    if word in ANGLES_RAD:
        factor = ANGLES_RAD[word]
    elif word != unit.strip(" []") and word.replace("n_m", "nm") in LENGTHS_M:
        _, wavelength = beam(stated.kv, stated.energy_ev, contents.particle, contents.wavelength_m)
        if wavelength is None:
            raise FormatError(f"{path} does not say the acceleration voltage; state it in kilovolts, such as --kv 300")
        factor = wavelength / LENGTHS_M[word.replace("n_m", "nm")]
    else:
        return contents
    return replace(contents, pixel_angle_rad=(scale[0] * factor, scale[1] * factor))


def begins_with(path: Path, *signatures: bytes) -> bool:
    """Whether a file begins with one of these bytes; False for folders and files that nobody may read."""
    if not path.is_file() or not os.access(path, os.R_OK):
        return False
    with path.open("rb") as file:
        return file.read(max(map(len, signatures))).startswith(signatures)


@contextmanager
def clear_errors(path: Path, what: str) -> Generator[None]:
    """Whatever a reader of a damaged file raises within becomes a FormatError."""
    try:
        yield
    except ExitwaveError:
        raise
    except Exception as error:
        raise FormatError(f"{path} is not a readable {what} ({error}); copy it again from where it was made") from error
