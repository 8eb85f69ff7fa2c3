"""What a network for crystals sees of patterns, and a pattern in the 48 orientations of a cube.

A pattern that is mirrored, or whose axes are exchanged, is that of a crystal treated alike. A network that never learned this
gives somewhat different answers; the one whose pattern fits best is kept.
"""

from itertools import permutations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

ORIENTATIONS = 48
AXES = (1, 2, 3)
FEATURES = 5
"""Channels of `seen_by_network`; of published networks the first alone."""
_ORDERS = tuple(permutations(range(3)))


def seen_by_network(
    amplitudes: Float[Tensor, "crystal z y x"], features: int = FEATURES
) -> Float[Tensor, "crystal feature z y x"]:
    """Patterns as a network sees them, each of order 1 whatever its photons, the middle in the middle.

    One feature: amplitudes, as published, over their root mean square. Five: square roots of these, as amplitudes span four
    decades; and real and imaginary parts of the transforms of intensities (the autocorrelation) and of amplitudes, where the
    crystal's outline and slopes of its phase can be seen.
    """
    mean = amplitudes.square().mean(dim=AXES, keepdim=True).sqrt().clamp(min=1e-12)
    seen = [amplitudes / mean]
    if features > 1:
        seen = [seen[0].sqrt()]
        for values in (amplitudes.square(), amplitudes):
            spread = torch.fft.ifftn(values, dim=AXES)
            spread = spread / spread[:, :1, :1, :1].abs().clamp(min=1e-12)
            seen += [spread.real, spread.imag]
    return torch.fft.fftshift(torch.stack(seen, dim=1), dim=(2, 3, 4))


def turned(volume: Shaped[Tensor, "n n n"], way: int) -> Shaped[Tensor, "n n n"]:
    """A volume in one of 48 orientations; 0 leaves it as it is. The voxel 0, and the middle of an even grid, stay where they are."""
    order, mirrored = _taken_apart(way)
    return _mirrored(volume.permute(order), mirrored)


def turned_back(volume: Shaped[Tensor, "n n n"], way: int) -> Shaped[Tensor, "n n n"]:
    """The inverse of `turned`."""
    order, mirrored = _taken_apart(way)
    inverse = [order.index(axis) for axis in range(3)]
    return _mirrored(volume, mirrored).permute(inverse)


def _taken_apart(way: int) -> tuple[tuple[int, ...], list[int]]:
    return _ORDERS[way // 8], [axis for axis in range(3) if way >> axis & 1]


def _mirrored(volume: Tensor, axes: list[int]) -> Tensor:
    return volume.flip(axes).roll([1] * len(axes), axes) if axes else volume
