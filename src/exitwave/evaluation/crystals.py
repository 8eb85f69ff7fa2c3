"""Crystals judged: 3D Bragg diffraction knows them up to shift, twin, phase and its slope, and scale."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import BraggEstimate, Estimate
from exitwave.evaluation.align import Freedom
from exitwave.evaluation.crystal_alignment import RegisteredCrystal, register_crystal
from exitwave.evaluation.evaluation import (
    Evaluation,
    best_factor,
    judge,
    of_same_kind,
    require_same_shape,
    resolutions,
)
from exitwave.evaluation.gauge import same_gauge
from exitwave.evaluation.metrics import metric_values
from exitwave.evaluation.shells import fourier_shell_correlation, phase_retrieval_transfer
from exitwave.physics.crystal.levelled import SURFACE, GivenCrystal, bulk_amplitude, given_crystal
from exitwave.physics.crystal.strain import strain_of

SAME_BASIS = 1e-3
"""Share by which the voxels of two crystals may differ."""


@judge.register
def _(estimate: BraggEstimate, truth: Estimate, pixel_m: tuple[float, ...], remove: Collection[Freedom]) -> Evaluation:
    """Errors of amplitude, phase, support and strain of the crystal, of its diffraction, and shells against the truth."""
    target = of_same_kind(truth, estimate)
    found, laid, factor = _laid(estimate, target)
    support = laid.laid.moved(estimate.support).abs() > 0.5
    known, true = target.support.detach().cpu(), _object(target)
    curve = fourier_shell_correlation(found, true, target.basis_m)
    diffraction = [torch.fft.fftn(crystal, norm="ortho").abs().square() for crystal in (found, true)]
    return Evaluation(
        metrics={
            **metric_values("object", found, true),
            **metric_values("diffraction", *diffraction),
            "amplitude-correlation": amplitude_correlation(found, true),
            "support-IoU": float((support & known).sum() / (support | known).sum().clamp(min=1)),
            "phase-error": _phase_error(found, true, known),
            "strain-error": strain_difference(found, true, target),
            **resolutions(curve, "", "FSC"),
        },
        alignment=_record(laid, factor),
        curves={"FSC": curve},
    )


def compare_crystals(
    crystals: Sequence[GivenCrystal], *, amplitudes: Float[Tensor, "frame y x"] | None = None
) -> Evaluation:
    """How far reconstructions of one rocking curve agree that have nothing but the data in common, such as other starts.

    Figures end in -starts and are the worst of all against the first: shell correlation (FSC), correlation of amplitudes,
    difference of strain. PRTF, of all together, needs no pair; with the measured `amplitudes` it is relative to these. Raises
    InputError for fewer than two, and those of different measurements.
    """
    if len(crystals) < 2:
        raise InputError(f"{len(crystals)} crystals; give two or more reconstructions of one rocking curve")
    first, *others = map(given_crystal, crystals)
    target, like, curves = _object(first), [_object(first)], []
    metrics: dict[str, float] = {}
    for other in others:
        found, _, _ = _laid(other, first)
        curve = fourier_shell_correlation(found, target, first.basis_m)
        figures = {
            **resolutions(curve, "-starts", "FSC"),
            "amplitude-correlation-starts": amplitude_correlation(found, target),
        }
        worse = {name: min(value, metrics.get(name, value)) for name, value in figures.items()}
        strain = strain_difference(found, target, first)
        metrics = {**worse, "strain-error-starts": max(strain, metrics.get("strain-error-starts", strain))}
        curves.append(curve)
        # Of one pattern, the slope of the phase is known: it stays.
        like.append(_object(same_gauge(other, first)))
    transfer = phase_retrieval_transfer(like, first.basis_m, amplitudes=amplitudes)
    worst = min(curves, key=lambda curve: (curve.crossing(curve.half_bit), curve.correlation.min()))
    return Evaluation(
        metrics={**metrics, "PRTF-1/e": transfer.crossing(float(np.exp(-1)))},
        curves={"FSC-starts": worst, "PRTF": transfer},
    )


def amplitude_correlation(crystal: Complex[Tensor, "frame y x"], other: Complex[Tensor, "frame y x"]) -> float:
    """Pearson's correlation of the amplitudes of two aligned crystals, in the box around the second."""
    amplitude, target = crystal.abs().numpy(), other.abs().numpy()
    places = np.argwhere(target > 0.02 * target.max())
    if not len(places):
        return float("nan")
    box = tuple(slice(low, high + 1) for low, high in zip(places.min(axis=0), places.max(axis=0), strict=True))
    a, b = (values[box] - values[box].mean() for values in (amplitude, target))
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.sum(a * b)) / norm if norm > 0 else float("nan")


def strain_difference(
    crystal: Complex[Tensor, "frame y x"], other: Complex[Tensor, "frame y x"], of: BraggEstimate
) -> float:
    """Root mean square difference of the strain of two aligned crystals where both are bright; of the pose of `of`."""
    basis, q = (value.detach().cpu().double().numpy() for value in (of.basis_m, of.scattering_vector))
    arrays = [image.numpy() for image in (crystal, other)]
    strains = [strain_of(array, _bright(array), basis, q) for array in arrays]
    difference = strains[0] - strains[1]
    known = np.isfinite(difference)
    return float(np.sqrt(np.mean(np.square(difference[known])))) if known.any() else float("nan")


def _laid(
    estimate: BraggEstimate, target: BraggEstimate
) -> tuple[Complex[Tensor, "frame y x"], RegisteredCrystal, Tensor]:
    """The crystal laid onto another one with the best factor, how it was laid, and the factor."""
    image, true = _object(estimate), _object(of_same_kind(target, estimate))
    require_same_shape(image, true)
    ours, theirs = (x.basis_m.detach().cpu().double() for x in (estimate, target))
    if float((ours - theirs).norm() / theirs.norm()) > SAME_BASIS:
        raise InputError(
            "the voxels of the two crystals are not the same step in the laboratory; expected reconstructions of one rocking "
            "curve, prepared (crop, bin) alike and with the same angles"
        )
    laid = register_crystal(image, true)
    factor = best_factor(laid.laid.image, true)
    return laid.laid.image * factor, laid, factor


def _phase_error(found: Complex[Tensor, "frame y x"], true: Complex[Tensor, "frame y x"], known: Tensor) -> float:
    """Mean absolute difference of the phases on the true support, rad."""
    return float((found * true.conj())[known].angle().abs().mean()) if bool(known.any()) else float("nan")


def _bright(array: Complex[np.ndarray, "frame y x"]) -> Bool[np.ndarray, "frame y x"]:
    amplitude = np.abs(array)
    return (amplitude > SURFACE * bulk_amplitude(amplitude)) & (amplitude > 0)


def _object(estimate: BraggEstimate) -> Complex[Tensor, "frame y x"]:
    return estimate.object.detach().cpu().to(torch.complex128)


def _record(laid: RegisteredCrystal, factor: Tensor) -> Mapping[str, Any]:
    return {
        "removed": ["phase", "ramp", "scale", "shift", "twin"],
        "phase_rad": laid.laid.phase_rad,
        "scale": float(factor.abs()),
        "ramp_rad_px": list(laid.ramp_rad_px),
        "shift_px": list(laid.laid.shift_px),
        "twin": laid.laid.twin,
    }
