"""NanoMEGAS block files (.blo): a header, an image of the scanned area, then a frame of 8-bit counts for each position.

Little-endian. Where which field stands is known from files, as the open readers of HyperSpy and others describe them; the
maker publishes no specification. Lengths of the scan are in nm.
"""

from pathlib import Path

import numpy as np

from exitwave.data.errors import FormatError
from exitwave.data.geometry import electron_wavelength_m
from exitwave.data.patterns import ArrayPatterns
from exitwave.io.assemble import Contents, Format, ReadOptions
from exitwave.io.cubes import begins_with, frame_blocks, on_raster

HEADER = np.dtype(
    [
        ("id", "S6"), ("magic", "<u2"), ("image_start", "<u4"), ("frames_start", "<u4"), ("flags", "<u4"),
        ("side", "<u2"), ("frame_rotation", "<u2"), ("columns", "<u2"), ("rows", "<u2"), ("scan_rotation", "<u2"),
        ("step_x_nm", "<f8"), ("step_y_nm", "<f8"), ("voltage_v", "<u4"), ("pixels", "<u2"), ("camera_length", "<u4"),
    ]
)  # fmt: skip
FRAME_MARK_BYTES = 6
"""AA 55 and the number of the frame."""


def read(path: Path, stated: ReadOptions) -> Contents:
    """Frames with raster, step and voltage of the header. Raises FormatError where it contradicts the length of the file."""
    with path.open("rb") as file:
        head = file.read(HEADER.itemsize)
    if len(head) < HEADER.itemsize or not head.startswith(b"IMGBLO"):
        raise FormatError(f"{path} is no whole block file; copy it again from where it was made")
    header = np.frombuffer(head, HEADER)[0]
    side, start = int(header["side"]), int(header["frames_start"])
    frames = frame_blocks(path, "<u1", (side, side), start=start, header_bytes=FRAME_MARK_BYTES)
    shape = int(header["rows"]), int(header["columns"])
    step = float(header["step_y_nm"]), float(header["step_x_nm"])
    voltage = float(header["voltage_v"])
    contents = Contents(
        patterns=ArrayPatterns(frames),
        scan_shape=shape,
        scan_step_m=(step[0] * 1e-9, step[1] * 1e-9) if min(step) > 0 and np.isfinite(step).all() else None,
        wavelength_m=electron_wavelength_m(voltage) if voltage else None,
        particle="electron",
        notes={"scan_rotation_deg": float(header["scan_rotation"]) / 100},
    )
    return on_raster(contents, stated, path)


FORMAT = Format(
    name="blo", title="NanoMEGAS block file", recognises=lambda path: begins_with(path, b"IMGBLO"), read=read
)
