"""Results of PtyRAD (`model_iter0100.hdf5`): amplitude and phase of the object, probe, windows and their sub-pixel shifts.

https://github.com/chiahao3/ptyrad, release 1.0.0; lengths in angstroms.
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

FOUND = "optimizable_tensors"
KNOWN = "model_attributes"


def read_estimate(path: Path) -> PtychoEstimate:
    """Object (one slice for each of PtyRAD's), probe and positions. Raises FormatError for incoherent objects."""
    with open_hdf5(path) as file:
        amplitude, phase = (numbers(file, f"{FOUND}/{name}") for name in ("obja", "objp"))
        corners, shifts = numbers(file, f"{KNOWN}/crop_pos"), numbers(file, f"{FOUND}/probe_pos_shifts")
        thickness = number(file, f"{FOUND}/slice_thickness", f"{KNOWN}/slice_thickness")
        probe = _probe(file, path)
    if amplitude is None or phase is None or corners is None or amplitude.shape != phase.shape or amplitude.ndim != 4:
        raise FormatError(f"{path} lacks the object (obja, objp) or crop_pos of a PtyRAD model; save the model again")
    if len(amplitude) > 1:
        raise FormatError(
            f"the object in {path} has {len(amplitude)} incoherent modes, which are no slices; take only the probe (--probe)"
        )
    slices = amplitude.shape[1]
    spacing = None if slices == 1 else torch.full((slices - 1,), (thickness or 0.0) * 1e-10, dtype=torch.float64)
    return PtychoEstimate(
        object=torch.from_numpy((amplitude[0] * np.exp(1j * phase[0])).astype(np.complex64)),
        probe=probe,
        positions_px=torch.from_numpy(corners if shifts is None else corners + shifts),
        slice_spacing_m=spacing,
    )


def read_probe(path: Path) -> Tensor:
    """The probe, (mode, y, x)."""
    with open_hdf5(path) as file:
        return _probe(file, path)


def _probe(file: h5py.File, path: Path) -> Tensor:
    stored = array(file, f"{FOUND}/probe")
    # Earlier releases keep real and imaginary part on a last axis.
    if stored is not None and stored.dtype.kind == "f" and stored.ndim == 4 and stored.shape[-1] == 2:
        stored = stored[..., 0] + 1j * stored[..., 1]
    probe = None if stored is None or stored.dtype.kind != "c" else stack(stored)
    if probe is None:
        raise FormatError(f"{path} holds no complex probe (mode, y, x) at {FOUND}/probe; save the model again")
    return torch.from_numpy(probe)


def _recognises(path: Path) -> bool:
    if not is_hdf5(path):
        return False
    with open_hdf5(path) as file:
        return all(find(file, name) is not None for name in (f"{FOUND}/probe", f"{FOUND}/objp", KNOWN))


FORMAT = Format(
    name="ptyrad", title="PtyRAD model", recognises=_recognises, read_estimate=read_estimate, read_probe=read_probe
)
