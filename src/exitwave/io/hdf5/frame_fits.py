"""Measured and calculated patterns of a few frames, and where frames were recorded, in a result file."""

import h5py
import numpy as np
import torch
from torch import Tensor

from exitwave.data.errors import FormatError
from exitwave.data.frame_fits import FrameFits
from exitwave.io.hdf5.values import attribute_number, group_at, read_tensor, write_tensor


def write_frame_fits(exact: h5py.Group, fits: FrameFits) -> None:
    """Write measured and calculated patterns as `frame_fits`."""
    group = exact.create_group("frame_fits")
    for name, patterns in (("measured", fits.measured), ("calculated", fits.calculated)):
        stored = group.create_dataset(
            name, data=patterns.numpy().astype(np.float32), compression="gzip", shuffle=True, fletcher32=True
        )
        stored.attrs["units"] = "photons per detector pixel"
    write_tensor(group, "frames", torch.tensor(fits.frames, dtype=torch.int64))
    group.attrs["binned"] = fits.binned
    if fits.planes:
        group.attrs["planes"] = True


def read_frame_fits(exact: h5py.Group) -> FrameFits | None:
    """Those that were written; None where there are none, as in files of version 0.1.0. Raises FormatError."""
    if "frame_fits" not in exact:
        return None
    group = group_at(exact, "frame_fits")
    measured, calculated, frames = (read_tensor(group, name) for name in ("measured", "calculated", "frames"))
    shape = (len(frames), *measured.shape[1:]) if frames.ndim == 1 else ()
    if measured.ndim != 3 or not measured.numel() or measured.shape != shape or calculated.shape != shape:
        raise FormatError(
            f"{exact.file.filename}: measured patterns are {tuple(measured.shape)}, calculated ones {tuple(calculated.shape)}, "
            f"frames {tuple(frames.shape)}; expected (frame, y, x) twice and (frame,): it was edited"
        )
    binned = int(attribute_number(group, "binned") or 1)
    return FrameFits(
        frames=tuple(map(int, frames.tolist())),
        measured=measured.float(),
        calculated=calculated.float(),
        binned=binned,
        planes=bool(group.attrs.get("planes", False)) and len(frames) == 3,
    )


def read_recorded_positions(exact: h5py.Group, like: Tensor | None) -> Tensor | None:
    """Where the frames were recorded, of as many as were placed; None where they were not moved. Raises FormatError."""
    if "recorded_positions_px" not in exact:
        return None
    recorded = read_tensor(exact, "recorded_positions_px")
    if like is None or recorded.shape != like.shape or not bool(recorded.double().isfinite().all()):
        raise FormatError(f"{exact.file.filename}: its recorded positions do not belong to its frames; it was edited")
    return recorded
