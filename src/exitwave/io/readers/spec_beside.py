"""A folder of frames and the SPEC file beside it that tells how the crystal was rocked."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from exitwave.data.geometry import photon_wavelength_m
from exitwave.io.assemble import Contents, RockingContents
from exitwave.io.diffractometers import shipped_diffractometers
from exitwave.io.readers.spec import SpecScan, is_spec, spec_scan

SMALL = 200 * 2**20
"""Bytes beyond which a file beside the frames is no log of scans."""
MOTORS = {"34-ID-C": ("theta", "chi", "phi", "delta", "gamma", "camdist")}
"""Motors by which a diffractometer is known; names as in the SPEC files of the beamline."""


def with_spec_beside(contents: Contents, folder: Path) -> Contents:
    """The contents with angles, energy and distance of the scan whose number the folder's name ends in, such as S0054.

    As they are where no SPEC file lies in the folder or beside it, or the scan moved no circle or has another number of points.
    """
    path, number = _spec_file(folder), re.search(r"(\d+)$", folder.resolve().name)
    if path is None or number is None or contents.patterns is None:
        return contents
    if not re.search(rf"^#S {int(number[1])} ", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE):
        return contents
    scan = spec_scan(path, int(number[1]))
    moved = scan.columns.get(scan.scanned)
    circles = {circle.lower() for each in shipped_diffractometers().values() for circle in each.sample}
    if moved is None or scan.scanned not in circles or len(moved) != contents.patterns.shape[0]:
        return contents
    return with_spec_scan(contents, scan, path)


def with_spec_scan(contents: Contents, scan: SpecScan, path: Path) -> Contents:
    """The contents with what a scan says: all motors, of which the diffractometer takes its circles, and columns over them."""
    angles = {name: np.array([angle]) for name, angle in scan.motors.items()}
    if scan.scanned in scan.columns:
        angles[scan.scanned] = scan.columns[scan.scanned]
    named = next((name for name, motors in MOTORS.items() if all(motor in scan.motors for motor in motors)), None)
    monitor = scan.columns.get("monitor")
    energy_kev, distance_mm = scan.motors.get("energy"), scan.motors.get("camdist")
    return replace(
        contents,
        rocking=RockingContents(angles=angles, diffractometer=named, rocked=scan.scanned or None),
        wavelength_m=contents.wavelength_m or (photon_wavelength_m(1e3 * energy_kev) if energy_kev else None),
        distance_m=contents.distance_m or (1e-3 * distance_mm if distance_mm else None),
        monitor=monitor if monitor is not None and bool((monitor > 0).all()) else None,
        notes={**contents.notes, "spec_file": str(path), "spec_scan": scan.number, "spec_command": scan.command},
    )


def _spec_file(folder: Path) -> Path | None:
    """The one SPEC file in the folder, else the one beside it."""
    for place in (folder, folder.resolve().parent):
        found = [path for path in sorted(place.iterdir()) if _may_be_spec(path)]
        if len(found) == 1:
            return found[0]
    return None


def _may_be_spec(path: Path) -> bool:
    return (
        path.suffix.lower() in ("", ".spec", ".dat", ".spc")
        and path.is_file()
        and not path.name.startswith(".")
        and path.stat().st_size < SMALL
        and is_spec(path)
    )
