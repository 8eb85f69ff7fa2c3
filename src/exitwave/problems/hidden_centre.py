"""How much of the middle of a pattern is hidden, by a beam stop or by pixels that are not trusted."""

import math

import numpy as np
from scipy import ndimage

from exitwave.data.pattern import Pattern


def hidden_centre_px(pattern: Pattern) -> float:
    """Diameter of the disc as large as the untrusted patch in the middle of the frame; 0 where the middle is trusted."""
    height, width = pattern.frame_shape
    if bool(pattern.mask[height // 2, width // 2]):
        return 0.0
    patches, _ = ndimage.label((~pattern.mask).numpy())  # pyright: ignore[reportGeneralTypeIssues]
    # Only what is near the middle: a gap between detector modules may join the stop.
    near = np.hypot(*np.ogrid[-(height // 2) : height - height // 2, -(width // 2) : width - width // 2])
    patch = patches == patches[height // 2, width // 2]
    radius = next(
        (r for r in range(1, min(height, width) // 2) if patch[near <= r].mean() < 0.75), min(height, width) // 2
    )
    return 2 * math.sqrt(float(patch[near <= radius].sum()) / math.pi)
