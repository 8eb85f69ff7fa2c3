"""Unitary Fourier transforms and what follows from the shift theorem."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

Waves = Complex[Tensor, "*batch y x"]
"""Waves, or their transforms, on any further axes."""


def fft2(waves: Waves, out: Waves | None = None) -> Waves:
    """Unitary transform: the summed squared modulus, hence the number of photons, stays the same.

    Inner loops pass `out`: new memory for every chunk of frames can cost as much as the transform.
    """
    return torch.fft.fft2(waves, norm="ortho", out=out)


def ifft2(waves: Waves, out: Waves | None = None) -> Waves:
    """Inverse and adjoint of `fft2`."""
    return torch.fft.ifft2(waves, norm="ortho", out=out)


def to_corner(images: Tensor) -> Tensor:
    """Move the centre [h // 2, w // 2] to index 0, where Fourier transforms have it."""
    return torch.fft.ifftshift(images, dim=(-2, -1))


def to_centre(images: Tensor) -> Tensor:
    """Move index 0 to the centre [h // 2, w // 2], as arrays are stored and shown."""
    return torch.fft.fftshift(images, dim=(-2, -1))


def frequencies(
    shape: tuple[int, int], pixel: tuple[float, float] = (1.0, 1.0), device: torch.device | str = "cpu"
) -> tuple[Float[Tensor, "y 1"], Float[Tensor, "1 x"]]:
    """Spatial frequencies (cycles per unit of `pixel`) in the order of `fft2`, float64."""
    rows = torch.fft.fftfreq(shape[0], pixel[0], dtype=torch.float64, device=device)
    columns = torch.fft.fftfreq(shape[1], pixel[1], dtype=torch.float64, device=device)
    return rows[:, None], columns[None, :]


def shift_factor(size: int, shift_px: Float[Tensor, " batch"]) -> Complex[Tensor, "batch n"]:
    """Phase factors along one axis of a transform that move an image along it by each shift; complex128."""
    frequency = torch.fft.fftfreq(size, dtype=torch.float64, device=shift_px.device)
    angle = -2 * torch.pi * shift_px[:, None].to(torch.float64) * frequency
    return torch.polar(torch.ones_like(angle), angle)


def shift_factors(
    shape: tuple[int, int], shift_px: Float[Tensor, "batch 2"]
) -> tuple[Complex[Tensor, "batch y"], Complex[Tensor, "batch x"]]:
    """Phase factors of each row and of each column that move an image by (y, x) `shift_px` when multiplied onto its transform.

    Unitary for even sizes too: the Nyquist row and column get a full phase factor, as complex waves want it.
    """
    rows, columns = (shift_factor(size, shift_px[:, axis]).to(torch.complex64) for axis, size in enumerate(shape))
    return rows, columns


def conjugate_inverse(image: Complex[Tensor, "*axes"]) -> Complex[Tensor, "*axes"]:
    """The twin O*(-r), which gives the same far-field pattern; the pixel n // 2 of each axis stays where it is."""
    axes = tuple(range(image.ndim))
    return torch.roll(image.conj().flip(axes), [1 - size % 2 for size in image.shape], axes)


def fourier_shift(
    images: Complex[Tensor, "#batch *mode y x"], shift_px: Float[Tensor, "batch 2"]
) -> Complex[Tensor, "batch *mode y x"]:
    """Move images by sub-pixel shifts (y, x), exactly for band-limited images; wraps at the edge. Differentiable in both."""
    rows, columns = shift_factors((images.shape[-2], images.shape[-1]), shift_px)
    ramp = rows[:, :, None] * columns[:, None, :]
    ramp = ramp.reshape(len(ramp), *(1,) * (images.ndim - 3), *ramp.shape[1:])
    return ifft2(fft2(images) * ramp)
