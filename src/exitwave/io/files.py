"""Reading and writing whole values by path, whatever the format."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Complex
from torch import Tensor

from exitwave.data.errors import FormatError, InputError
from exitwave.data.estimate import Estimate
from exitwave.data.measurement import Measurement
from exitwave.data.prepare.steps import prepared
from exitwave.data.progress import phase
from exitwave.data.result import Result
from exitwave.io import export, formats
from exitwave.io.assemble import ReadOptions
from exitwave.io.atomic import say_overwritten
from exitwave.io.hdf5.truth import read_truth as read_truth
from exitwave.io.results import read_result as read_result, write_result


def read(path: str | Path, stated: ReadOptions | None = None) -> Measurement:
    """Read a measurement in any known format; what is `stated` wins over what the file says.

    Raises FormatError for files that are missing, damaged, unknown or lack something needed, InputError where frames and
    positions are not as many.
    """
    return read_prepared(path, stated, ())


def read_prepared(path: str | Path, stated: ReadOptions | None, steps: Sequence[Any]) -> Measurement:
    """Read a measurement and prepare it; frames and positions need be as many only after the steps."""
    with phase(f"reading {Path(path).name}"):
        return prepared(formats.read_scan(Path(path), stated or ReadOptions()), tuple(steps))


def read_estimate(path: str | Path) -> Estimate:
    """Object, probe and positions from any file format that stores reconstructions."""
    found = formats.detect(Path(path))
    if found.read_estimate is None:
        raise FormatError(f"{path} ({found.title}) stores no reconstruction; give a result or product file")
    return found.read_estimate(Path(path))


def read_probe(path: str | Path) -> Complex[Tensor, "mode y x"]:
    """The probe from any file format that stores one."""
    found = formats.detect(Path(path))
    if found.read_probe is None:
        raise FormatError(f"{path} ({found.title}) stores no probe; give a result, product or CXI file with one")
    return found.read_probe(Path(path))


def write(
    value: Result | Measurement, path: str | Path, format: str | None = None, *, overwrite: bool | None = None
) -> None:
    """Write a result or a scan; the format follows from the file's ending unless it is named.

    A result as .h5 keeps everything; .cxi, .npz, .tiff and .png are exports. A scan goes to .cxi, .nxs, .npz, .ptyd. A file that
    is there already is replaced, as h5py and tifffile do, but with a word before (OverwriteWarning); `overwrite` True leaves out
    the word, False refuses (InputError).
    """
    path = Path(path)
    say_overwritten(path, overwrite)
    if isinstance(value, Result):
        if format == "result" or (format is None and path.suffix in (".h5", ".hdf5")):
            write_result(path, value)
        else:
            export.export(value, path, format=format)
        return
    chosen = formats.named(format) if format else formats.for_ending(path)
    if chosen.write is None:
        raise InputError(f"scans cannot be written as {chosen.title}; there are {', '.join(formats.writable())}")
    chosen.write(path, value)
