"""Frames as TIFF: a folder with a file for each frame, a file with a page for each, or a series of such files, as cameras
save long runs. Positions stand elsewhere."""

import os
import re
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile
import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.errors import ExitwaveError, FormatError
from exitwave.io.assemble import Contents, Format, ReadOptions
from exitwave.io.natural_order import files_in_order
from exitwave.io.positions import with_stated_positions
from exitwave.io.readers.spec_beside import with_spec_beside

ENDINGS = (".tif", ".tiff")
LARGEST_FRAME = 2**17
"""Rows or columns beyond which a file must be damaged: no detector has as many."""


@dataclass(frozen=True, eq=False)
class TiffPatterns:
    """Frames in TIFF files, in order; only the pages asked for are read. Raises FormatError for damaged files."""

    files: tuple[Path, ...]
    shape: tuple[int, int, int] = field(init=False)
    _starts: Int[np.ndarray, " file"] = field(init=False, repr=False)
    """Number of the first frame of each file, and behind the last one that of all frames."""

    def __post_init__(self) -> None:
        pages, height, width = _shape(self.files[0])
        # One frame to a file in a folder: opening thousands of files only to count pages would take minutes.
        counts = [pages] * len(self.files) if pages == 1 else [_shape(file)[0] for file in self.files]
        object.__setattr__(self, "_starts", np.cumsum([0, *counts]))
        object.__setattr__(self, "shape", (sum(counts), height, width))

    @property
    def in_memory(self) -> bool:
        return False

    def read(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
        frames = np.empty((len(index), *self.shape[1:]), dtype=np.float32)
        files = np.searchsorted(self._starts, index.numpy(), side="right") - 1
        for number in np.unique(files).tolist():
            with _opened(self.files[number]) as file:
                for place in np.flatnonzero(files == number).tolist():
                    frames[place] = self._frame(file, int(index[place]) - int(self._starts[number]), self.files[number])
        return torch.from_numpy(frames)

    def _frame(self, file: tifffile.TiffFile, page: int, path: Path) -> np.ndarray:
        # A stack that ImageJ wrote may have one page and the rest of the frames behind it.
        frame = file.asarray(key=page) if len(file.pages) > page else file.series[0].asarray()[page]
        if frame.shape != self.shape[1:]:
            raise FormatError(f"{path} has shape {frame.shape}, the first frame {self.shape[1:]}; they must be equal")
        return frame


def read(path: Path, stated: ReadOptions) -> Contents:
    """A folder of TIFF files in natural order ("scan_2" before "scan_10"), or one file of many pages.

    A file of one page with positions beside it stands for the series that it belongs to.
    """
    files = files_in_order(path, ENDINGS)
    if not files:
        raise FormatError(f"{path} holds no .tif or .tiff files; give the folder with the frames")
    if not path.is_dir() and stated.positions is not None and _shape(path)[0] == 1:
        files = tuple(file for file in files_in_order(path.parent, ENDINGS) if _series(file) == _series(path)) or files
    if path.is_dir():
        _require_one_series(path, files)
    contents = Contents(patterns=TiffPatterns(files), notes={"first_file": files[0].name, "files": len(files)})
    if path.is_dir() and stated.positions is None and stated.scan is None:
        contents = with_spec_beside(contents, path)
    return with_stated_positions(contents, stated)


def _series(file: Path) -> str:
    """What files of one series have in common: their names but for the numbers."""
    return re.sub(r"\d+", "#", file.name.lower())


def _require_one_series(path: Path, files: tuple[Path, ...]) -> None:
    """Raise FormatError where a folder holds frames beside darks or another scan: nobody knows which belong together."""
    found = {name: count for name, count in Counter(map(_series, files)).items() if count > 1}
    if len(found) > 1:
        told = ", ".join(f"{count} files {name.replace('#', 'N')}" for name, count in found.items())
        raise FormatError(
            f"{path} holds several series of TIFF files ({told}); keep one of them in a folder of its own, or give the first "
            "file of the series with --positions"
        )


@contextmanager
def _opened(path: Path) -> Generator[tifffile.TiffFile]:
    try:
        with tifffile.TiffFile(path) as file:
            yield file
    except ExitwaveError:
        raise
    # Whatever comes out of struct, zlib or numpy in there, the file is at fault.
    except Exception as error:
        raise FormatError(
            f"{path} is not a readable TIFF file ({error}); copy it again from where it was made"
        ) from error


def _shape(path: Path) -> tuple[int, int, int]:
    with _opened(path) as file:
        if not file.series:
            raise FormatError(f"{path} holds no image")
        shape, dtype = file.series[0].shape, file.series[0].dtype
    if len(shape) not in (2, 3) or shape[-1] in (3, 4) or not 0 < min(shape[-2:]) <= max(shape[-2:]) < LARGEST_FRAME:
        raise FormatError(f"{path} holds an image of shape {shape}; expected grey frames (y, x) or (frame, y, x)")
    if dtype is None or dtype.kind not in "biuf":
        raise FormatError(f"{path} holds {dtype} values; expected photon counts, which are real numbers")
    return (shape[0] if len(shape) == 3 else 1), shape[-2], shape[-1]


def _recognises(path: Path) -> bool:
    if path.is_dir():
        return bool(files_in_order(path, ENDINGS))
    if not os.access(path, os.R_OK):
        return False
    with path.open("rb") as file:
        # Classic and BigTIFF, little and big endian.
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


FORMAT = Format(name="tiff", title="TIFF stack", recognises=_recognises, read=read)
