"""Arrays of pty-chi as scripts keep them: what `get_data_to_cpu` returns, under the names of its task, in .npz or HDF5.

https://github.com/AdvancedPhotonSource/pty-chi, release 2.2.0, which writes no files of its own: positions in pixels from
the middle of the object array. Its results as ptychodus products are read by `ptychodus`.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from exitwave.data.errors import FormatError
from exitwave.data.estimate import PtychoEstimate
from exitwave.io import npz_arrays
from exitwave.io.assemble import Format
from exitwave.io.hdf5.reading import array, dataset, is_hdf5, open_hdf5
from exitwave.io.readers.ptychodus import stack

PLACES = ("probe_position_y_px", "probe_position_x_px")


def read_estimate(path: Path) -> PtychoEstimate:
    """Object, probe and positions. Raises FormatError where they are no such arrays."""
    values = {name: _array(path, name) for name in ("object", *PLACES)}
    obj = stack(values["object"])
    y, x = (values[name] for name in PLACES)
    if (
        obj is None
        or y is None
        or x is None
        or y.size != x.size
        or y.dtype.kind not in "iuf"
        or x.dtype.kind not in "iuf"
    ):
        raise FormatError(
            f"{path} lacks object (slice, y, x) or {' and '.join(PLACES)} of equal number; save them again"
        )
    probe = read_probe(path)
    # pty-chi lays the middle of an n pixel window, (n - 1) / 2, on round(N / 2) - 1/2 of the object for position 0.
    first = np.round(np.asarray(obj.shape[1:]) / 2) - 0.5 - (np.asarray(probe.shape[1:]) - 1) / 2
    corners = np.column_stack((y.ravel(), x.ravel())).astype(np.float64) + first
    return PtychoEstimate(object=torch.from_numpy(obj), probe=probe, positions_px=torch.from_numpy(corners))


def read_probe(path: Path) -> Tensor:
    """The probe, (mode, y, x); the first of its orthogonal relaxation modes."""
    probe = stack(_array(path, "probe"))
    if probe is None:
        raise FormatError(f"{path} holds no probe (opr, mode, y, x); give a file with one")
    return torch.from_numpy(probe)


def _array(path: Path, name: str) -> np.ndarray | None:
    if is_hdf5(path):
        with open_hdf5(path) as file:
            return array(file, name)
    return npz_arrays.load(path, name)


def _recognises(path: Path) -> bool:
    wanted = ("object", "probe", *PLACES)
    if is_hdf5(path):
        with open_hdf5(path) as file:
            return all(dataset(file, name) is not None for name in wanted) and "patterns" not in file
    return npz_arrays.members(path).issuperset(wanted) and "patterns" not in npz_arrays.members(path)


FORMAT = Format(
    name="ptychi-result",
    title="pty-chi arrays",
    recognises=_recognises,
    read_estimate=read_estimate,
    read_probe=read_probe,
)
