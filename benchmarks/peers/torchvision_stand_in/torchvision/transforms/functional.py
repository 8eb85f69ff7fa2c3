"""Gaussian blur of images (..., y, x), as torchvision defines it: separable, mirrored at the edges."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad


def gaussian_blur(image: Tensor, kernel_size: Sequence[int], sigma: Sequence[float] | None = None) -> Tensor:
    """Blur with a kernel of `kernel_size` (x, y) pixels and a standard deviation of `sigma` (x, y)."""
    sizes = [kernel_size] * 2 if isinstance(kernel_size, int) else list(kernel_size)
    widths = [0.3 * ((n - 1) * 0.5 - 1) + 0.8 for n in sizes] if sigma is None else sigma
    widths = [float(widths)] * 2 if isinstance(widths, int | float) else [float(w) for w in widths]
    across, down = (_profile(n, w, image) for n, w in zip(sizes, (widths * 2)[:2], strict=True))
    planes = image.reshape(-1, 1, *image.shape[-2:])
    planes = pad(planes, [sizes[0] // 2, sizes[0] // 2, sizes[1] // 2, sizes[1] // 2], mode="reflect")
    return conv2d(conv2d(planes, across[None, None, None, :]), down[None, None, :, None]).reshape(image.shape)


def _profile(size: int, sigma: float, like: Tensor) -> Tensor:
    reach = (size - 1) * 0.5
    weight = torch.exp(-0.5 * (torch.linspace(-reach, reach, size, device=like.device) / sigma) ** 2)
    return (weight / weight.sum()).to(like.dtype)
