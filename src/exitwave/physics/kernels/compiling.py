"""Loops compiled for processors: called with tensors, they see numpy views of them."""

# Types are those of the numpy arrays that come in; numba infers them.
# pyright: reportMissingParameterType=false, reportUntypedFunctionDecorator=false

from typing import Any

import numba as nb
from torch import Tensor

# Sums may be reordered and multiplications fused, but NaN and infinity keep their meaning: divergence must stay visible.
FAST = {"contract", "reassoc", "nsz", "arcp"}


def compiled(function):
    """Compile on first use, and keep the result on disk for the next process where some folder can be written to."""
    return _compiled(function, FAST)


def compiled_exactly(function):
    """The same, rounded as written: for iterations that amplify the last digit, such as hybrid input-output."""
    return _compiled(function, False)


def _compiled(function, fastmath):
    loop: Any
    try:
        loop = nb.njit(function, nogil=True, cache=True, fastmath=fastmath)
    except RuntimeError:
        loop = nb.njit(function, nogil=True, fastmath=fastmath)

    def on_tensors(*arguments, **numbers):
        return loop(*[a.numpy() if isinstance(a, Tensor) else a for a in arguments], **numbers)

    return on_tensors
