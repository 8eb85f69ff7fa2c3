"""Alignment of reconstructions from one pattern (CDI): translation, the conjugate-inverted twin and a phase are free.

Arrays may have two or three axes; they wrap at their edges, where an isolated object has nothing.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Complex
from torch import Tensor

from exitwave.physics.fourier import conjugate_inverse, shift_factor

FINER = 50
"""Shifts are found to this part of a pixel."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RegisteredImage:
    """A reconstruction in the pose of another one."""

    image: Complex[Tensor, "*axes"]
    shift_px: tuple[float, ...]
    phase_rad: float
    twin: bool
    correlation: float
    """|<image, reference>| over the product of their norms: 1 where they agree but for a factor."""

    def moved(self, other: Tensor) -> Tensor:
        """Something that lies over the same reconstruction, such as its support, brought along; complex."""
        wave = other.to(self.image.dtype)
        return shifted(conjugate_inverse(wave) if self.twin else wave, self.shift_px)


def shifted(image: Complex[Tensor, "*axes"], shift_px: tuple[float, ...]) -> Complex[Tensor, "*axes"]:
    """Move an image by parts of a pixel, exactly for band-limited images; wraps at the edges."""
    spectrum = torch.fft.fftn(image)
    for axis, (size, distance) in enumerate(zip(image.shape, shift_px, strict=True)):
        wave = shift_factor(size, torch.tensor([distance], dtype=torch.float64, device=image.device))
        shape = [1] * image.ndim
        shape[axis] = size
        spectrum = spectrum * wave.to(image.dtype).reshape(shape)
    return torch.fft.ifftn(spectrum)


def register_twin(image: Complex[Tensor, "*axes"], reference: Complex[Tensor, "*axes"]) -> RegisteredImage:
    """Turn, move and rotate the phase of a reconstruction so that it agrees best with a reference of the same shape."""
    upright, turned = register_shift(image, reference), register_shift(conjugate_inverse(image), reference)
    return replace(turned, twin=True) if turned.correlation > upright.correlation else upright


def register_shift(image: Complex[Tensor, "*axes"], reference: Complex[Tensor, "*axes"]) -> RegisteredImage:
    """Move and rotate the phase of a reconstruction that is known to be no twin."""
    from skimage.registration import phase_cross_correlation  # imported late: scikit-image is slow to load

    # Plain cross-correlation, whose modulus does not see a global phase. Guizar-Sicairos, Opt. Lett. 33, 156 (2008).
    found, _, _ = phase_cross_correlation(
        reference.detach().cpu().numpy(),
        image.detach().cpu().numpy(),
        upsample_factor=FINER,
        normalization=None,  # pyright: ignore[reportArgumentType]  # documented, but not in its type stub
    )
    shift_px = tuple(float(distance) for distance in np.atleast_1d(found))
    moved = shifted(image, shift_px)
    overlap = torch.vdot(moved.flatten(), reference.flatten())
    norms = float(moved.norm()) * float(reference.norm())
    phase = overlap / overlap.abs().clamp(min=1e-30)
    return RegisteredImage(
        image=moved * phase,
        shift_px=shift_px,
        phase_rad=float(phase.angle()),
        twin=False,
        correlation=float(overlap.abs()) / max(norms, 1e-30),
    )
