"""One reconstruction judged: against the truth where it is known, against its other half where not."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.result import Result
from exitwave.evaluation.align import PTYCHOGRAPHY_GAUGE, Alignment, Freedom, align, move
from exitwave.evaluation.cdi_alignment import register_twin
from exitwave.evaluation.metrics import metric_values, nrmse
from exitwave.evaluation.region import CommonRegion, common_region, inscribed_rectangle, overlay, projection
from exitwave.evaluation.resolution import RingCorrelation, fourier_ring_correlation


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Figures of merit of a reconstruction under their precise ids, and what was removed before measuring."""

    metrics: Mapping[str, float]
    """Metric id -> value; `residual` is the squared relative amplitude residual of the data, FRC are of Nyquist."""
    alignment: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Gauge removed from the estimate: `removed`, phase_rad, scale, ramp_rad_px, shift_px, twin; empty without truth."""
    curves: Mapping[str, RingCorrelation] = field(default_factory=dict[str, RingCorrelation])
    """Fourier ring correlations: `FRC` against the truth, `FRC-split` between halves."""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Where the reconstruction and its scan came from."""

    def to_json(self) -> dict[str, Any]:
        """A dict for `json.dumps`: metric ids at the top, then `alignment` and `provenance`; NaN and infinity are null."""
        return plain({**self.metrics, "alignment": self.alignment, "provenance": self.provenance})


def evaluate(
    result: Result, *, truth: PtychoEstimate | None = None, remove: Collection[Freedom] = PTYCHOGRAPHY_GAUGE
) -> Evaluation:
    """Judge a reconstruction by how it fits the data and, where the truth is known, by how far it is from it.

    The truth must be of the same frames; its object array may lie elsewhere. Objects are aligned on the region scanned
    in both; SSIM and ring correlations use a rectangle in it. An isolated object from one pattern is laid onto the truth
    by shift, twin, phase and scale instead, wherever it lies in the frame. Raises InputError when the two cannot be
    compared.
    """
    metrics = {"residual": result.residual}
    if result.free_residual is not None:
        metrics["free-residual"] = result.free_residual
    if truth is None:
        return Evaluation(metrics=metrics, provenance=result.provenance)
    if result.estimate.support is not None:
        return _isolated(result, truth, metrics)
    common = common_region(result.estimate, truth)
    alignment = aligned(common, remove)
    region = common.scanned_in_both(alignment.shift_px)
    box = inscribed_rectangle(region)
    metrics |= metric_values("object", alignment.image, common.truth, weights=region, box=box)
    metrics |= probe_error(result.estimate.probe, truth.probe, gauge_shift(alignment, common), alignment.ramp_rad_px)
    metrics |= position_error(result.estimate, truth)
    curve = fourier_ring_correlation(alignment.image[box], common.truth[box], pixel=result.object_pixel_m)
    return Evaluation(
        metrics=metrics | _resolutions(curve, ""),
        alignment=_record(alignment, common, remove),
        curves={"FRC": curve},
        provenance=result.provenance,
    )


def _isolated(result: Result, truth: PtychoEstimate, metrics: Mapping[str, float]) -> Evaluation:
    """An isolated object against the truth: errors over the frame, rings over the box around the true object,
    other measures in a rectangle inside it."""
    image, target = projection(result.estimate), projection(truth)
    if image.shape != target.shape:
        raise InputError(
            f"the object is {tuple(image.shape)} pixels, the true one {tuple(target.shape)}; expected the same: evaluate "
            "against the truth of the pattern as it was binned and cropped for the reconstruction"
        )
    laid = register_twin(image, target)
    factor = torch.vdot(laid.image.flatten(), target.flatten()) / torch.vdot(laid.image.flatten(), laid.image.flatten())
    fitted = laid.image * factor
    there = target.abs() > 0.02 * target.abs().max()
    rows, columns = (there.any(dim=axis).nonzero() for axis in (1, 0))
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    curve = fourier_ring_correlation(fitted[box], target[box], pixel=result.object_pixel_m)
    try:
        # Phases mean nothing in the empty space around the object.
        inner = inscribed_rectangle(there)
    except InputError:
        inner = box
    values = metric_values("object", fitted, target, box=inner)
    return Evaluation(
        metrics={**metrics, **values, **_resolutions(curve, "")},
        alignment={
            "removed": ["phase", "scale", "shift", "twin"],
            "phase_rad": laid.phase_rad,
            "scale": float(factor.abs()),
            "shift_px": list(laid.shift_px),
            "twin": laid.twin,
        },
        curves={"FRC": curve},
        provenance=result.provenance,
    )


def compare_halves(
    first: PtychoEstimate,
    second: PtychoEstimate,
    *,
    pixel: tuple[float, float] = (1.0, 1.0),
    offset_px: tuple[float, float] = (0.0, 0.0),
    provenance: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Resolution without truth: the ring correlation of two reconstructions, each from one half of the frames.

    The second is aligned to the first; the region scanned in both counts. `pixel` is the object pixel (y, x), any unit;
    `offset_px` says where pixel (0, 0) of the first object array lies in the second: zero for equal canvases.
    """
    common = overlay(second, first, offset_px=(-offset_px[0], -offset_px[1]))
    alignment = aligned(common, PTYCHOGRAPHY_GAUGE)
    region = common.scanned_in_both(alignment.shift_px)
    box = inscribed_rectangle(region)
    curve = fourier_ring_correlation(alignment.image[box], common.truth[box], pixel=pixel)
    difference = nrmse(alignment.image, common.truth, weights=region)["M-NRMSE"]
    halves = metric_values("halves", alignment.image, common.truth, weights=region, box=box)
    return Evaluation(
        metrics=_resolutions(curve, "-split") | {"M-NRMSE-split": difference} | halves,
        alignment=_record(alignment, common, PTYCHOGRAPHY_GAUGE),
        curves={"FRC-split": curve},
        provenance=provenance or {},
    )


def merge_evaluations(first: Evaluation, second: Evaluation) -> Evaluation:
    """Both evaluations in one, as of a result judged against the truth and between its halves; the first one's
    alignment and provenance stand where both have one."""
    return Evaluation(
        metrics={**first.metrics, **second.metrics},
        alignment=first.alignment or second.alignment,
        curves={**first.curves, **second.curves},
        provenance=first.provenance or second.provenance,
    )


def position_error(estimate: PtychoEstimate, truth: PtychoEstimate) -> dict[str, float]:
    """position-error and its median: distance in object pixels of each frame from where it truly stood, root mean square.

    The mean is taken out, because moving all positions is the same as moving the object.
    """
    off = estimate.positions_px.detach().cpu().double() - truth.positions_px.detach().cpu().double()
    distance = (off - off.mean(dim=0)).norm(dim=1)
    return {
        "position-error": float(distance.square().mean().sqrt()),
        "position-error-median": float(distance.median()),
    }


def probe_error(
    estimate: Complex[Tensor, "mode y x"],
    truth: Complex[Tensor, "mode y x"],
    shift_px: tuple[float, float],
    ramp_rad_px: tuple[float, float],
) -> dict[str, float]:
    """M-NRMSE-probe: relative error of the probe, given the shift and ramp that the object needed.

    The probe moves with the object and carries the opposite ramp; a complex scale and, for several incoherent modes,
    the unitary mixture that fits best (Schonemann, Psychometrika 31, 1 (1966)) are free. Modes that one of the two
    lacks count as dark. Raises InputError for probes of different size.
    """
    if estimate.shape[-2:] != truth.shape[-2:]:
        raise InputError(
            f"the probe is {tuple(estimate.shape[-2:])} pixels, the true one {tuple(truth.shape[-2:])}; expected the same: "
            "evaluate against the truth of the scan as it was binned and cropped for the reconstruction"
        )
    probe = torch.stack([moved_with_object(mode, shift_px, ramp_rad_px) for mode in estimate])
    x, t = (modes.detach().cpu().to(torch.complex128).flatten(1) for modes in (probe, truth))
    agreement = torch.linalg.svdvals(t @ x.conj().T).sum()
    lost = 1 - agreement**2 / (x.abs().square().sum() * t.abs().square().sum())
    return {"M-NRMSE-probe": math.sqrt(max(float(lost), 0.0))}


def moved_with_object(
    mode: Complex[Tensor, "y x"], shift_px: tuple[float, float], ramp_rad_px: tuple[float, float]
) -> Complex[Tensor, "y x"]:
    """A probe mode after the object was shifted and given a phase ramp: it moves along and carries the opposite ramp."""
    height, width = mode.shape
    rows = torch.arange(height, dtype=torch.float64)[:, None] - height // 2
    columns = torch.arange(width, dtype=torch.float64)[None, :] - width // 2
    ramp = torch.exp(-1j * (ramp_rad_px[0] * rows + ramp_rad_px[1] * columns))
    return move(mode.detach().cpu().to(torch.complex128) * ramp, shift_px)


def aligned(common: CommonRegion, remove: Collection[Freedom] = PTYCHOGRAPHY_GAUGE) -> Alignment:
    """The estimate of a common region laid onto its truth by the freedoms in `remove`."""
    return align(
        common.estimate,
        common.truth,
        weights=common.scanned_in_both(common.start_shift_px),
        trusted=common.estimate_trusted,
        remove=remove,
        start_shift_px=common.start_shift_px,
    )


def _resolutions(curve: RingCorrelation, suffix: str) -> dict[str, float]:
    thresholds = {"half-bit": curve.half_bit, "one-bit": curve.one_bit, "0.5": 0.5, "1/7": 1 / 7}
    return {f"FRC-{name}{suffix}": curve.crossing(threshold) for name, threshold in thresholds.items()}


def gauge_shift(alignment: Alignment, common: CommonRegion) -> tuple[float, float]:
    """The shift of the object against its own positions, which the probe shares."""
    (down, across), (start_down, start_across) = alignment.shift_px, common.start_shift_px
    return down - start_down, across - start_across


def _record(alignment: Alignment, common: CommonRegion, remove: Collection[Freedom]) -> dict[str, Any]:
    return {
        "removed": sorted(remove),
        "phase_rad": alignment.phase_rad,
        "scale": alignment.scale,
        "ramp_rad_px": list(alignment.ramp_rad_px),
        "shift_px": list(gauge_shift(alignment, common)),
        "twin": alignment.twin,
    }


def plain(value: Any) -> Any:
    """Values that JSON knows; what it does not know becomes text, what is not finite becomes None."""
    match value:
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case np.ndarray() | Tensor():
            return plain(value.tolist())
        case bool() | int() | str() | None:
            return value
        case np.generic():
            return plain(value.item())
        case float():
            return value if math.isfinite(value) else None
        case _:
            return str(value)
