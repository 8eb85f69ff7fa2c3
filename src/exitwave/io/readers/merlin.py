"""Merlin image binary (.mib) of Quantum Detectors' Medipix3 cameras: frames, each behind a header of text.

At beamlines they count photons, in microscopes electrons, and no file says which. The fields of the header, separated by
commas, are MQ1, number of the frame, bytes of the header, chips, columns, rows, type of the numbers, layout of the chips and
what matters not here; numbers are big-endian. The text file of the same name with the ending .hdr tells how many frames a scan
line has.
"""

import re
from pathlib import Path

from exitwave.data.errors import FormatError
from exitwave.data.patterns import ArrayPatterns
from exitwave.io.assemble import Contents, Format, ReadOptions
from exitwave.io.cubes import begins_with, clear_errors, frame_blocks, on_raster

TYPES = {"U08": ">u1", "U8": ">u1", "U16": ">u2", "U32": ">u4", "U64": ">u8"}


def read(path: Path, stated: ReadOptions) -> Contents:
    """Frames of a file, with the raster that the file `.hdr` beside it tells. Raises FormatError for raw mode (R64)."""
    with path.open("rb") as file:
        fields = file.read(384).split(b",")
    with clear_errors(path, "Merlin file"):
        if not fields[0] == b"MQ1":
            raise ValueError("it does not begin with MQ1")
        header_bytes, columns, rows = (int(fields[place]) for place in (2, 4, 5))
        kind = fields[6].strip().decode("ascii")
    if kind not in TYPES:
        raise FormatError(
            f"{path} holds numbers of type {kind} (raw mode, as the chips send them); expected {', '.join(TYPES)}: save it "
            "again without raw mode, or convert it with the maker's program"
        )
    frames = frame_blocks(path, TYPES[kind], (rows, columns), header_bytes=header_bytes)
    shape = _raster(path.with_suffix(".hdr"), len(frames))
    contents = Contents(
        patterns=ArrayPatterns(frames),
        scan_shape=shape,
        notes={
            "chips": fields[7].strip().decode("latin1"),
            "first_frame": int(fields[1]) if fields[1].isdigit() else 0,
        },
    )
    return on_raster(contents, stated, path)


def _raster(path: Path, frames: int) -> tuple[int, int] | None:
    """Rows and columns by the text file of the acquisition; None where it does not know, as without a trigger for each line."""
    if not begins_with(path, b"HDR"):
        return None
    text = path.read_text(encoding="latin1")
    told = {name: int(value) for name, value in re.findall(r"^([^:\n]+):\s*(\d+)\s*$", text, re.MULTILINE)}
    if told.get("ScanX") and told.get("ScanY"):
        return told["ScanY"], told["ScanX"]
    columns = told.get("Frames per Trigger (Number)", 0)
    total = told.get("Frames in Acquisition (Number)", frames)
    return (total // columns, columns) if 1 < columns < total and total % columns == 0 else None


FORMAT = Format(name="merlin", title="Merlin .mib file", recognises=lambda path: begins_with(path, b"MQ1,"), read=read)
