"""Support of an isolated object, from the pattern alone and then from the object found so far. Two or three axes."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor


def autocorrelation(intensity: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Modulus of the object's autocorrelation, 1 at its middle (index n // 2): the transform of a pattern in detector order."""
    axes = tuple(range(intensity.ndim))
    spread = torch.fft.fftshift(torch.fft.ifftn(intensity.double()).abs(), dim=axes)
    return (spread / spread.max().clamp(min=1e-300)).to(torch.float32)


def soft(values: Float[Tensor, "*axes"], sigma_px: float) -> Float[Tensor, "*axes"]:
    """Blur by a Gaussian of this standard deviation, all axes, wrapping at the edges."""
    spectrum = torch.fft.rfftn(values)
    for axis, size in enumerate(values.shape):
        last = axis == values.ndim - 1
        frequency = (torch.fft.rfftfreq if last else torch.fft.fftfreq)(size, device=values.device)
        shape = [1] * values.ndim
        shape[axis] = len(frequency)
        spectrum *= torch.exp(-2 * (torch.pi * sigma_px * frequency).square()).reshape(shape)
    return torch.fft.irfftn(spectrum, s=values.shape)


def shrink_wrap(obj: Complex[Tensor, "*axes"], sigma_px: float, threshold: float) -> Bool[Tensor, "*axes"]:
    """The support of what was found so far: where its blurred amplitude exceeds a share of its maximum.

    Marchesini et al., Phys. Rev. B 68, 140101 (2003).
    """
    # Twice as fast as abs(), which guards against squares that overflow.
    modulus = torch.view_as_real(obj).square().sum(dim=-1).sqrt_()
    amplitude = soft(modulus, sigma_px)
    return amplitude > threshold * amplitude.max()


def extent_px(region: Bool[Tensor, "*axes"]) -> Sequence[int]:
    """Rows, columns ... from the first to the last that a region touches."""
    lengths: list[int] = []
    for axis in range(region.ndim):
        others = tuple(other for other in range(region.ndim) if other != axis)
        touched = region.sum(dim=others).nonzero()
        lengths.append(int(touched[-1] - touched[0]) + 1 if len(touched) else 0)
    return lengths
