"""Preparation of the positions: a scan whose axes are turned, stretched or sheared against rows and columns of the frames."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.prepare.chunks import noted
from exitwave.data.scan import Scan

Matrix = tuple[tuple[float, float], tuple[float, float]]
"""Rows of a linear map of (y, x)."""


def map_positions(scan: Scan, matrix: Matrix) -> Scan:
    """Turn, stretch and shear where the probe stood: each position (y, x), a column of two, is multiplied by `matrix`.

    `exitwave info --auto-orient` prints the matrix that a scan asks for.
    """
    map_px = torch.tensor(matrix, dtype=torch.float64)
    if not bool(map_px.isfinite().all()) or abs(float(torch.linalg.det(map_px))) < 1e-6:
        raise InputError(
            f"map_positions: {matrix} maps the scan onto a line; expected two rows of two numbers, such as [[1, 0], [0, 1.05]]"
        )
    told = ", ".join(f"[{a:.6g}, {b:.6g}]" for a, b in matrix)
    return replace(scan, positions_m=scan.positions_m @ map_px.T, provenance=noted(scan, f"map_positions: [{told}]"))


def rotation(degrees: float) -> Float[Tensor, "2 2"]:
    """The matrix that turns (y, x) counter-clockwise as seen with row 0 on top. Raises InputError where it is no angle."""
    if not math.isfinite(degrees):
        raise InputError(f"rotation_deg is {degrees}; expected an angle in degrees")
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[cosine, -sine], [sine, cosine]], dtype=torch.float64)
