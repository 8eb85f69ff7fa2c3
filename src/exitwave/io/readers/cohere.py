"""Experiment folders of cohere (APS): settings as text in conf/, frames that it has corrected in preprocessed_data/prep_data.tif.

Its arrays are (column, row, frame) and transposed when written, so that pages of the TIFF are frames as the detector saw them.
Energies are in keV, distances in mm, angles in degrees.
"""

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np

from exitwave.data.errors import FormatError
from exitwave.data.geometry import photon_wavelength_m
from exitwave.io.assemble import Contents, Format, ReadOptions, RockingContents
from exitwave.io.readers.spec import SHORT, SpecScan, is_spec, spec_scan
from exitwave.io.readers.tiff import TiffPatterns

FRAMES = ("preprocessed_data/prep_data.tif", "prep/prep_data.tif")
DIFFRACTOMETERS = {"34idc": "34-ID-C"}
PIXELS_M = {"34idcTIM1": 55e-6, "34idcTIM2": 55e-6, "34idcTIM3": 55e-6}
"""Of detectors that cohere knows by name."""


def recognises(path: Path) -> bool:
    """True for a folder with settings of cohere, preprocessed or not."""
    return path.is_dir() and (path / "conf").is_dir() and any((path / "conf").glob("config*"))


def read(path: Path, stated: ReadOptions) -> Contents:
    """The preprocessed rocking curve of an experiment. Raises FormatError where cohere has not preprocessed it yet."""
    if not recognises(path):
        raise FormatError(f"{path} is no experiment folder of cohere; expected conf/config in it")
    frames = next((path / place for place in FRAMES if (path / place).is_file()), None)
    if frames is None:
        raise FormatError(
            f"{path} holds no {FRAMES[0]}; run cohere's preprocessing, or give the folder of its raw frames (data_dir)"
        )
    settings, patterns = _settings(path / "conf"), TiffPatterns((frames,))
    scan = _spec_scan(settings)
    energy_kev, distance_mm = (_number(settings, scan, *names) for names in (("energy",), ("detdist", "camdist")))
    return Contents(
        patterns=patterns,
        wavelength_m=photon_wavelength_m(1e3 * energy_kev) if energy_kev else None,
        distance_m=1e-3 * distance_mm if distance_mm else None,
        detector_pixel_m=_pixel_m(settings),
        rocking=_rocking(settings, scan, patterns.shape[0]),
        notes={"dataset": str(frames.relative_to(path)), "experiment": settings.get("experiment_id")},
    )


def _settings(folder: Path) -> dict[str, Any]:
    """All `key = value` of the text files in a folder."""
    settings: dict[str, Any] = {}
    for file in sorted(each for each in folder.glob("config*") if each.is_file()):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.lstrip().startswith(("#", "//")):
                settings.setdefault(key.strip(), _value(value.strip()))
    return settings


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _spec_scan(settings: dict[str, Any]) -> SpecScan | None:
    """The last scan of the experiment in its SPEC file, where that is still there."""
    path, numbers = Path(str(settings.get("specfile", ""))), re.findall(r"\d+", str(settings.get("scan", "")))
    return spec_scan(path, int(numbers[-1])) if numbers and is_spec(path) else None


def _number(settings: dict[str, Any], scan: SpecScan | None, *names: str) -> float | None:
    """A number by the first name under which the settings, else the SPEC file, have it."""
    for name in names:
        if isinstance(settings.get(name), int | float):
            return float(settings[name])
    return next((scan.motors[name] for name in names if name in scan.motors), None) if scan is not None else None


def _pixel_m(settings: dict[str, Any]) -> tuple[float, float] | None:
    pixel, named = settings.get("pixel"), PIXELS_M.get(str(settings.get("detector", "")).rstrip(":"))
    if isinstance(pixel, tuple | list) and len(pixel) == 2 and all(isinstance(size, int | float) for size in pixel):
        # Columns first, as all of cohere.
        return float(pixel[1]), float(pixel[0])
    return None if named is None else (named, named)


def _rocking(settings: dict[str, Any], scan: SpecScan | None, count: int) -> RockingContents:
    motors = {} if scan is None else scan.motors
    angles = {name: np.array([angle]) for name, angle in motors.items()}
    angles |= {
        SHORT.get(name, name): np.array([float(value)])
        for name, value in settings.items()
        if isinstance(value, int | float)
    }
    word = str(settings["scanmot"]).lower() if "scanmot" in settings else None if scan is None else scan.scanned
    rocked, step = None if word is None else SHORT.get(word, word), settings.get("scanmot_del")
    if rocked is not None:
        column = None if scan is None else scan.columns.get(rocked)
        if column is not None and len(column) == count:
            angles[rocked] = column
        elif isinstance(step, int | float) and step:
            middle = angles[rocked][0] if rocked in angles else 0.0
            angles[rocked] = middle + step * (np.arange(count) - count // 2)
    name = settings.get("diffractometer")
    return RockingContents(
        angles=angles, diffractometer=DIFFRACTOMETERS.get(str(name), name) if name else None, rocked=rocked
    )


FORMAT = Format(name="cohere", title="cohere experiment folder", recognises=recognises, read=read)
