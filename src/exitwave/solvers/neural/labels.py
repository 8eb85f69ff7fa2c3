"""Known images as labels: laid onto the canvas of the scan that a network learns from."""

import torch
from jaxtyping import Complex
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.fourier import fourier_shift
from exitwave.problems.ptychography import PtychographyProblem

NEGLIGIBLE_PX = 0.02
"""Shifts of a label below this are not made."""
ELSEWHERE_PX = 5.0
"""Frames of a label that stand further from those of the scan, in the median, are others; refined positions are nearer."""


def label_on(problem: PtychographyProblem, known: PtychoEstimate, name: str) -> Complex[Tensor, "1 Y X"]:
    """A known object on the canvas of the problem, its mean phase zero; `name` is that of the scan.

    Raises InputError where the known object is not that of the same frames, prepared alike.
    """
    _check(problem, known, name)
    away = (known.positions_px.cpu() - problem.positions_px.cpu()).median(dim=0).values
    whole = away.round().to(torch.int64)
    rest = (away - whole).to(torch.float32)
    obj = known.object.cpu()
    if float(rest.abs().max()) > NEGLIGIBLE_PX:
        obj = fourier_shift(obj, -rest[None])
    height, width = problem.object_shape
    label = torch.ones(1, height, width, dtype=torch.complex64)
    top, left = (int(v) for v in whole)
    rows, columns = _inside(top, height, obj.shape[-2]), _inside(left, width, obj.shape[-1])
    label[0, rows[0], columns[0]] = obj[0, rows[1], columns[1]].to(torch.complex64)
    mean = label.mean()
    return (label * (mean.conj() / mean.abs().clamp(min=1e-12))).to(problem.device)


def _check(problem: PtychographyProblem, known: PtychoEstimate, name: str) -> None:
    same = "give a result or truth of the same frames, prepared alike"
    if len(known.positions_px) != len(problem):
        raise InputError(
            f"the label of {name} has {len(known.positions_px)} frames but the scan {len(problem)}; {same}"
        )
    (height, width), (rows, columns) = known.probe.shape[-2:], problem.scan.frame_shape
    if (height, width) != (rows, columns):
        raise InputError(
            f"the label of {name} is of frames of {height} x {width} pixels but these are {rows} x {columns}; {same}"
        )
    if len(known.object) > 1:
        raise InputError(f"the label of {name} has {len(known.object)} slices; networks learn thin samples, of one")
    if not bool(torch.view_as_real(known.object).isfinite().all()):
        raise InputError(f"the label of {name} holds values that are not finite; give another one")
    moves = known.positions_px.cpu() - problem.positions_px.cpu()
    away_px = float((moves - moves.median(dim=0).values).norm(dim=1).median())
    # Written so that NaN is refused, too.
    if not away_px < ELSEWHERE_PX:
        raise InputError(
            f"the frames of the label of {name} stand {away_px:.3g} pixels from those of the scan, in the median; {same}"
        )


def _inside(offset: int, size: int, there: int) -> tuple[slice, slice]:
    """Rows of a canvas and those of another one that begins `offset` rows before it, as far as both have them."""
    first, last = max(0, -offset), min(size, there - offset)
    return slice(first, last), slice(first + offset, last + offset)
