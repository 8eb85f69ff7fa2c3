"""Frames of a full detector are cut around the beam: what is far from it is dark, and costs time and memory all the same."""

import torch
from jaxtyping import Float
from torch import Tensor

from exitwave.data import prepare
from exitwave.data.beam import beam_centre, is_quick, lit_size, quick_length
from exitwave.data.finding import Finding
from exitwave.data.scan import Scan
from exitwave.problems.examination.beam import cut_axes

SMALL_PX = 128
"""Frames up to this size are never cut."""
USUAL_PX = 512
"""Frames up to this size are only cut where their size is transformed slowly."""
LEAST_PX = 64
CHOSEN = ("crop:", "pad:", "bin:", "cut around the beam:")
"""Preparation after which the size of the frames is the user's own."""


def cut_to_beam(scan: Scan, mean_pattern: Float[Tensor, "y x"]) -> tuple[Scan, list[Finding]]:
    """The scan with frames cut around the beam, where they are those of a full detector; otherwise the very same scan.

    Far field: to the square that holds all but 1e-4 of the light. Near field: to the next smaller size that is transformed
    quickly.
    """
    shape, done = scan.frame_shape, scan.provenance.get("preparation", ())
    quick = all(map(is_quick, shape))
    if max(shape) <= SMALL_PX or (quick and max(shape) <= USUAL_PX) or any(step.startswith(CHOSEN) for step in done):
        return scan, []
    most = quick_length(shape[0]), quick_length(shape[1])
    if scan.geometry.near_field:
        size, centre = most, (shape[0] // 2, shape[1] // 2)
    else:
        if cut_axes(torch.where(scan.mask, mean_pattern, 0.0).clamp(min=0).double()) is not None:
            return scan, []
        centre = beam_centre(mean_pattern, scan.mask)
        side = max(LEAST_PX, _quick_multiple(lit_size(mean_pattern, scan.mask, centre)))
        size = min(side, most[0]), min(side, most[1])
    if quick and size[0] * size[1] > 0.6 * shape[0] * shape[1]:
        return scan, []
    told = (
        f"frames of {shape[0]} x {shape[1]} pixels cut to {size[0]} x {size[1]} around the beam at {centre}; --detector-size "
        "N sets another size"
    )
    return prepare.cut_around_beam(scan, size, centre), [Finding("cut-around-beam", told, "cured")]


def _quick_multiple(length: int) -> int:
    """The next multiple of 16 that is transformed quickly."""
    length = -(-length // 16) * 16
    while not is_quick(length):
        length += 16
    return length
