"""What stands in pixels that cannot be trusted, where something must."""

import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor


def filled_from_neighbours(pattern: Float[Tensor, "*axes"], trusted: Bool[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """The pattern with untrusted pixels taken from their nearest trusted neighbours."""
    if bool(trusted.all()):
        return pattern
    nearest = ndimage.distance_transform_edt((~trusted).numpy(), return_distances=False, return_indices=True)
    assert nearest is not None
    return pattern[tuple(torch.from_numpy(nearest).long())]
