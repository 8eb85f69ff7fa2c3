"""Results of ptypy (.ptyr): object and probe in storages, with positions in metres.

Written by ptypy's `Ptycho.save_run` (https://ptycho.github.io/ptypy): each storage holds `data` (layer, y, x), its pixel
`_psize` and `_origin`, the place of its first pixel; `positions` holds the centres of the windows in each object.
"""

from pathlib import Path

import h5py
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from exitwave.data.errors import FormatError
from exitwave.data.estimate import PtychoEstimate
from exitwave.io.assemble import Format
from exitwave.io.hdf5.reading import find, is_hdf5, numbers, open_hdf5
from exitwave.io.readers.ptychodus import stack


def read_estimate(path: Path) -> PtychoEstimate:
    """Object, probe and positions. Raises FormatError where there is more than one object, or no positions."""
    with open_hdf5(path) as file:
        objects = _storages(file, "obj")
        if len(objects) != 1:
            raise FormatError(
                f"{path} holds {len(objects)} objects ({', '.join(objects)}); expected one: take only the probe (--probe)"
            )
        ((name, storage),) = objects.items()
        layers = _layers(storage, path)
        if len(layers) > 1:
            raise FormatError(
                f"the object in {path} has {len(layers)} incoherent layers, which are no slices; take only the probe (--probe)"
            )
        probe = _layers(_first(file, "probe", path), path)
        centres, pixel, origin = (
            numbers(file, f"content/positions/{name}"), numbers(storage, "_psize"), numbers(storage, "_origin")
        )  # fmt: skip
    if centres is None or pixel is None or origin is None or centres.ndim != 2 or centres.shape[1] != 2:
        raise FormatError(
            f"{path} lacks positions, pixel or origin of its object, as ptypy wrote them before version 0.3; take only the "
            "probe (--probe)"
        )
    middle = np.asarray(probe.shape[-2:]) // 2
    corners = (_one_for_each_frame(centres, len(probe)) - origin.ravel()) / pixel.ravel() - middle
    return PtychoEstimate(object=layers, probe=probe, positions_px=torch.from_numpy(corners))


def read_probe(path: Path) -> Tensor:
    """The probe of the first scan, (mode, y, x)."""
    with open_hdf5(path) as file:
        return _layers(_first(file, "probe", path), path)


def _one_for_each_frame(centres: Float[np.ndarray, "view 2"], modes: int) -> Float[np.ndarray, "frame 2"]:
    """ptypy looks at the object once for each probe mode, so that each position may stand there as often."""
    if modes > 1 and len(centres) % modes == 0:
        groups = centres.reshape(-1, modes, 2)
        if (groups == groups[:, :1]).all():
            return groups[:, 0]
    return centres


def _storages(file: h5py.File, kind: str) -> dict[str, h5py.Group]:
    group = find(file, f"content/{kind}")
    items = [] if not isinstance(group, h5py.Group) else [(str(name), find(group, str(name))) for name in group]
    return {name: item for name, item in items if isinstance(item, h5py.Group) and "data" in item}


def _first(file: h5py.File, kind: str, path: Path) -> h5py.Group:
    found = _storages(file, kind)
    if not found:
        raise FormatError(f"{path} holds no {kind} of a ptypy run; it was cut short or edited")
    return next(iter(found.values()))


def _layers(storage: h5py.Group, path: Path) -> Tensor:
    found = storage["data"]
    layers = stack(found[()]) if isinstance(found, h5py.Dataset) and found.dtype.kind == "c" else None
    if layers is None or not layers.size:
        raise FormatError(f"{storage.name}/data in {path} is no complex array (layer, y, x); it was edited")
    return torch.from_numpy(layers)


def _recognises(path: Path) -> bool:
    if not is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return bool(_storages(file, "obj")) and bool(_storages(file, "probe"))


FORMAT = Format(
    name="ptyr",
    title="ptypy .ptyr result",
    recognises=_recognises,
    read_estimate=read_estimate,
    read_probe=read_probe,
)
