"""The pattern of a rocking curve on the grid of a network, and the crystal that the network gives back on the problem's voxels.

A network sees crystals of about one size on one cubic grid. How finely a pattern is sampled is changed where it is exact: a
coarser or finer step of q is a shorter or longer period of the autocorrelation, which is zero beyond twice the crystal.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from scipy import ndimage
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.untrusted_pixels import filled_from_neighbours
from exitwave.physics.support import autocorrelation, extent_px, soft
from exitwave.problems.bragg import BraggProblem

LEVEL, HIGHEST = 0.01, 0.04
"""Of the autocorrelation's maximum: what lies above counts as the crystal's; the higher one where filled gaps or noise show."""
FAR = 0.44
"""Share of the frame from its middle beyond which an autocorrelation shows these."""
SHOWN = 0.78
"""So much of twice the crystal's length lies above it, in the median over made crystals; 0.65 to 0.95 of single ones."""
TOLERANCE = 1.15
"""A sampling counts as known that is so little outside the range trained on, which no estimate tells better."""
REACH, CONTINUATIONS = 0.4, 15
"""Share of the frame to which an autocorrelation reaches at most, at an oversampling of 2.5; and how often gaps are filled anew."""
LEAST_SHOWN = 1 / 3
"""Of the network's range of q that a pattern must cover along each axis; what it does not is taken for dark."""
LEAST_OVERSAMPLING = 1.8
"""Below, the autocorrelation overlaps itself and no resampling undoes that."""
Three = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class GriddedPattern:
    """A pattern on the grid of a network, and where it came from."""

    amplitudes: Float[Tensor, "z y x"]
    """Zero frequency at index 0, the peak moved there."""
    oversampling: tuple[float, float, float]
    """Of the measured pattern along each axis: frame over crystal, as the autocorrelation tells."""
    shape: Three
    """Voxels of the measured pattern,"""
    peak_px: Three
    """by which its peak stood from the middle,"""
    period: Three
    """and voxels of the problem's object that the period of the network's grid is long."""

    @property
    def photons(self) -> float:
        """Counts in the whole pattern."""
        return float(self.amplitudes.square().sum(dtype=torch.float64))

    @property
    def resampled(self) -> bool:
        """Whether the steps of q are others than those measured."""
        return self.period != self.shape

    @property
    def told(self) -> str:
        """The oversampling in words."""
        return told(self.oversampling)

    def crystal(self, found: Complex[Tensor, "z y x"]) -> Complex[Tensor, "Z Y X"]:
        """A crystal on the network's grid as one on the problem's voxels, with the slope of its phase that the peak asks for."""
        if self.shape == self.period == tuple(found.shape):
            moved = found.cpu().to(torch.complex64)
        else:
            parts = torch.view_as_real(found.cpu().to(torch.complex64)).unbind(-1)
            moved = torch.complex(*(self._on_voxels(part) for part in parts))
        return moved * _slope(self.shape, self.peak_px) if any(self.peak_px) else moved

    def _on_voxels(self, part: Float[Tensor, "z y x"]) -> Float[Tensor, "Z Y X"]:
        """Linear interpolation at the voxels of the problem, whose middle is the grid's."""
        steps = np.array([n / period for n, period in zip(part.shape, self.period, strict=True)])
        middle = np.array([n // 2 for n in part.shape]) - steps * np.array([n // 2 for n in self.shape])
        found = ndimage.affine_transform(
            part.numpy(),
            steps,
            offset=middle,  # pyright: ignore[reportArgumentType]  # one for each axis, which its type stub does not know
            output_shape=self.shape,
            order=1,
        )
        return torch.from_numpy(np.ascontiguousarray(found))


def gridded(problem: BraggProblem, grid_px: int, trained: tuple[float, float]) -> GriddedPattern:
    """The pattern of a problem as a network with such a grid sees it, at an oversampling from least to most that it knows.

    Voxels that solvers may not look at are filled as the others want them. Raises InputError where the pattern cannot be brought
    there: sampled too coarsely, or too short in q.
    """
    known = torch.fft.fftshift(problem.trusted > 0).cpu()
    counts = torch.fft.fftshift(problem.amplitudes.square()).cpu()
    return gridded_counts(continued(torch.where(known, counts, 0.0), known), grid_px, trained)


def continued(counts: Float[Tensor, "z y x"], known: Bool[Tensor, "z y x"]) -> Float[Tensor, "z y x"]:
    """A pattern with unknown voxels as its smoothness wants them: its autocorrelation is zero beyond twice the crystal.

    Papoulis, IEEE Trans. Circuits Syst. 22, 735 (1975), begun from the nearest known voxels.
    """
    if bool(known.all()):
        return counts
    found = filled_from_neighbours(counts, known)
    reach = [2 * int(REACH * n) for n in counts.shape]
    there = torch.fft.ifftshift(_cut(torch.ones(reach), _three(counts.shape)))
    for _ in range(CONTINUATIONS):
        smooth = torch.fft.fftn(torch.fft.ifftn(found) * there).real.clamp(min=0)
        found = torch.where(known, counts, smooth)
    return found


def gridded_counts(counts: Float[Tensor, "z y x"], grid_px: int, trained: tuple[float, float]) -> GriddedPattern:
    """The same from counts with the peak near the middle (index n // 2) of each axis and no gaps."""
    shape = _three(counts.shape)
    peak = int(soft(counts, 1.0).argmax())
    peak_px = _three([int(at) - n // 2 for at, n in zip(np.unravel_index(peak, shape), shape, strict=True)])
    counts = counts.roll([-by for by in peak_px], dims=(0, 1, 2))
    found = oversampling(counts)
    if min(found) < LEAST_OVERSAMPLING:
        raise InputError(
            f"the pattern is sampled {told(found)} times as finely as its crystal needs along frame, row and column; the network "
            f"needs at least {LEAST_OVERSAMPLING:g}: take finer steps of the angle, a longer distance, no binning"
        )
    period = _three([_period(n, each, grid_px, trained) for n, each in zip(shape, found, strict=True)])
    if min(period) < LEAST_SHOWN * grid_px:
        raise InputError(
            f"the pattern of {_times(shape)} voxels shows the crystal in {_times(period)} of its own voxels, the network in "
            f"{grid_px}^3; it must reach at least {LEAST_SHOWN:.2g} as far in q: crop it less, or train a network on a smaller grid"
        )
    resampled = _cut(_resampled(counts, period), (grid_px, grid_px, grid_px))
    return GriddedPattern(
        amplitudes=torch.fft.ifftshift(resampled.clamp(min=0).sqrt()).float(),
        oversampling=found,
        shape=shape,
        peak_px=peak_px,
        period=period,
    )


def oversampling(counts: Float[Tensor, "z y x"]) -> tuple[float, float, float]:
    """Frame over crystal along each axis, as far as the autocorrelation tells."""
    spread = autocorrelation(counts)
    inner = _cut(torch.ones([2 * int(FAR * n) for n in counts.shape], dtype=torch.bool), _three(counts.shape))
    far = spread[~inner]
    level = min(max(LEVEL, float(far.mean() + 4 * far.std())), HIGHEST)
    extents = extent_px(spread > level)
    z, y, x = (n / (max(extent, 1) / 2 / SHOWN) for n, extent in zip(counts.shape, extents, strict=True))
    return z, y, x


def _period(size: int, found: float, grid_px: int, trained: tuple[float, float]) -> int:
    """Voxels of the object that the network's grid spans: as many as there are where the network knows such a sampling."""
    least, most = trained
    if least / TOLERANCE <= found <= most * TOLERANCE:
        return size
    return round(size / found * (least * most) ** 0.5)


def _resampled(counts: Float[Tensor, "z y x"], period: Three) -> Float[Tensor, "Z Y X"]:
    """The same range of q in another number of steps, with as many counts in all."""
    if tuple(counts.shape) == period:
        return counts
    spread = torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(counts.double())))
    cut = torch.fft.ifftshift(_cut(spread, period))
    return torch.fft.fftshift(torch.fft.fftn(cut).real) * (counts.numel() / cut.numel())


def _cut(values: Tensor, shape: Three) -> Tensor:
    """The middle (index n // 2 stays the middle), or the whole with zeros around it."""
    for axis, wanted in enumerate(shape):
        size = values.shape[axis]
        first = size // 2 - wanted // 2
        kept = values.narrow(axis, max(first, 0), min(size, wanted))
        missing = wanted - kept.shape[axis]
        before = max(-first, 0)
        values = torch.nn.functional.pad(kept, (0, 0) * (values.ndim - 1 - axis) + (before, missing - before))
    return values


def _slope(shape: Three, peak_px: Three) -> Complex[Tensor, "z y x"]:
    """The phase that moves a pattern's peak by whole voxels."""
    ruler = torch.zeros((), dtype=torch.float64)
    for axis, (n, away) in enumerate(zip(shape, peak_px, strict=True)):
        along = (torch.arange(n, dtype=torch.float64) - n // 2) * (2 * torch.pi * away / n)
        ruler = ruler + along.reshape([-1 if each == axis else 1 for each in range(3)])
    return torch.polar(torch.ones_like(ruler), ruler).to(torch.complex64)


def _three(values: "list[int] | torch.Size") -> Three:
    z, y, x = values
    return z, y, x


def _times(shape: Three) -> str:
    return " x ".join(map(str, shape))


def told(values: tuple[float, float, float]) -> str:
    """The oversampling along each axis in words."""
    return ", ".join(f"{value:.2g}" for value in values)
