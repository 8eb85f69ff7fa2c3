"""Regions of comparison: the part of the sample that the beam lit in both reconstructions."""

from dataclasses import dataclass, replace
from functools import singledispatch

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from scipy import ndimage, signal
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import Estimate, PtychoEstimate, SupportEstimate
from exitwave.evaluation.registration import rolled

RIM_PX = 16
"""Pixels kept around the scanned region, so that a shift brings in real image and no edge."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CommonRegion:
    """The objects of two estimates cut to one pixel grid, with the pixels that were scanned in each."""

    estimate: Complex[Tensor, "y x"]
    truth: Complex[Tensor, "y x"]
    estimate_region: Bool[Tensor, "y x"]
    truth_region: Bool[Tensor, "y x"]
    estimate_trusted: Bool[Tensor, "y x"]
    """Dimly lit pixels too: not good enough to be compared, better than nothing to interpolate from."""
    start_shift_px: tuple[float, float]
    """(y, x), below a pixel: what the estimate still has to move by, going by its positions."""
    corner_px: tuple[int, int]
    """(y, x) of the grid's first pixel in the object array of the truth."""

    def scanned_in_both(self, shift_px: tuple[float, float] = (0.0, 0.0)) -> Bool[Tensor, "y x"]:
        """Pixels scanned in the truth and, after moving the estimate by `shift_px`, in the estimate.

        Raises InputError when nothing is left.
        """
        both = self.truth_region & torch.from_numpy(rolled(self.estimate_region.numpy(), np.asarray(shift_px)))
        if not bool(both.any()):
            raise InputError(
                "the scanned regions of the two reconstructions do not overlap; are they of the same scan?"
            )
        return both


def scanned_region(
    probe: Complex[Tensor, "mode y x"],
    positions_px: Float[Tensor, "frame 2"],
    object_shape: tuple[int, int],
    threshold: float = 0.05,
) -> Bool[Tensor, "Y X"]:
    """The part of the object that was really lit: summed |probe|^2 over all positions above 5 % of its maximum.

    `positions_px` are (y, x) of each window's first row and column, rounded here to whole pixels.
    """
    coverage = _laid_down(_intensity(probe), positions_px, object_shape)
    return torch.from_numpy(coverage > threshold * coverage.max())


def overlapped_region(
    probe: Complex[Tensor, "mode y x"],
    positions_px: Float[Tensor, "frame 2"],
    object_shape: tuple[int, int],
    threshold: float = 0.01,
) -> Bool[Tensor, "Y X"]:
    """The part of the object that two frames or more lit, each with over 1 % of the probe's brightest pixel.

    What one frame alone lit shares its phase with the probe there. Arguments as those of `scanned_region`.
    """
    intensity = _intensity(probe)
    lit = (intensity > threshold * intensity.max()).astype(np.float64)
    return torch.from_numpy(_laid_down(lit, positions_px, object_shape) > 1.5)


def _intensity(probe: Complex[Tensor, "mode y x"]) -> Float[np.ndarray, "y x"]:
    return probe.detach().cpu().abs().to(torch.float64).square().sum(0).numpy()


def _laid_down(
    window: Float[np.ndarray, "y x"], positions_px: Float[Tensor, "frame 2"], object_shape: tuple[int, int]
) -> Float[np.ndarray, "Y X"]:
    """The sum of a window at all positions."""
    limits = np.maximum(np.subtract(object_shape, window.shape), 0)
    corners = np.clip(np.rint(positions_px.detach().cpu().numpy()).astype(int), 0, limits)
    visits = np.zeros(tuple(limits + 1))
    np.add.at(visits, (corners[:, 0], corners[:, 1]), 1)
    # One convolution instead of a sum over frames: the same to rounding, and 10 000 frames cost no more than one.
    return signal.fftconvolve(visits, window)[: object_shape[0], : object_shape[1]]


def projection(estimate: Estimate) -> Complex[Tensor, "y x"]:
    """The object as one image, such as the product of its slices; double precision, on the CPU."""
    return replace(estimate, object=estimate.object.detach().cpu().to(torch.complex128)).plane()


@singledispatch
def visible_region(estimate: Estimate) -> Bool[Tensor, "y x"]:
    """Where the image of an estimate means something, by kind; here: wherever any light fell."""
    return estimate.light() > 0


@visible_region.register
def _(estimate: PtychoEstimate) -> Bool[Tensor, "y x"]:
    return scanned_region(estimate.probe, estimate.positions_px, _shape(estimate))


@singledispatch
def phased_region(estimate: Estimate) -> Bool[Tensor, "y x"]:
    """Where the phase of its image means something, by kind; here: wherever the image does."""
    return visible_region(estimate)


@phased_region.register
def _(estimate: PtychoEstimate) -> Bool[Tensor, "y x"]:
    # Where frames overlap; where none do, as in single shots, within each frame.
    lit = visible_region(estimate)
    both = lit & overlapped_region(estimate.probe, estimate.positions_px, _shape(estimate))
    return both if bool(both.any()) else lit


@visible_region.register
def _(estimate: SupportEstimate) -> Bool[Tensor, "y x"]:
    # Phases mean nothing where it is dark, as it is along the rim of the support.
    amplitude = estimate.plane().abs()
    return (estimate.light() > 0) & (amplitude > 0.1 * amplitude.max())


def common_region(estimate: PtychoEstimate, truth: PtychoEstimate) -> CommonRegion:
    """Cut two estimates of the same frames to one pixel grid; their object arrays may differ in size and origin.

    The median difference of their positions tells how the arrays lie; the part below a pixel becomes
    `start_shift_px`. Raises InputError when frames differ in number or nothing overlaps.
    """
    if len(estimate.positions_px) != len(truth.positions_px):
        raise InputError(
            f"the estimate has {len(estimate.positions_px)} positions, the truth {len(truth.positions_px)}; expected the "
            "same frames in both: evaluate against the scan that was reconstructed"
        )
    difference = truth.positions_px.detach().cpu().double() - estimate.positions_px.detach().cpu().double()
    down, across = np.median(difference.numpy(), axis=0)
    return overlay(estimate, truth, offset_px=(float(down), float(across)))


def overlay(estimate: PtychoEstimate, truth: PtychoEstimate, *, offset_px: tuple[float, float]) -> CommonRegion:
    """Cut two estimates to one pixel grid, pixel r of the first lying at r + offset of the second."""
    regions = [scanned_region(e.probe, e.positions_px, _shape(e)) for e in (estimate, truth)]
    dim = scanned_region(estimate.probe, estimate.positions_px, _shape(estimate), threshold=0.001)
    whole = np.rint(offset_px).astype(int)
    first = np.maximum(0, -whole)
    last = np.minimum(_shape(estimate), np.asarray(_shape(truth)) - whole)
    if (last <= first).any():
        raise InputError(
            f"object arrays of {_shape(estimate)} and {_shape(truth)} pixels, offset {tuple(offset_px)} px, do not overlap; "
            "are the reconstructions of the same scan?"
        )
    boxes = [tuple(slice(*ends) for ends in zip(first + by, last + by, strict=True)) for by in (0, whole)]
    near = _box_around(regions[0][boxes[0]] | regions[1][boxes[1]])
    images = [projection(e)[box][near] for e, box in zip((estimate, truth), boxes, strict=True)]
    regions = [region[box][near] for region, box in zip(regions, boxes, strict=True)]
    return CommonRegion(
        estimate=images[0],
        truth=images[1],
        estimate_region=regions[0],
        truth_region=regions[1],
        estimate_trusted=dim[boxes[0]][near],
        start_shift_px=(float(offset_px[0] - whole[0]), float(offset_px[1] - whole[1])),
        corner_px=(int(boxes[1][0].start + near[0].start), int(boxes[1][1].start + near[1].start)),
    )


def inscribed_rectangle(region: Bool[Tensor, "y x"]) -> tuple[slice, slice]:
    """A large rectangle inside a region (holes in it are ignored), for measures that need one: SSIM, Fourier rings.

    The worst of the four edges is taken off until each lies inside to 99 %. A region of separate spots, as a probe
    smaller than the step leaves, counts as what it surrounds. Raises InputError below 8 pixels a side.
    """
    for reach_px in (0, 4, 16):
        box = _rectangle_in(_closed(region.numpy(), reach_px))
        if box is not None:
            return box
    raise InputError(
        f"the scanned region ({int(region.sum())} pixels) holds no rectangle of 8 x 8 pixels; too small to judge"
    )


def _closed(region: Bool[np.ndarray, "y x"], reach_px: int) -> Bool[np.ndarray, "y x"]:
    """The region with its holes, and gaps narrower than twice `reach_px`, filled."""
    if reach_px:
        padded = np.pad(region, reach_px)
        grown = np.asarray(ndimage.distance_transform_edt(~padded)) <= reach_px
        shrunk = np.asarray(ndimage.distance_transform_edt(grown)) > reach_px
        region = shrunk[reach_px:-reach_px, reach_px:-reach_px]
    full = ndimage.binary_fill_holes(region)
    return region if full is None else full


def _rectangle_in(full: Bool[np.ndarray, "y x"]) -> tuple[slice, slice] | None:
    (top, left), (bottom, right) = (0, 0), full.shape
    while bottom - top >= 8 and right - left >= 8:
        box = full[top:bottom, left:right]
        inside = [float(edge.mean()) for edge in (box[0], box[-1], box[:, 0], box[:, -1])]
        worst = int(np.argmin(inside))
        if inside[worst] >= 0.99:
            return slice(top, bottom), slice(left, right)
        top, bottom = top + (worst == 0), bottom - (worst == 1)
        left, right = left + (worst == 2), right - (worst == 3)
    return None


def _shape(estimate: PtychoEstimate) -> tuple[int, int]:
    height, width = estimate.object.shape[-2:]
    return height, width


def _box_around(region: Bool[Tensor, "y x"]) -> tuple[slice, slice]:
    boxes = ndimage.find_objects(region.numpy().astype(np.int8))
    if not boxes:
        raise InputError("no part of the object was scanned; are the positions in pixels of this object?")
    down, across = (
        slice(max(s.start - RIM_PX, 0), min(s.stop + RIM_PX, n)) for s, n in zip(boxes[0], region.shape, strict=True)
    )
    return down, across
