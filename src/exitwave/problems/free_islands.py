"""Pixels of one pattern, or voxels of a rocking curve, that are kept from the solvers to test them with."""

import numpy as np
import torch
from jaxtyping import Bool
from scipy import ndimage
from torch import Tensor

from exitwave.data.errors import InputError

FREE_ISLAND_PX = 3
"""Held-out pixels lie in islands of so many rows and columns: a single one would be told by its neighbours, as a
pattern is sampled more finely than its speckles. Favre-Nicolin, Leake & Chushkin, Sci. Rep. 10, 2664 (2020)."""


def free_islands(mask: Bool[Tensor, "*axes"], fraction: float, seed: int) -> Bool[Tensor, "*axes"]:
    """Held-out islands, trusted pixels only; none in the middle, without which nothing can be phased."""
    if not 0 <= fraction < 0.5:
        raise InputError(
            f"free fraction is {fraction}; expected a share of the pixels from 0 to below 0.5, 0.05 is usual"
        )
    shape = tuple(mask.shape)
    density = 1 - (1 - fraction) ** (1 / FREE_ISLAND_PX ** len(shape))
    middles = np.random.default_rng([seed, 77]).random(shape) < density
    drawn = np.asarray(ndimage.binary_dilation(middles, np.ones((FREE_ISLAND_PX,) * len(shape))))
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    distance = np.sqrt(sum(np.square(axis - n // 2) for axis, n in zip(axes, shape, strict=True)))
    return torch.from_numpy(np.logical_and(drawn, distance >= 0.05 * min(shape))) & mask
