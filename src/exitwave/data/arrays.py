"""Arrays of any library as tensors."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def as_tensor(values: Any, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor of an array, a list or a tensor; a copy where numpy allows nobody to write, of which torch would warn."""
    if isinstance(values, np.ndarray) and not values.flags.writeable:
        values = values.copy()
    return torch.as_tensor(values, dtype=dtype)
