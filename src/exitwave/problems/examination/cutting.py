"""Frames of a full detector are cut around the beam: what is far from it is dark, and costs time and memory all the same."""

import math

import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from exitwave.data import prepare
from exitwave.data.beam import beam_centre, is_quick, lit_size, quick_length
from exitwave.data.finding import Finding
from exitwave.data.scan import Scan
from exitwave.problems.examination.beam import cut_axes
from exitwave.problems.examination.survey import without_data

SMALL_PX = 128
"""Frames up to this size are never cut."""
USUAL_PX = 512
"""Frames up to this size are only cut where their size is transformed slowly."""
LEAST_PX = 64
CUT_FRAMES = 16
"""Frames that show where the light is."""
AFAR_PX = 2**18
"""Pixels of the picture in which the extent of the light is seen."""
CHOSEN = ("crop:", "pad:", "bin:", "cut around the beam:")
"""Preparation after which the size of the frames is the user's own."""


def is_full_detector(scan: Scan) -> bool:
    """Whether frames are large, or of a size that is transformed slowly, and nobody has chosen their size."""
    shape, done = scan.frame_shape, scan.provenance.get("preparation", ())
    usual = all(map(is_quick, shape)) and max(shape) <= USUAL_PX
    return max(shape) > SMALL_PX and not usual and not any(step.startswith(CHOSEN) for step in done)


def cut_to_beam(scan: Scan, frames: Float[Tensor, "few y x"]) -> tuple[Scan, list[Finding]]:
    """The scan with its frames cut around the beam that some of them show; the very same scan where little would go.

    Far field: to the square that holds all but 1e-4 of the light. Near field: to the next smaller size that is transformed
    quickly.
    """
    shape = scan.frame_shape
    most, middle = (quick_length(shape[0]), quick_length(shape[1])), (shape[0] // 2, shape[1] // 2)
    size, centre = (most, middle) if scan.geometry.near_field else _around_light(scan, frames, most)
    if size == shape:
        return scan, []
    if all(map(is_quick, shape)) and size[0] * size[1] > 0.6 * shape[0] * shape[1]:
        return scan, []
    told = (
        f"frames of {shape[0]} x {shape[1]} pixels cut to {size[0]} x {size[1]} around the beam at {centre}; --detector-size "
        "N sets another size"
    )
    return prepare.cut_around_beam(scan, size, centre), [Finding("cut-around-beam", told, "cured")]


def _around_light(
    scan: Scan, frames: Float[Tensor, "few y x"], most: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Size and centre of what is lit in the far field; the whole frame where its corners hold the beam."""
    shape = scan.frame_shape
    counts = torch.where(without_data(frames) | ~scan.mask, 0.0, frames).clamp(min=0)
    mean, known = counts.mean(dim=0), scan.mask & ~without_data(frames).all(dim=0)
    # Seen from afar, without single pixels that are brighter than all around them, nor the even background.
    factor = math.ceil(math.sqrt(mean.numel() / AFAR_PX))
    few = functional.avg_pool2d(mean[None], factor)[0]
    afar = torch.from_numpy(ndimage.gaussian_filter(ndimage.median_filter(few.numpy(), 3), 1.5))
    afar = (afar - afar.flatten().sort().values[afar.numel() // 4]).clamp(min=0)
    if not bool((afar > 0).any()) or cut_axes(afar.double()) is not None:
        return shape, (shape[0] // 2, shape[1] // 2)
    row, column = beam_centre(afar, torch.ones_like(afar, dtype=torch.bool))
    lit = factor * lit_size(few, (row, column))
    top, left = (max(0, factor * at - lit // 2) for at in (row, column))
    window = slice(top, factor * row + lit // 2 + 1), slice(left, factor * column + lit // 2 + 1)
    row, column = beam_centre(mean[window], known[window])
    side = max(LEAST_PX, _quick_multiple(lit))
    return (min(side, most[0]), min(side, most[1])), (top + row, left + column)


def _quick_multiple(length: int) -> int:
    """The next multiple of 16 that is transformed quickly."""
    length = -(-length // 16) * 16
    while not is_quick(length):
        length += 16
    return length
