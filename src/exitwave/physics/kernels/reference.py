"""The verbs of the inner loop in plain torch: any device, differentiable, and the definition that faster ones must match."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Complex, Float, Inexact
from torch import Tensor

Corners = Sequence[Sequence[int]]
"""(y, x) of the first row and column of each window, whole pixels, all windows inside the canvas."""


def scatter_add_(
    canvas: Inexact[Tensor, "slice Y X"], patches: Inexact[Tensor, "batch slice y x"], corners: Corners
) -> None:
    """Add each patch to its window of the canvas, in place; the adjoint of `gather`."""
    height, width = patches.shape[-2:]
    # Slices, not index_put: no races where windows overlap, and many times faster on a CPU.
    for patch, (row, column) in zip(patches, corners, strict=True):
        canvas[:, row : row + height, column : column + width] += patch


def _gather(canvas: Tensor, corners: Corners, shape: tuple[int, int]) -> Tensor:
    height, width = shape
    return torch.stack([canvas[:, row : row + height, column : column + width] for row, column in corners])


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, canvas: Tensor, corners: Corners, shape: tuple[int, int]) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.corners, ctx.canvas_shape = corners, canvas.shape
        return _gather(canvas, corners, shape)

    @staticmethod
    def backward(ctx: Any, patches: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _Scatter.apply(patches, ctx.corners, ctx.canvas_shape), None, None  # pyright: ignore[reportReturnType]


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, patches: Tensor, corners: Corners, canvas_shape: tuple[int, ...]) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.corners, ctx.patch_shape = corners, (patches.shape[-2], patches.shape[-1])
        canvas = torch.zeros(canvas_shape, dtype=patches.dtype, device=patches.device)
        scatter_add_(canvas, patches, corners)
        return canvas

    @staticmethod
    def backward(ctx: Any, canvas: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return _Gather.apply(canvas, ctx.corners, ctx.patch_shape), None, None  # pyright: ignore[reportReturnType]


def gather(
    canvas: Inexact[Tensor, "slice Y X"], corners: Corners, shape: tuple[int, int]
) -> Inexact[Tensor, "batch slice y x"]:
    """Cut the window of each frame out of the canvas. Differentiable; its backward pass scatters in place."""
    if not (canvas.requires_grad and torch.is_grad_enabled()):
        return _gather(canvas, corners, shape)
    return _Gather.apply(canvas, corners, shape)  # pyright: ignore[reportReturnType]


def intensity(waves: Complex[Tensor, "batch mode y x"]) -> Float[Tensor, "batch y x"]:
    """Photons at each pixel: incoherent modes add in intensity. Differentiable also where the wave is zero."""
    if waves.requires_grad and torch.is_grad_enabled():
        parts = torch.view_as_real(waves)
        return parts.square().sum(dim=(-1, 1))
    if waves.shape[1] == 1:
        parts = torch.view_as_real(waves[:, 0])
        return torch.addcmul(parts[..., 0].square(), parts[..., 1], parts[..., 1])
    parts = torch.view_as_real(waves)
    return parts.square().sum(dim=(-1, 1))


def impose_modulus_(
    waves: Complex[Tensor, "batch mode y x"],
    amplitudes: Float[Tensor, "batch y x"],
    trusted: Float[Tensor, "y x"],
) -> Float[Tensor, " batch"]:
    """Turn waves at the detector, in place, into the *change* that gives them the measured modulus; return the misfit.

    In difference form, F <- F (A / |F| - 1), so that one inverse transform gives the change of the exit wave. Untrusted
    pixels (trusted = 0) do not change. The misfit of a frame is the sum of (|F| - A)^2 over trusted pixels.
    """
    modulus = intensity(waves).sqrt_()
    deviation = torch.sub(amplitudes, modulus).mul_(trusted)
    misfit = torch.linalg.vector_norm(deviation, dim=(1, 2)).square_()
    torch.view_as_real(waves).mul_(deviation.div_(modulus.clamp_(min=1e-12))[:, None, :, :, None])
    return misfit
