"""Positions of a raster scan from its rows, columns and steps, as microscopes state them in place of a list."""

import re

import numpy as np
from jaxtyping import Float

from exitwave.data.errors import InputError
from exitwave.io.pairs import Pair, pair

RasterShape = str | tuple[int, int]
"""Rows and columns: "40x40", or a pair."""
_SHAPE = re.compile(r"\s*(\d+)\s*[xX×,]\s*(\d+)\s*")


def raster_shape(stated: RasterShape) -> tuple[int, int]:
    """Rows and columns of a raster. Raises InputError for anything but two positive whole numbers."""
    if isinstance(stated, str):
        found = _SHAPE.fullmatch(stated)
        shape = (int(found[1]), int(found[2])) if found else (0, 0)
    else:
        shape = stated
    if min(shape) < 1:
        raise InputError(f"scan is {stated!r}; expected rows x columns of the raster, such as 40x50")
    return shape


def raster_step_m(
    *, step_nm: Pair | None = None, step_angstrom: Pair | None = None, step_pm: Pair | None = None
) -> tuple[float, float] | None:
    """Steps (y, x) in metres from whichever unit they were stated in. Raises InputError where more than one is."""
    stated = {
        name: (step, metres)
        for name, step, metres in (
            ("step_nm", step_nm, 1e-9),
            ("step_angstrom", step_angstrom, 1e-10),
            ("step_pm", step_pm, 1e-12),
        )
        if step is not None
    }
    if len(stated) > 1:
        raise InputError(f"{' and '.join(stated)} are stated, but the step is one; leave out all but one")
    for name, (step, metres) in stated.items():
        y, x = pair(step, name)
        if not (y and x):
            raise InputError(f"{name} is {step}; expected the distance between neighbouring positions, or (y, x)")
        return y * metres, x * metres
    return None


def raster_positions_m(shape: tuple[int, int], step_m: tuple[float, float]) -> Float[np.ndarray, "frame 2"]:
    """Positions (y, x) of the frames of a raster, row after row, each from its first column on."""
    return np.indices(shape).reshape(2, -1).T * np.asarray(step_m)
