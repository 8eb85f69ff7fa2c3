"""Whether a pattern equals its own mirror image (Friedel's law), as that of a real object does, and about which point."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from exitwave.data.untrusted_pixels import filled_from_neighbours
from exitwave.physics.support import soft

SYMMETRIC = 0.75
"""Correlation of speckles with those opposite from which on the object counts as real. Objects with phases have 0.0-0.65."""
FARTHEST_PX = 8
"""The point of symmetry is looked for so far around the frame's centre."""
NEIGHBOURHOOD = 1 / 64
"""Speckles are measured against their surroundings, of this share of the frame (standard deviation)."""
ENOUGH_PHOTONS = 10.0
"""Where fewer are expected, chance makes a pixel differ from its opposite."""
FEWEST_PAIRS = 300
"""Lit pixels whose opposite is lit, below which chance alone makes them alike."""
SAME = 0.98
"""Share of opposite pixels with exactly equal counts from which on somebody made them equal."""


@dataclass(frozen=True, kw_only=True)
class MirrorSymmetry:
    """How a pattern resembles itself turned by 180 degrees."""

    correlation: float = 0.0
    """Of the speckles of opposite pixels, their mean brightness taken off: 1 for a real object without noise."""
    centre_px: tuple[float, ...] = ()
    """Where the point of symmetry lies, relative to the frame's centre n // 2."""
    exact: bool = False
    """Whether opposite counts are exactly equal: the pattern was symmetrised."""

    @property
    def real(self) -> bool:
        """Whether the object may be taken for real, but for a constant phase."""
        return self.correlation >= SYMMETRIC


NOT_SYMMETRIC = MirrorSymmetry()
"""Of what was not looked at."""


def mirror_symmetry(intensity: Float[Tensor, "*axes"], known: Bool[Tensor, "*axes"]) -> MirrorSymmetry:
    """Compare every known pixel with the one opposite; counts with the beam about the index n // 2 of every axis.

    The correlation of the pattern with its mirror image, shift by shift, from known pixels alone: Padfield, IEEE Trans. Image
    Process. 21, 2706 (2012). Its maximum, between pixels, is at twice the centre of symmetry.
    """
    contrast, weights = _contrast(intensity, known)
    axes = range(contrast.ndim)

    def folded(one: Tensor, other: Tensor) -> Tensor:
        # Sum over k of one(k) other(s - k), s = 0 in the middle: both are centred.
        product = torch.fft.fftn(torch.fft.ifftshift(one)) * torch.fft.fftn(torch.fft.ifftshift(other))
        return torch.fft.fftshift(torch.fft.ifftn(product).real)

    reach = [min(2 * FARTHEST_PX, n // 4) for n in contrast.shape]
    middle = tuple(slice(n // 2 - r - 1, n // 2 + r + 2) for n, r in zip(contrast.shape, reach, strict=True))
    power = folded(contrast.square() * weights, weights)[middle]
    together, pairs = (folded(values, values)[middle] for values in (contrast * weights, weights))
    enough = pairs > max(FEWEST_PAIRS, 0.5 * float(pairs.max()))
    found = torch.where(enough, together / power.clamp(min=1e-30), 0.0)
    inner = found[tuple(slice(1, -1) for _ in axes)]
    peak = [int(i) + 1 for i in torch.unravel_index(inner.argmax(), inner.shape)]
    centre = tuple((_between(found, peak, axis) - found.shape[axis] // 2) / 2 for axis in axes)
    return MirrorSymmetry(
        correlation=float(found[tuple(peak)]), centre_px=centre, exact=_exact(intensity, known, centre)
    )


def opposite(values: Tensor, centre_px: tuple[float, ...]) -> Tensor:
    """Values with the one opposite in the place of each, about the nearest whole or half pixel; wraps at the edges."""
    turned = torch.flip(values, tuple(range(values.ndim)))
    # Flipping takes the index i to n - 1 - i, and the centre is at n // 2.
    shifts = [(n + 1) % 2 + round(2 * c) for n, c in zip(values.shape, centre_px, strict=True)]
    return torch.roll(turned, shifts, tuple(range(values.ndim)))


def _contrast(
    intensity: Float[Tensor, "*axes"], known: Bool[Tensor, "*axes"]
) -> tuple[Float[Tensor, "*axes"], Float[Tensor, "*axes"]]:
    """Amplitudes relative to those around, and 1 where light enough falls and the pixel is known; double precision."""
    amplitude = filled_from_neighbours(torch.where(known, intensity, 0.0), known).double().clamp(min=0).sqrt()
    around = soft(amplitude, max(2.0, NEIGHBOURHOOD * min(intensity.shape))).clamp(min=1e-12)
    lit = known & (around.square() > min(ENOUGH_PHOTONS, float(around.square().max()) / 100))
    contrast = torch.where(lit, amplitude / around - 1, 0.0)
    return contrast - (contrast.sum() / lit.sum().clamp(min=1)) * lit, lit.double()


def _between(values: Float[Tensor, "*axes"], peak: list[int], axis: int) -> float:
    """Where the parabola through a maximum and its neighbours along an axis is highest."""
    low, top, high = (float(values[tuple(i + step * (a == axis) for a, i in enumerate(peak))]) for step in (-1, 0, 1))
    bend = low - 2 * top + high
    return peak[axis] + (max(-0.5, min(0.5, 0.5 * (low - high) / bend)) if bend < 0 else 0.0)


def _exact(intensity: Float[Tensor, "*axes"], known: Bool[Tensor, "*axes"], centre_px: tuple[float, ...]) -> bool:
    pairs = known & opposite(known, centre_px) & (intensity > 0)
    same = (opposite(intensity, centre_px) == intensity) & pairs
    bright = pairs & (intensity > ENOUGH_PHOTONS)
    if int(bright.sum()) < FEWEST_PAIRS:
        return False
    # Photons that scatter by chance are equal in a tenth of such pairs at most.
    return float((same & bright).sum()) > SAME * float(bright.sum())
