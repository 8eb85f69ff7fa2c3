"""Partial coherence of the beam that an isolated object stands in: a blur of its pattern, found from the pattern itself.

The pattern of a beam that is not fully coherent is the coherent one convolved with a kernel, the transform of the mutual
coherence function: Clark et al., Nat. Commun. 3, 993 (2012), eqs. 3-6. Any number of axes; zero frequency at index 0.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

FIRST_SIGMA_PX = 0.7
"""Standard deviation of the kernel before anything is known: wide enough to grow from, for what is zero stays zero."""
ITERATIONS = 12
"""Of Richardson and Lucy's scheme at each update; the next one goes on from there."""
BRIGHT = 64
"""Pixels along each axis, around the brightest, from which the kernel is found: far out there are hardly any photons."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CoherenceBlur:
    """The convolution of patterns of one shape with a small kernel."""

    kernel: Float[Tensor, "*window"]
    """Sum 1, an odd number of pixels along each axis, zero shift in the middle."""
    shape: tuple[int, ...]

    @cached_property
    def _transfer(self) -> Tensor:
        whole = torch.zeros(self.shape, device=self.kernel.device)
        whole[tuple(slice(n) for n in self.kernel.shape)] = self.kernel
        return torch.fft.rfftn(whole.roll([-(n // 2) for n in self.kernel.shape], tuple(range(len(self.shape)))))

    def of(self, intensity: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """The pattern as the detector sees it; wraps at the edges."""
        blurred = torch.fft.irfftn(torch.fft.rfftn(intensity) * self._transfer, s=self.shape)
        # Rounding of the transforms, next to a bright peak, must not leave less than what was not moved.
        return torch.maximum(blurred, intensity * self.kernel[tuple(n // 2 for n in self.kernel.shape)])


def first_kernel(axes: int, window_px: int) -> Float[Tensor, "*window"]:
    """A narrow Gaussian to begin with."""
    ruler = torch.arange(window_px, dtype=torch.float32) - window_px // 2
    line = torch.exp(-0.5 * (ruler / FIRST_SIGMA_PX).square())
    kernel = torch.ones(())
    for _ in range(axes):
        kernel = kernel[..., None] * line
    return kernel / kernel.sum()


def fitted_kernel(
    kernel: Float[Tensor, "*window"],
    coherent: Float[Tensor, "*axes"],
    measured: Float[Tensor, "*axes"],
    trusted: Float[Tensor, "*axes"],
) -> Float[Tensor, "*window"]:
    """A kernel with which the coherent intensity of an object comes nearer to the measured one (Richardson-Lucy).

    It stays its own mirror image, as that of a real coherence function is: another one could shift the pattern.
    """
    coherent, measured, trusted = (_around_peak(values) for values in (coherent, measured, trusted))
    axes = tuple(range(coherent.ndim))
    shape, known = tuple(coherent.shape), trusted > 0
    window, middle = tuple(slice(n) for n in kernel.shape), [n // 2 for n in kernel.shape]
    spectrum = torch.fft.rfftn(coherent).conj()
    for _ in range(ITERATIONS):
        seen = CoherenceBlur(kernel=kernel, shape=shape).of(coherent)
        ratio = torch.where(known, measured / seen.clamp(min=1e-6 * float(seen.max())), 1.0)
        wished = torch.fft.irfftn(torch.fft.rfftn(ratio) * spectrum, s=shape).roll(middle, axes)[window]
        kernel = (kernel * wished).clamp(min=0)
        kernel = kernel + kernel.flip(axes)
        kernel = kernel / kernel.sum().clamp(min=1e-30)
    return kernel


def _around_peak(values: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """What lies around zero frequency, which stays at index 0."""
    for axis, n in enumerate(values.shape):
        if n > BRIGHT:
            near = torch.cat([torch.arange(BRIGHT // 2), torch.arange(n - BRIGHT // 2, n)]).to(values.device)
            values = values.index_select(axis, near)
    return values
