"""Ptychography judged: object, probe and positions against the truth, and halves of a scan against each other."""

import math
from collections.abc import Collection, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Complex
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import Estimate, PtychoEstimate
from exitwave.evaluation.align import PTYCHOGRAPHY_GAUGE, Alignment, Freedom, align, move
from exitwave.evaluation.evaluation import Evaluation, judge, of_same_kind, resolutions
from exitwave.evaluation.metrics import metric_values, nrmse
from exitwave.evaluation.region import CommonRegion, common_region, inscribed_rectangle, overlay
from exitwave.evaluation.resolution import fourier_ring_correlation


@judge.register
def _(
    estimate: PtychoEstimate, truth: Estimate, pixel_m: tuple[float, float], remove: Collection[Freedom]
) -> Evaluation:
    """Objects are aligned on the region scanned in both; SSIM and ring correlations use a rectangle in it."""
    truth = of_same_kind(truth, estimate)
    common = common_region(estimate, truth)
    alignment = aligned(common, remove)
    region = common.scanned_in_both(alignment.shift_px)
    box = inscribed_rectangle(region)
    metrics = metric_values("object", alignment.image, common.truth, weights=region, box=box)
    metrics |= probe_error(estimate.probe, truth.probe, gauge_shift(alignment, common), alignment.ramp_rad_px)
    metrics |= position_error(estimate, truth)
    curve = fourier_ring_correlation(alignment.image[box], common.truth[box], pixel=pixel_m)
    return Evaluation(
        metrics=metrics | resolutions(curve, ""),
        alignment=_record(alignment, common, remove),
        curves={"FRC": curve},
    )


def compare_halves(
    first: Estimate,
    second: Estimate,
    *,
    pixel: tuple[float, ...] = (1.0, 1.0),
    offset_px: tuple[float, float] = (0.0, 0.0),
    provenance: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Resolution without truth: the ring correlation of two reconstructions, each from one half of the frames.

    The second is aligned to the first; the region scanned in both counts. `pixel` is the object pixel (y, x), any unit;
    `offset_px` says where pixel (0, 0) of the first object array lies in the second: zero for equal canvases.
    """
    if not isinstance(first, PtychoEstimate):
        raise InputError(f"an estimate of {first.kind} has no halves to compare; a scan of many frames is needed")
    common = overlay(of_same_kind(second, first), first, offset_px=(-offset_px[0], -offset_px[1]))
    alignment = aligned(common, PTYCHOGRAPHY_GAUGE)
    region = common.scanned_in_both(alignment.shift_px)
    box = inscribed_rectangle(region)
    curve = fourier_ring_correlation(alignment.image[box], common.truth[box], pixel=(pixel[0], pixel[1]))
    differences = split_differences(alignment.image, common.truth, region)
    halves = metric_values("halves", alignment.image, common.truth, weights=region, box=box)
    return Evaluation(
        metrics=resolutions(curve, "-split") | differences | halves,
        alignment=_record(alignment, common, PTYCHOGRAPHY_GAUGE),
        curves={"FRC-split": curve},
        provenance=provenance or {},
    )


def split_differences(
    first: Complex[Tensor, "y x"], second: Complex[Tensor, "y x"], region: Bool[Tensor, "y x"]
) -> dict[str, float]:
    """M-NRMSE-split: difference of two halves as a share of what varies in their image: 0 where they agree, about 1 and more
    where they have nothing in common. The best complex scale is taken off.

    M-NRMSE-split-whole is the same as a share of the whole transmission, its mean included: it looks perfect wherever the
    image hardly differs from an even one, whatever is in it.
    """
    a, b = (image[region].to(torch.complex128) for image in (first, second))
    whole = nrmse(a, b)["M-NRMSE"]
    varies = (b - b.mean()).norm() / b.norm().clamp(min=1e-30)
    return {
        "M-NRMSE-split": whole / float(varies) if float(varies) > 0 else math.nan,
        "M-NRMSE-split-whole": whole,
    }


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
