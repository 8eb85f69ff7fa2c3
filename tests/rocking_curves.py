"""A small rocking curve with nothing symmetric about it, for tests of files."""

import math

import numpy as np

from exitwave.data.bragg_geometry import BraggGeometry
from exitwave.data.geometry import Geometry
from exitwave.data.rocking_curve import RockingCurve
from exitwave.io.diffractometers import load_diffractometer

FRAMES, ROWS, COLUMNS = 12, 10, 14
STILL_DEG = {"chi": 90.0, "phi": -5.0, "delta": 32.174, "gamma": 12.6346}
THETA_DEG = 0.22 + 0.005 * (np.arange(FRAMES) - FRAMES // 2)


def counts() -> np.ndarray:
    """Whole counts around a peak that stands off the middle, each voxel different enough to tell axes apart."""
    frame, row, column = np.indices((FRAMES, ROWS, COLUMNS))
    peak = 2000 * np.exp(-((frame - 5) ** 2) / 6 - (row - 4) ** 2 / 4 - (column - 8) ** 2 / 9)
    return np.round(peak + (7 * frame + 3 * row + column) % 5).astype(np.uint16)


def made_curve(**changes: object) -> RockingCurve:
    """The rocking curve of `counts` on 34-ID-C; `changes` are fields in place of those here."""
    theta, chi, phi, delta, gamma = (
        math.radians(angle) for angle in (0.22, *(STILL_DEG[name] for name in ("chi", "phi", "delta", "gamma")))
    )
    mask = np.ones((ROWS, COLUMNS), dtype=bool)
    mask[2, 3] = False
    fields = {
        "patterns": counts().astype(np.float32),
        "geometry": Geometry.from_energy(9000.0, 0.5, (55e-6, 50e-6)),
        "mask": mask,
        "monitor": np.linspace(1.0, 1.1, FRAMES),
        "angles_rad": np.radians(THETA_DEG),
        "diffraction": BraggGeometry(
            diffractometer=load_diffractometer("34-ID-C"),
            sample_angles_rad=(theta, chi, phi),
            detector_angles_rad=(delta, gamma),
            rocked="theta",
            direct_beam_px=(0.3, -1.7),
        ),
    }
    return RockingCurve(**{**fields, **changes})
