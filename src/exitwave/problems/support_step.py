"""One epoch of phasing an isolated object, beside its two transforms: passes over all voxels that threads share."""

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from exitwave.physics.kernels import dispatch
from exitwave.problems.threads import run_in_threads, threads_on

LEAST_PIXELS = 2**18
"""Pixels that are worth a thread of their own: a pass over fewer is done before another thread wakes."""


def impose_modulus_(
    at_detector: Complex[Tensor, "*axes"],
    amplitudes: Float[Tensor, "*axes"],
    trusted: Float[Tensor, "*axes"],
    background: Float[Tensor, "*axes"],
) -> float:
    """Turn a wave at the detector, in place, into the change that gives it these amplitudes; the misfit sum (|F| - A)^2.

    Pixels that are not trusted do not change; `background` is what else is in the pattern, as intensity.
    """
    # The kernel takes stacks of images: all axes but the last are rows to it.
    rows = (-1, at_detector.shape[-1])
    parts = _parts(at_detector)
    pieces = [tensor.view(rows).tensor_split(parts) for tensor in (at_detector, amplitudes, trusted, background)]

    def part(number: int) -> float:
        wave, measured, known, behind = (each[number] for each in pieces)
        whole = torch.zeros(1, dtype=torch.int64)
        return float(dispatch.impose_modulus_(wave[None, None], measured[None], whole, known, behind).sum())

    return sum(run_in_threads(part, parts))


def confined(
    obj: Complex[Tensor, "*axes"],
    change: Complex[Tensor, "*axes"],
    support: Bool[Tensor, "*axes"],
    kept: float,
    returned: float,
) -> tuple[Complex[Tensor, "*axes"], Complex[Tensor, "*axes"]]:
    """The next iterate, and what of it lies inside the support, where o' = obj + change fits the pattern. Uses up `change`.

    Inside the support the iterate is o', outside kept obj + returned o'.
    """
    after = torch.empty_like(obj) if kept or returned else None
    parts = _parts(obj)
    pieces = [tensor.view(-1).tensor_split(parts) for tensor in (change, obj, support)]
    wanted = [None] * parts if after is None else after.view(-1).tensor_split(parts)

    def part(number: int) -> None:
        wave, old, within = (each[number] for each in pieces)
        dispatch.confine_(wave, old, within, kept, returned, wanted[number])

    run_in_threads(part, parts)
    return (change if after is None else after), change


def _parts(pixels: Tensor) -> int:
    return threads_on(pixels.device, max(1, pixels.numel() // LEAST_PIXELS))
