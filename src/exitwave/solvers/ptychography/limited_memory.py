"""The two-loop recursion of limited-memory BFGS, which two methods share."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Blocks = tuple[Tensor, ...]
"""Something of the object, and of the probe where it is retrieved."""


def inverse_curvature(
    descent: Blocks,
    moves: Sequence[Blocks],
    bends: Sequence[Blocks],
    *,
    first: Callable[[Blocks], Blocks],
    dot: Callable[[Blocks, Blocks], float],
) -> Blocks:
    """Inverse Hessian times the descent direction. Nocedal & Wright, Numerical Optimization (2006), algorithm 7.4.

    `moves` are the last steps, oldest first, and `bends` how much the descent direction fell along each; `first` is a first
    guess of the inverse Hessian, scaled here to the last step; `dot` a real inner product.
    """
    way = descent
    taken: list[tuple[float, float]] = []
    for move, bend in zip(reversed(moves), reversed(bends), strict=True):
        weight = 1 / dot(move, bend)
        share = weight * dot(move, way)
        taken.append((share, weight))
        way = plus(way, bend, -share)
    way = first(way)
    if moves:
        scale = dot(moves[-1], bends[-1]) / dot(bends[-1], first(bends[-1]))
        way = tuple(scale * block for block in way)
    for move, bend, (share, weight) in zip(moves, bends, reversed(taken), strict=True):
        way = plus(way, move, share - weight * dot(bend, way))
    return way


def plus(one: Blocks, other: Blocks, share: float) -> Blocks:
    """one + share other."""
    return tuple(torch.add(a, b, alpha=share) for a, b in zip(one, other, strict=True))
