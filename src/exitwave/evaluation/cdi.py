"""Isolated objects judged: coherent diffraction imaging knows them up to shift, twin, phase and scale."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import Estimate, SupportEstimate
from exitwave.evaluation.align import Freedom
from exitwave.evaluation.cdi_alignment import RegisteredImage, register_twin
from exitwave.evaluation.evaluation import (
    Evaluation,
    best_factor,
    judge,
    of_same_kind,
    require_same_shape,
    resolutions,
)
from exitwave.evaluation.metrics import metric_values
from exitwave.evaluation.region import inscribed_rectangle
from exitwave.evaluation.resolution import fourier_ring_correlation


@judge.register
def _(
    estimate: SupportEstimate, truth: Estimate, pixel_m: tuple[float, ...], remove: Collection[Freedom]
) -> Evaluation:
    """Errors over the frame, rings over the box around the true object, other measures in a rectangle inside it."""
    image, target = (x.object.detach().cpu().to(torch.complex128) for x in (estimate, of_same_kind(truth, estimate)))
    require_same_shape(image, target)
    laid = register_twin(image, target)
    factor = best_factor(laid.image, target)
    fitted = laid.image * factor
    there = target.abs() > 0.02 * target.abs().max()
    if image.ndim != 2:
        return Evaluation(metrics=metric_values("object", fitted, target), alignment=_record(laid, factor))
    rows, columns = (there.any(dim=axis).nonzero() for axis in (1, 0))
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    curve = fourier_ring_correlation(fitted[box], target[box], pixel=(pixel_m[0], pixel_m[1]))
    try:
        # Phases mean nothing in the empty space around the object.
        inner = inscribed_rectangle(there)
    except InputError:
        inner = box
    values = metric_values("object", fitted, target, box=inner)
    return Evaluation(
        metrics={**values, **resolutions(curve, "")}, alignment=_record(laid, factor), curves={"FRC": curve}
    )


def _record(laid: RegisteredImage, factor: Tensor) -> dict[str, Any]:
    return {
        "removed": ["phase", "scale", "shift", "twin"],
        "phase_rad": laid.phase_rad,
        "scale": float(factor.abs()),
        "shift_px": list(laid.shift_px),
        "twin": laid.twin,
    }
