"""Stacks of TIFF pages as ImageJ has them: channels, depth and the size of a pixel."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Float

from exitwave.io.atomic import replacing


def write_imagej(
    path: Path, stack: Float[np.ndarray, "z channel y x"], channels: Sequence[str], pixel_m: tuple[float, ...]
) -> None:
    """Write a stack with a label for each channel; `pixel_m` is (y, x), or (z, y, x) where the planes have a distance."""
    *depth, down, across = (pixel_m[-1], *pixel_m)[-max(2, len(pixel_m)) :]
    held = io.BytesIO()
    # Into memory first: tifffile names neither file nor reason when a disk is full.
    with replacing(path) as partial:
        tifffile.imwrite(
            held,
            stack,
            imagej=True,
            resolution=(1e-6 / across, 1e-6 / down),
            metadata={
                "axes": "ZCYX",
                "unit": "um",
                "Labels": [*channels] * len(stack),
                "mode": "grayscale",
                **({"spacing": depth[0] * 1e6} if depth else {}),
            },
        )
        partial.write_bytes(held.getbuffer())
