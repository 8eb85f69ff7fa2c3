"""EMPAD detectors: 128 x 128 float32 pixels a frame, followed by two rows that are not of the image, without any header.

Tate et al., Microscopy and Microanalysis 22, 237 (2016); the raw file as its acquisition program leaves it, with an XML
file beside it that names it. Either of the two is given.
"""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from exitwave.data.errors import FormatError
from exitwave.data.patterns import ArrayPatterns
from exitwave.io.assemble import Contents, Format, ReadOptions
from exitwave.io.cubes import begins_with, clear_errors, frame_blocks, on_raster

SIDE = 128
TRAILER_BYTES = 2 * SIDE * 4
RECORD_BYTES = SIDE * SIDE * 4 + TRAILER_BYTES
_NAMED = re.compile(r"_x(\d+)_y(\d+)")


def read(path: Path, stated: ReadOptions) -> Contents:
    """Frames of a raw file, or of the raw file that an XML file names, with the raster that the XML or the name tells."""
    raw, described = (_raw_of(path), path) if _is_xml(path) else (path, _xml_of(path))
    frames = frame_blocks(raw, "<f4", (SIDE, SIDE), trailer_bytes=TRAILER_BYTES)
    shape, step = (None, None) if described is None else _raster(described)
    if shape is None and (found := _NAMED.search(raw.stem)):
        shape = int(found[2]), int(found[1])
    contents = Contents(
        patterns=ArrayPatterns(frames),
        scan_shape=shape,
        scan_step_m=step,
        particle="electron",
        notes={"raw_file": raw.name} | ({} if described is None else {"xml_file": described.name}),
    )
    return on_raster(contents, stated, raw)


def _raw_of(path: Path) -> Path:
    """The raw file that an XML file names; the folder that stands in the name is that of the microscope."""
    with clear_errors(path, "EMPAD XML file"):
        named = ET.parse(path).getroot().find("raw_file")
        name = "" if named is None else named.get("filename", "")
    raw = path.with_name(re.split(r"[\\/]", name)[-1]) if name else path.with_suffix(".raw")
    if not raw.is_file():
        raise FormatError(f"{path} names the frames {raw.name}, which is not beside it; copy both into one folder")
    return raw


def _xml_of(raw: Path) -> Path | None:
    """The XML file beside a raw file, called alike or naming it."""
    beside = [raw.with_suffix(".xml"), *sorted(raw.parent.glob("*.xml"))[:100]]
    for path in beside:
        if _is_xml(path) and (path.stem == raw.stem or raw.name.encode() in path.read_bytes()[: 2**20]):
            return path
    return None


def _raster(path: Path) -> tuple[tuple[int, int] | None, tuple[float, float] | None]:
    """Rows and columns, and the step in metres where the field of view is known."""
    with clear_errors(path, "EMPAD XML file"):
        root = ET.parse(path).getroot()
    places = [*root.findall("scan_parameters[@mode='acquire']"), *root.findall("scan_parameters"), root]
    for place in places:
        for names in (("scan_resolution_y", "scan_resolution_x"), ("pix_y", "pix_x")):
            rows, columns = (_whole(place.findtext(name)) for name in names)
            if rows and columns:
                field = re.findall(r"[-+.\deE]+", root.findtext(".//get_full_scan_field_of_view") or "")
                width, height = (float(field[0]), float(field[1])) if len(field) == 2 else (0.0, 0.0)
                step = (height / rows, width / columns) if height > 0 and width > 0 else None
                return (rows, columns), step
    return None, None


def _whole(text: str | None) -> int:
    return int(text) if text and text.strip().isdigit() else 0


def _is_xml(path: Path) -> bool:
    if not begins_with(path, b"<", b"\xef\xbb\xbf<"):
        return False
    with path.open("rb") as file:
        return b"<raw_file" in file.read(2**16)


def _recognises(path: Path) -> bool:
    """A raw file has no mark of its own: whole frames of plausible numbers, or what XML or name call one, even if it is cut."""
    if _is_xml(path):
        return True
    if not begins_with(path, b"") or not path.stat().st_size:
        return False
    if path.stat().st_size % RECORD_BYTES:
        return path.suffix.lower() == ".raw" and bool(_NAMED.search(path.stem) or _xml_of(path))
    first = np.fromfile(path, "<f4", SIDE * SIDE)
    with np.errstate(all="ignore"):
        magnitude = np.abs(first)
        # Whole numbers of another type look like denormals or huge floats.
        return bool(np.isfinite(first).all() and magnitude.max() < 1e9 and ((first == 0) | (magnitude > 1e-9)).all())


FORMAT = Format(name="empad", title="EMPAD raw file", recognises=_recognises, read=read)
