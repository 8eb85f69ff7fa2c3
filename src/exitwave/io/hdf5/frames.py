"""Writing of diffraction patterns into an HDF5 file, a few at a time."""

import h5py
import numpy as np

from exitwave.data.measurement import Measurement

BATCH_BYTES = 64 * 2**20
"""Frames held at once while a scan is written, counted as float32."""
LARGE_BYTES = 2 * 2**30
"""Above this, frames are packed with bitshuffle and LZ4, ten times as fast as gzip but not known to every HDF5 program."""


def store_frames(group: h5py.Group, name: str, scan: Measurement) -> h5py.Dataset:
    """Write the frames of a scan, one chunk each, as whole counts (uint32) when they are, else as float32."""
    stored = _create(group, name, scan, np.dtype(np.uint32))
    if _filled(stored, scan):
        return stored
    # HDF5 gives the room of what was written so far to the second attempt.
    del group[name]
    stored = _create(group, name, scan, np.dtype(np.float32))
    _filled(stored, scan)
    return stored


def _create(group: h5py.Group, name: str, scan: Measurement, dtype: np.dtype) -> h5py.Dataset:
    chunk = (1, *scan.frame_shape)
    size = 4 * len(scan) * scan.frame_shape[0] * scan.frame_shape[1]
    if size > LARGE_BYTES:
        import hdf5plugin

        packing = hdf5plugin.Bitshuffle(cname="lz4")
        return group.create_dataset(name, scan.patterns.shape, dtype, chunks=chunk, compression=packing)
    return group.create_dataset(
        name, scan.patterns.shape, dtype, chunks=chunk, compression="gzip", compression_opts=1, shuffle=True
    )


def _filled(stored: h5py.Dataset, scan: Measurement) -> bool:
    """Write all frames; False as soon as one does not fit the type of the dataset."""
    height, width = scan.frame_shape
    step = max(1, BATCH_BYTES // (4 * height * width))
    for start in range(0, len(scan), step):
        frames = scan.frames(slice(start, start + step)).cpu()
        if stored.dtype.kind == "u" and not ((frames >= 0) & (frames < 2**32) & (frames == frames.round())).all():
            return False
        stored[start : start + len(frames)] = frames.numpy()
    return True
