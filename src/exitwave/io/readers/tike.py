"""NumPy archives of tike: frames with the beam in their corner, windows in pixels, and perhaps a probe and an object.

https://github.com/AdvancedPhotonSource/tike, release 0.26: `data` (frame, y, x) counts, `scan` (frame, 2) the first row and
column of each window in `psi`, `probe` (1, 1, mode, y, x); each may have one more axis in front, of rotations.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from exitwave.data.errors import FormatError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.patterns import ArrayPatterns, MappedPatterns
from exitwave.io import npz_arrays
from exitwave.io.assemble import Contents, Format, ReadOptions
from exitwave.io.positions import with_stated_positions
from exitwave.io.readers.ptychodus import stack

LOOKED_AT = 16
"""Frames that tell whether the beam is in the corner."""


def read(path: Path, stated: ReadOptions) -> Contents:
    """A scan of one rotation. Raises FormatError for several, and for windows and frames that are no such arrays."""
    frames = _of_one_rotation(path, npz_arrays.load(path, "data"), 3, "data")
    patterns = ArrayPatterns(frames)
    cornered = _in_corner(patterns)
    contents = Contents(
        patterns=MappedPatterns(patterns, _centred, patterns.shape[1:]) if cornered else patterns,
        positions=_corners(path),
        position_unit="px",
        notes={"dataset": "data", "beam_in_file": "corner" if cornered else "middle"},
    )
    return with_stated_positions(contents, stated)


def read_estimate(path: Path) -> PtychoEstimate:
    """Object, probe and positions. Raises FormatError where there is no object."""
    obj = stack(_squeezed(npz_arrays.load(path, "psi"), 3))
    if obj is None:
        raise FormatError(f"{path} holds no object (psi); take only its probe (--probe)")
    return PtychoEstimate(
        object=torch.from_numpy(obj), probe=read_probe(path), positions_px=torch.from_numpy(_corners(path))
    )


def read_probe(path: Path) -> Tensor:
    """The probe, (mode, y, x)."""
    probe = stack(_squeezed(npz_arrays.load(path, "probe"), 3))
    if probe is None:
        raise FormatError(f"{path} holds no probe that is the same for all frames; give another file")
    return torch.from_numpy(probe)


def _corners(path: Path) -> Float[np.ndarray, "frame 2"]:
    return _of_one_rotation(path, npz_arrays.numbers(path, "scan"), 2, "scan")


def _squeezed(array: np.ndarray | None, axes: int) -> np.ndarray | None:
    """The array without axes of length 1 in front, down to so many."""
    while array is not None and array.ndim > axes and array.shape[0] == 1:
        array = array[0]
    return array


def _of_one_rotation(path: Path, array: np.ndarray | None, axes: int, name: str) -> np.ndarray:
    array = _squeezed(array, axes)
    if array is None or array.ndim != axes or array.dtype.kind not in "biuf" or 0 in array.shape:
        found = "missing" if array is None else f"{array.dtype} of shape {array.shape}"
        raise FormatError(f"{name} in {path} is {found}; expected real numbers of one rotation, with {axes} axes")
    if name == "scan" and array.shape[1] != 2:
        raise FormatError(f"scan in {path} has shape {array.shape}; expected (frame, 2)")
    return array


def _centred(frames: Float[Tensor, "batch y x"], index: Tensor) -> Float[Tensor, "batch y x"]:
    return torch.fft.fftshift(frames, dim=(-2, -1))


def _in_corner(patterns: ArrayPatterns) -> bool:
    """Whether frames lie as a Fourier transform leaves them: more light in the outer quarters than around the middle."""
    chosen = (
        torch.linspace(0, patterns.shape[0] - 1, min(patterns.shape[0], LOOKED_AT)).round().to(torch.int64).unique()
    )
    mean = patterns.read(chosen).nan_to_num().clamp(min=0).mean(dim=0)
    height, width = mean.shape
    middle = (slice(height // 4, height - height // 4), slice(width // 4, width - width // 4))
    return float(torch.fft.fftshift(mean)[middle].sum()) > float(mean[middle].sum())


def _recognises(path: Path) -> bool:
    names = npz_arrays.members(path)
    return names.issuperset(("data", "scan")) and "patterns" not in names


FORMAT = Format(
    name="tike-npz",
    title="tike npz archive",
    recognises=_recognises,
    read=read,
    read_estimate=read_estimate,
    read_probe=read_probe,
)
