"""Pixels that hold no counts of photons: marked as without data, stuck, hot or dead. They are masked."""

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import special
from torch import Tensor
from torch.nn import functional

from exitwave.data.dark_pixels import FEWEST_FRAMES
from exitwave.data.finding import Finding
from exitwave.problems.examination.survey import NO_COUNTS
from exitwave.problems.examination.words import counted, pixel_list

NEARLY_ALL = 0.9
"""Share of the frames in which a pixel without data must hold the same."""
UINT8_MAX, INT16_MAX = 255.0, 32767.0
FEWEST_LEFT = 0.05
"""Share of the pixels that must be left."""
MOST_STUCK = 0.2
"""Share of the lit pixels."""
CHANCE = 1e-6
"""Of a false alarm in one measurement, for every kind of fault."""
HOT_TIMES = 10.0
"""A hot pixel counts so many times what the pixels around it count."""


@dataclass(frozen=True, eq=False)
class Bad:
    """Pixels of one kind of fault."""

    name: str
    pixels: Bool[Tensor, "y x"]
    what: str
    """What is wrong with them, such as "dead: dark in the midst of light"."""

    @property
    def finding(self) -> Finding:
        """In words."""
        places = cast("list[tuple[int, int]]", [tuple(place) for place in self.pixels.nonzero().tolist()])
        told = f"{counted(len(places), 'pixel')} masked, {self.what} (row, column: {pixel_list(places)})"
        return Finding(self.name, told, "cured")


@dataclass(frozen=True, eq=False)
class Usual:
    """What pixels show in some frames, where they are not finite left out."""

    frames: Float[Tensor, "few y x"]
    """With zeros for what is not finite."""
    lost: Int[Tensor, "y x"]
    """In how many frames each pixel is not finite."""
    middle: Float[Tensor, "y x"]
    """The median over the frames."""
    same: Int[Tensor, "y x"]
    """In how many frames each pixel shows just that."""
    mean: Float[Tensor, "y x"]
    """Without the brightest tenth of the frames at each pixel: one wild frame makes none hot."""

    @classmethod
    def of(cls, frames: Float[Tensor, "few y x"]) -> "Usual":
        """Of frames as they were read."""
        finite = frames.isfinite()
        clean = torch.where(finite, frames, 0.0)
        # numpy sorts along the first axis several times as fast as torch.
        ordered, count = torch.from_numpy(np.sort(clean.numpy(), axis=0)), len(frames)
        middle, most = ordered[(count - 1) // 2], count - (count >= FEWEST_FRAMES) * max(1, count // 10)
        lost, same = (~finite).sum(dim=0), (clean == middle).sum(dim=0)
        return cls(clean, lost, middle, same, ordered[:most].mean(dim=0))


def suspect_pixels(frames: Float[Tensor, "few y x"], mask: Bool[Tensor, "y x"]) -> list[Bad]:
    """Trusted pixels that hold no counts, told from some frames of a measurement: without data, stuck, hot."""
    usual = Usual.of(frames)
    found = marked_pixels(usual, mask)
    left = mask & ~union(found, mask)
    if not bool(left.any()) or int(left.sum()) < FEWEST_LEFT * int(mask.sum()):
        # What is wrong nearly everywhere is no fault of pixels; it is refused where the problem is posed.
        return []
    if len(frames) < FEWEST_FRAMES:
        return found
    quantum = quantum_of(usual.frames[:, left])
    stuck = stuck_pixels(usual, left, quantum)
    if bool(stuck.any()):
        found.append(Bad("stuck-pixels", stuck, "stuck: the same whatever the light"))
    hot = hot_pixels(usual, left & ~stuck, quantum)
    if bool(hot.any()):
        found.append(Bad("hot-pixels", hot, f"hot: more than {HOT_TIMES:g} times the counts around"))
    return found


def union(found: list[Bad], mask: Bool[Tensor, "y x"]) -> Bool[Tensor, "y x"]:
    """All pixels that were found."""
    bad = torch.zeros_like(mask)
    for each in found:
        bad |= each.pixels
    return bad


def marked_pixels(usual: Usual, mask: Bool[Tensor, "y x"]) -> list[Bad]:
    """Pixels that hold a mark for "no data" in nearly all frames: NaN, the end of an integer type, a negative constant."""
    found: list[Bad] = []
    often = math.ceil(NEARLY_ALL * len(usual.frames))
    not_finite = (usual.lost >= often) & mask
    if bool(not_finite.any()):
        found.append(Bad("sentinel-pixels", not_finite, "not finite (NaN or infinite) in all or nearly all frames"))
    middle = usual.middle
    steady = (usual.same >= often) & mask & ~not_finite
    moving = mask & ~steady & ~not_finite
    # Of one frame nothing is known to move.
    highest = float(usual.frames[:, moving].max()) if bool(moving.any()) else math.inf
    for value in torch.unique(middle[steady & ((middle < 0) | (middle >= UINT8_MAX))]).tolist():
        pixels = steady & (middle == value)
        if _marks(value, int(pixels.sum()), usual, highest):
            found.append(Bad("sentinel-pixels", pixels, f"{_meaning(value)} in all or nearly all frames"))
    return found


def _marks(value: float, pixels: int, usual: Usual, highest: float) -> bool:
    """Whether a value that so many pixels hold all the time stands for no data; `highest` is what the others reach."""
    if value in NO_COUNTS:
        return True
    alone = len(usual.frames) == 1
    if value < 0:
        # A background that was taken off leaves no two alike.
        return not alone or value == round(value) or pixels > 2
    if alone:
        return value >= INT16_MAX and _ends_type(value) and (pixels > 2 or value == float(usual.frames.max()))
    return (value >= INT16_MAX and _ends_type(value)) or (pixels > 1 and value > highest)


def _ends_type(value: float) -> bool:
    """Whether a number is the largest of some bits: 2**15 - 1, 2**16 - 1, 2**20 - 1 ..."""
    return math.log2(value + 1).is_integer() or value in NO_COUNTS


def _meaning(value: float) -> str:
    """A mark in words: float32 holds 2**32 - 1 as 2**32."""
    if value in NO_COUNTS:
        bits = round(math.log2(abs(value)))
        exact = 2**bits - 1 if value > 0 else -(2**bits)
        return f"{exact} (the {'largest' if value > 0 else 'smallest'} of an integer type)"
    if value > 0 and _ends_type(value):
        return f"{value:.0f} (the largest of an integer type)"
    return f"{value:.7g}, which no count can be," if value < 0 else f"{value:.9g}, more than any other pixel,"


def quantum_of(values: Float[Tensor, "few pixel"]) -> float | None:
    """The value of one photon, where all values are whole multiples of one; None where they are not, as after averaging."""
    positive = values[values.isfinite() & (values > 0)][: 2**20]
    if not len(positive):
        return None
    smallest = float(positive.min())
    multiples = positive.double() / smallest
    # Beyond this float32 does not tell a multiple from what lies beside it.
    known = multiples[multiples < 1e4]
    return smallest if bool(((known - known.round()).abs() < 2e-3).double().mean() > 0.999) else None


def stuck_pixels(usual: Usual, mask: Bool[Tensor, "y x"], quantum: float | None) -> Bool[Tensor, "y x"]:
    """Pixels that show the same in nearly all frames, or scatter less than photons can (Poisson)."""
    count, middle = len(usual.frames), usual.middle
    lit = (middle > 0) & mask
    # The likeliest of all photon numbers n comes up with a chance of 1 / sqrt(2 pi n) at most.
    photons = middle / quantum if quantum else torch.full_like(middle, math.inf)
    unlikely = usual.same * -0.5 * (2 * math.pi * photons).clamp(min=1.2).log() + count // 10 * math.log(10.0)
    steady = (usual.same >= count - count // 10) & (unlikely < math.log(CHANCE / int(mask.sum())))
    lowest = float(usual.frames[:, mask].min())
    # A floor that was put under all values, not a fault of some pixels.
    floor = (middle == lowest) & (int((middle[mask] == lowest).sum()) > 0.01 * int(mask.sum()))
    found = lit & steady & ~floor
    if quantum:
        found |= _sub_poisson(usual.frames / quantum, lit)
    # Where much stands still, it is the frames that repeat each other, not pixels that are stuck.
    return found if int(found.sum()) <= MOST_STUCK * int(lit.sum()) else torch.zeros_like(mask)


def _sub_poisson(photons: Float[Tensor, "few y x"], lit: Bool[Tensor, "y x"]) -> Bool[Tensor, "y x"]:
    """Pixels whose counts scatter less than those of photons: their sum of squared deviations over the mean is too small."""
    degrees = len(photons) - 1
    if degrees < 2 * FEWEST_FRAMES:
        return torch.zeros_like(lit)
    mean = photons.mean(dim=0)
    spread = (photons - mean).square().sum(dim=0) / mean.clamp(min=1e-12)
    # Quantile of the chi-squared distribution; scipy.stats would say it so, but takes a quarter of a second to import.
    limit = float(2 * special.gammaincinv(degrees / 2, CHANCE / max(int(lit.sum()), 1)))
    quiet = lit & (mean >= 5) & (spread < limit)
    # Counts that were averaged or made without noise are quiet everywhere.
    return quiet if int(quiet.sum()) <= max(3, 0.002 * int(lit.sum())) else torch.zeros_like(lit)


def hot_pixels(usual: Usual, mask: Bool[Tensor, "y x"], quantum: float | None) -> Bool[Tensor, "y x"]:
    """Pixels that are lit in most frames and count far more than those around them, as no pattern's own detail does."""
    mean = torch.where(mask, usual.mean, 0.0).clamp(min=0)
    around = _order_around(mean, mask, reach=2, share=0.8)
    hot = mask & (usual.middle > 0) & (mean > HOT_TIMES * around)
    if quantum:
        hot &= mean * len(usual.frames) / quantum >= 15
    if not bool(hot.any()):
        return hot
    # Where light gathers, as in the direct beam, what is next to the peak stands out from what is further away.
    near = _order_around(mean, mask & ~hot, reach=1, share=0.5)
    far = _order_around(mean, mask & ~hot, reach=3, share=0.5)
    hot &= ~((near > 3 * far) & (near > 0) & (near > 0.01 * mean))
    # What a mask hides next to a pixel may be brighter still, such as the saturated middle of the beam.
    hidden = functional.max_pool2d((~mask)[None].float(), 3, 1, 1)[0] > 0
    hot &= ~hidden | (mean > HOT_TIMES**2 * around)
    height, width = mask.shape
    middle = torch.zeros_like(mask)
    middle[max(height // 2 - 2, 0) : height // 2 + 3, max(width // 2 - 2, 0) : width // 2 + 3] = True
    beam = middle & (mean >= mean[mask].max())
    hot &= ~beam
    # A pattern of points, as nearly parallel light makes of a lattice, is no detector full of hot pixels.
    return hot if int(hot.sum()) <= max(3, 0.02 * int(mask.sum())) else torch.zeros_like(mask)


def _order_around(
    image: Float[Tensor, "y x"], mask: Bool[Tensor, "y x"], *, reach: int, share: float
) -> Float[Tensor, "y x"]:
    """The value that a share of the trusted pixels around each one does not exceed; zero where there are none."""
    width = 2 * reach + 1
    known = functional.pad(torch.where(mask, image, torch.nan), (reach,) * 4, value=torch.nan)
    around = known.unfold(0, width, 1).unfold(1, width, 1).flatten(2)
    others = torch.arange(width * width) != width * width // 2
    return around[..., others].nanquantile(share, dim=-1).nan_to_num(0.0)
