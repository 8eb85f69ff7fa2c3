"""Where a detector is blind: pixels that count nothing in any frame although light surrounds them."""

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from torch import Tensor

CHANCE = 1e-6
"""That healthy pixels of one measurement are taken for blind ones."""
FEWEST_FRAMES = 5
"""Of fewer frames nothing is said: chance, or a speckle, looks like a blind pixel."""
LARGEST_CLUSTER_PX = 25
"""More blind pixels that hang together are no fault of single pixels: a gap between modules, or a beam stop."""


LARGEST_AT_EDGE_PX = 4
"""At the edge of a frame a dark corner may be one that no light reaches."""


@dataclass(frozen=True, eq=False)
class DarkPixels:
    """Trusted pixels that never count though light surrounds them, apart by their shape."""

    single: Bool[Tensor, "y x"]
    """Dead pixels, alone or in small clusters."""
    areas: Bool[Tensor, "y x"]
    """Larger areas, such as what a beam stop hides."""
    rows: tuple[tuple[int, int], ...]
    """First and last of neighbouring rows that are blind from edge to edge: gaps between detector modules."""
    columns: tuple[tuple[int, int], ...]

    @property
    def lines(self) -> Bool[Tensor, "y x"]:
        """The pixels in blind rows and columns."""
        found = torch.zeros_like(self.single)
        for first, last in self.rows:
            found[first : last + 1] = True
        for first, last in self.columns:
            found[:, first : last + 1] = True
        return found

    @property
    def all(self) -> Bool[Tensor, "y x"]:
        """Every one of them."""
        return self.single | self.areas | self.lines


def dark_pixels(lit: Int[Tensor, "y x"], frames: int, mask: Bool[Tensor, "y x"]) -> DarkPixels:
    """Find blind pixels from the number of frames in which each pixel counts anything.

    How often the pixels around are lit tells what is to be expected, not how many photons they count: the same in any unit.
    """
    expected, enough = _expected(lit, frames), -math.log(CHANCE / mask.numel())
    dark = mask & (lit == 0)
    # Behind a gap that was masked already nothing can be seen from here.
    rows = _lines(dark, mask, expected, enough)
    columns = _lines(dark.T, mask.T, expected.T, enough)
    none = torch.zeros_like(mask)
    found = DarkPixels(none, none, rows, columns)
    single, areas = _clusters(dark & ~found.lines, mask & ~found.lines, expected, enough)
    return DarkPixels(single, areas, rows, columns)


def _expected(lit: Int[Tensor, "y x"], frames: int) -> Float[Tensor, "y x"]:
    """Photons in all frames together that a pixel half as bright would count, from how often it is lit (Poisson)."""
    share = (lit.double() / max(frames, 1)).clamp(max=1 - 1e-4)
    return -0.5 * frames * torch.log1p(-share)


def _lines(
    dark: Bool[Tensor, "y x"], mask: Bool[Tensor, "y x"], expected: Float[Tensor, "y x"], enough: float
) -> tuple[tuple[int, int], ...]:
    """Runs of rows without a count from edge to edge, with light on both sides of them."""
    height, width = dark.shape
    blind = ((dark | ~mask).all(dim=1) & dark.any(dim=1)).tolist()
    found: list[tuple[int, int]] = []
    row = 0
    while row < height:
        if not blind[row]:
            row += 1
            continue
        last = row
        while last + 1 < height and blind[last + 1]:
            last += 1
        if row > 0 and last + 1 < height:
            lit = (expected[row - 1] >= enough) & (expected[last + 1] >= enough)
            if int(lit.sum()) >= max(3, width // 32):
                found.append((row, last))
        row = last + 1
    return tuple(found)


def _clusters(
    dark: Bool[Tensor, "y x"], mask: Bool[Tensor, "y x"], expected: Float[Tensor, "y x"], enough: float
) -> tuple[Bool[Tensor, "y x"], Bool[Tensor, "y x"]]:
    """Dark pixels that hang together and whose rim is lit all around: small clusters, and larger areas."""
    single, areas = torch.zeros_like(mask), torch.zeros_like(mask)
    labels, _ = cast("tuple[np.ndarray, int]", ndimage.label(dark.numpy()))
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        around = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
        inside = labels[around] == number
        rim = torch.from_numpy(ndimage.binary_dilation(inside, np.ones((3, 3))) & ~inside) & (mask & ~dark)[around]
        reaches_edge = any(side.start == 0 or side.stop == n for side, n in zip(box, mask.shape, strict=True))
        size = int(inside.sum())
        if int(rim.sum()) < 3 or (reaches_edge and size > LARGEST_AT_EDGE_PX):
            continue
        if float(expected[around][rim].quantile(0.1)) >= enough:
            (single if size <= LARGEST_CLUSTER_PX else areas)[around] |= torch.from_numpy(inside)
    return single, areas
