"""Results of cdtools (`model.save_to_h5`): object and probe on bases of (x, y, z), translations of the probe in metres.

https://github.com/cdtools-developers/cdtools, release 0.3.2. A FancyPtycho result holds the translations, one of
SimplePtycho does not, so that only its probe can be taken.
"""

from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

from exitwave.data.errors import FormatError
from exitwave.data.estimate import PtychoEstimate
from exitwave.io.assemble import Format
from exitwave.io.hdf5.reading import array, find, is_hdf5, number, numbers, open_hdf5
from exitwave.io.readers.ptychodus import stack

STATE = "state_dict"


def read_estimate(path: Path) -> PtychoEstimate:
    """Object, probe and positions. Raises FormatError for results without translations or sampled otherwise than the probe."""
    with open_hdf5(path) as file:
        probe, obj = _probe(file, path), array(file, "obj")
        translations, basis = numbers(file, "translations"), numbers(file, "obj_basis")
        first = numbers(file, f"{STATE}/min_translation")
        exponent, even = _true(file, "exponentiate_obj"), _true(file, "phase_only")
        oversampling = number(file, "oversampling") or 1.0
    if (
        translations is None
        or basis is None
        or first is None
        or translations.shape[-1:] != (3,)
        or basis.shape != (3, 2)
    ):
        raise FormatError(
            f"{path} holds no translations with their basis, as results of SimplePtycho do not; take only the probe (--probe)"
        )
    if oversampling != 1.0:
        raise FormatError(
            f"{path} has an object {oversampling:g} times finer than the frames tell; take only the probe (--probe)"
        )
    stacked = None if obj is None or obj.dtype.kind != "c" else stack(obj)
    if stacked is None or len(stacked) != 1:
        raise FormatError(f"{path} holds no complex object (y, x); take only the probe (--probe)")
    if exponent:
        stacked = np.exp(1j * (np.real(stacked) if even else stacked)).astype(stacked.dtype)
    # The basis gives metres along (x, y) for each pixel of (row, column).
    corners = translations[:, :2] @ np.linalg.pinv(basis[:2]).T - first.ravel()
    return PtychoEstimate(
        object=torch.from_numpy(stacked),
        probe=probe,
        positions_px=torch.from_numpy(corners),
    )


def read_probe(path: Path) -> Tensor:
    """The probe, (mode, y, x)."""
    with open_hdf5(path) as file:
        return _probe(file, path)


def _probe(file: h5py.File, path: Path) -> Tensor:
    stored = array(file, "probe")
    probe = None if stored is None or stored.dtype.kind != "c" else stack(stored)
    if probe is None or _true(file, "fourier_probe"):
        raise FormatError(f"{path} holds no probe (mode, y, x) in the plane of the sample; give a file with one")
    return torch.from_numpy(probe)


def _true(file: h5py.File, name: str) -> bool:
    """Whether a switch of the model was on."""
    found = find(file, f"{STATE}/{name}")
    return isinstance(found, h5py.Dataset) and found.size == 1 and bool(np.asarray(found[()]).ravel()[0])


def _recognises(path: Path) -> bool:
    if not is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return all(find(file, name) is not None for name in ("cdtools_version", "probe", "obj", "probe_basis"))


FORMAT = Format(
    name="cdtools", title="cdtools result", recognises=_recognises, read_estimate=read_estimate, read_probe=read_probe
)
