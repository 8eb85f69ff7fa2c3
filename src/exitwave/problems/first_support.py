"""Where an isolated object may be, as far as its pattern alone tells: from the autocorrelation."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from exitwave.data.untrusted_pixels import filled_from_neighbours
from exitwave.physics.support import autocorrelation, extent_px, soft
from exitwave.problems.mirror_symmetry import MirrorSymmetry, opposite

LEVEL = 0.04
"""Of the autocorrelation's maximum: what lies above is taken for the object. Marchesini et al. (2003)."""
FAR = 0.44
"""Share of the frame from its middle beyond which an autocorrelation shows what stop, arms and noise make of it."""
FAINT = 0.008
"""Of its maximum: nothing fainter counts as the object's edge."""
ROOM = 1.08
"""A box is so much wider than the object seems."""


def correlated(counts: Float[Tensor, "*axes"], known: Bool[Tensor, "*axes"]) -> Bool[Tensor, "*axes"]:
    """Where the autocorrelation is noticeable; pixels that are not known are taken from their neighbours."""
    return autocorrelation(_filled(counts, known)) > LEVEL


def first_support(
    counts: Float[Tensor, "*axes"],
    known: Bool[Tensor, "*axes"],
    region: Bool[Tensor, "*axes"],
    symmetry: MirrorSymmetry,
) -> Bool[Tensor, "*axes"]:
    """The autocorrelation `region`, as far as it lies in the middle half of the frame; of a real object the box around it.

    The whole middle half where a beam stop hides what the autocorrelation is made of.
    """
    if symmetry.real:
        return _box(*_completed(counts, known, symmetry))
    support = torch.zeros_like(known)
    support[tuple(slice(n // 4, n // 4 + (n + 1) // 2) for n in known.shape)] = True
    return support & region if bool(known[tuple(n // 2 for n in known.shape)]) else support


def _box(counts: Float[Tensor, "*axes"], known: Bool[Tensor, "*axes"]) -> Bool[Tensor, "*axes"]:
    """The box of the object: half as long in each direction as its autocorrelation, which is sure for any shape.

    Edges stand out however weak the low frequencies are; what a stop adds shows far from the middle, too.
    """
    spread = soft(autocorrelation(_filled(counts, known)), 1.0)
    distance = torch.zeros_like(spread)
    for axis, n in enumerate(spread.shape):
        shape = [1] * spread.ndim
        shape[axis] = n
        distance = torch.maximum(distance, ((torch.arange(n) - n // 2).abs() / n).reshape(shape))
    far = spread[distance > FAR]
    level = max(FAINT, float(far.mean() + 6 * far.std()))
    box = torch.zeros_like(known)
    sides = (
        min(math.ceil(ROOM * length / 2) + 2, n // 2)
        for length, n in zip(extent_px(spread > level), known.shape, strict=True)
    )
    box[
        tuple(slice(n // 2 - side // 2, n // 2 - side // 2 + side) for side, n in zip(sides, known.shape, strict=True))
    ] = True
    return box


def _completed(
    counts: Float[Tensor, "*axes"], known: Bool[Tensor, "*axes"], symmetry: MirrorSymmetry
) -> tuple[Float[Tensor, "*axes"], Bool[Tensor, "*axes"]]:
    """The pattern of a real object with unknown pixels taken from the opposite ones, and what is known then."""
    turned, seen = (opposite(values, symmetry.centre_px) for values in (counts, known))
    return torch.where(known, counts, turned), known | seen


def _filled(counts: Float[Tensor, "*axes"], known: Bool[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    return filled_from_neighbours(torch.where(known, counts, 0.0), known)
