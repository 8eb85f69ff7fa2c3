"""Frames in the files of X-ray detectors that the library fabio reads, EDF and CBF: a folder of them, or one of many frames.

Needs the extra `formats`. Positions stand elsewhere.
"""

import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.errors import FormatError
from exitwave.io.assemble import Contents, Format, ReadOptions
from exitwave.io.cubes import begins_with, clear_errors
from exitwave.io.natural_order import files_in_order
from exitwave.io.positions import with_stated_positions

ENDINGS = (".edf", ".cbf")


@dataclass(frozen=True, eq=False)
class FabioPatterns:
    """Frames in order; only those asked for are read. Raises FormatError for damaged files."""

    files: tuple[Path, ...]
    shape: tuple[int, int, int] = field(init=False)

    def __post_init__(self) -> None:
        path = self.files[0]
        with _clear_errors(path):
            image = _opened(path)
            frames, first = int(image.nframes), _frame(image, 0)
            _check_end(image, frames, path)
        if len(self.files) > 1 and frames != 1:
            raise FormatError(f"{path} holds {frames} frames; a folder of such files needs one frame in each")
        if len(first.shape) != 2 or first.dtype.kind not in "biuf" or not first.size:
            raise FormatError(f"{path} holds an array {first.shape} of {first.dtype}; expected counts (y, x)")
        object.__setattr__(self, "shape", (frames if len(self.files) == 1 else len(self.files), *first.shape))

    @property
    def in_memory(self) -> bool:
        return False

    def read(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch y x"]:
        frames = np.empty((len(index), *self.shape[1:]), dtype=np.float32)
        for place, (path, frame) in enumerate(self._found(index.tolist())):
            if frame.shape != self.shape[1:]:
                raise FormatError(
                    f"{path} has shape {frame.shape}, the first frame {self.shape[1:]}; they must be equal"
                )
            with np.errstate(over="ignore"):
                frames[place] = frame
        return torch.from_numpy(frames)

    def _found(self, wanted: list[int]) -> Iterator[tuple[Path, np.ndarray]]:
        image: Any = None
        for number in wanted:
            path = self.files[0 if len(self.files) == 1 else number]
            with _clear_errors(path):
                if image is None or len(self.files) > 1:
                    image = _opened(path)
                frame = _frame(image, number if len(self.files) == 1 else 0)
            yield path, frame


def read(path: Path, stated: ReadOptions) -> Contents:
    """A folder of files in the order of their numbers, or one file."""
    files = files_in_order(path, ENDINGS)
    if not files:
        raise FormatError(f"{path} holds no .edf or .cbf files; give the folder with the frames")
    contents = Contents(patterns=FabioPatterns(files), notes={"first_file": files[0].name, "files": len(files)})
    return with_stated_positions(contents, stated)


class _Complaints(logging.Handler):
    """What fabio reports as an error where it goes on with zeros in place of what is missing."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@contextmanager
def _clear_errors(path: Path) -> Generator[None]:
    """What fabio raises or complains of within becomes a FormatError."""
    logger, complaints = logging.getLogger("fabio"), _Complaints()
    logger.addHandler(complaints)
    logger.propagate, before = False, logger.propagate
    try:
        with clear_errors(path, "detector image"):
            yield
            if complaints.said:
                raise ValueError(complaints.said[0])
    finally:
        logger.propagate = before
        logger.removeHandler(complaints)


def _opened(path: Path) -> Any:
    try:
        from fabio import cbfimage, edfimage
    except ImportError as error:
        raise FormatError(
            f"{path} is an EDF or CBF file; install the library that reads it: pip install 'exitwave[formats]'"
        ) from error
    kind = cbfimage.CbfImage if begins_with(path, b"###CBF") else edfimage.EdfImage
    return kind().read(str(path))


def _frame(image: Any, number: int) -> np.ndarray:
    return np.asarray(image.data if image.nframes == 1 else image.get_frame(number).data)


def _check_end(image: Any, frames: int, path: Path) -> None:
    """Raise ValueError where a further frame begins behind the last one of an EDF file: its header is cut, so it was dropped."""
    last = image.get_frame(frames - 1)
    start, length = getattr(last, "start", None), getattr(last, "blobsize", None)
    if start is not None and length is not None:
        with path.open("rb") as file:
            file.seek(start + length)
            if b"{" in file.read(4096):
                raise ValueError(f"it is truncated within the header of frame {frames + 1}")


def _recognises(path: Path) -> bool:
    if path.is_dir():
        return bool(files_in_order(path, ENDINGS))
    if begins_with(path, b"###CBF"):
        return True
    if not begins_with(path, b"{"):
        return False
    with path.open("rb") as file:
        head = file.read(2048)
    # A block of "name = value ;", as no JSON has it.
    return b"=" in head and b";" in head and any(name in head for name in (b"Dim_1", b"EDF_", b"HeaderID"))


FORMAT = Format(name="edf-cbf", title="EDF or CBF files", recognises=_recognises, read=read)
