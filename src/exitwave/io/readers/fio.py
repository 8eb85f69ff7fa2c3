"""Text of the beamlines of PETRA III beside their frames (.fio): where motors stood, and those that moved in columns."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from exitwave.data.errors import FormatError
from exitwave.io.assemble import RockingContents

HUTCHES = {"P10": (("om", "phi"), ("gam", "del")), "P10-EH2": (("samth",), ("e2_t02",))}
"""Circles of sample and detector by diffractometer."""
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class FioScan:
    """What a .fio file holds."""

    motors: dict[str, float]
    columns: dict[str, Float[np.ndarray, " frame"]]


def read_fio(path: Path) -> FioScan:
    """Motors and columns. Raises FormatError where the columns are not what the file says of them."""
    motors: dict[str, float] = {}
    names: list[str] = []
    rows: list[list[str]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if len(words) >= 3 and words[0] == "Col":
            names.append(words[2])
        elif len(words) >= 3 and words[1] == "=" and _NUMBER.fullmatch(words[2]):
            motors[words[0]] = float(words[2])
        elif words and names and _NUMBER.fullmatch(words[0]):
            rows.append(words)
    try:
        table = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
    except ValueError as error:
        raise FormatError(
            f"the rows of {path} are not {len(names)} numbers each ({', '.join(names)}): {error}; the scan was cut off, or the "
            "file damaged"
        ) from error
    return FioScan(motors, dict(zip(names, table.T, strict=True)))


def fio_beside(frames: Path) -> Path | None:
    """The .fio file of a scan whose frames lie in a folder of the detector: SCAN/DETECTOR/SCAN_master.h5 and SCAN/SCAN.fio."""
    name = f"{frames.stem.removesuffix('_master')}.fio"
    return next((path for folder in frames.resolve().parents[:2] if (path := folder / name).is_file()), None)


def rocking_contents(path: Path) -> RockingContents | None:
    """Angles of a rocking curve on P10; None where no circle of the sample was turned."""
    scan = read_fio(path)
    for diffractometer, (sample, detector) in HUTCHES.items():
        if any(name in scan.columns for name in sample):
            known = {name: np.array([angle]) for name, angle in scan.motors.items()} | scan.columns
            circles = {name: known[name] for name in (*sample, *detector) if name in known}
            return RockingContents(angles=circles, diffractometer=diffractometer)
    return None
