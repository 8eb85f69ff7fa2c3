"""Figures of merit of a reconstruction, and how estimates of any kind are judged against a truth."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import Estimate
from exitwave.data.lengths import number
from exitwave.data.showing import Shown
from exitwave.data.verdict import Verdict
from exitwave.evaluation.align import Freedom
from exitwave.evaluation.metrics import metric_values
from exitwave.evaluation.resolution import RingCorrelation
from exitwave.evaluation.verdict.halves import with_halves

E = TypeVar("E", bound=Estimate)
HEADLINES = (
    "residual",
    "free-residual",
    "M-NRMSE",
    "FRC-half-bit",
    "FRC-half-bit-split",
    "FSC-half-bit",
    "FSC-half-bit-starts",
)
"""Metrics that are told first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation(Shown):
    """Figures of merit of a reconstruction under their precise ids, and what was removed before measuring."""

    metrics: Mapping[str, float]
    """Metric id -> value; `residual` is the squared relative amplitude residual of the data, FRC and FSC are of Nyquist."""
    alignment: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Gauge removed from the estimate: `removed`, phase_rad, scale, ramp_rad_px, shift_px, twin; empty without truth."""
    curves: Mapping[str, RingCorrelation] = field(default_factory=dict[str, RingCorrelation])
    """Fourier ring correlations: `FRC` against the truth, `FRC-split` between halves; of crystals in shells, `FSC` against the
    truth and `FSC-starts` between other starts, and their phase retrieval transfer function `PRTF`."""
    verdict: Verdict | None = None
    """How far the data say that the image may be believed; never from the truth."""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Where the reconstruction and its scan came from."""

    @property
    def noise_residual(self) -> float | None:
        """The residual that photon noise alone would leave, as the verdict's frames tell; None where nobody asked them."""
        ratio = 0.0 if self.verdict is None else self.verdict.evidence.get("noise-ratio", 0.0)
        return self.metrics["residual"] / ratio if ratio > 0 and "residual" in self.metrics else None

    def told(self) -> tuple[str, ...]:
        shown = {name: number(float(self.metrics[name])) for name in HEADLINES if name in self.metrics}
        further = len(self.metrics) - len(shown)
        return (
            f"Evaluation: {'no verdict' if self.verdict is None else f'verdict {self.verdict.grade}'}",
            ", ".join(f"{name} {value}" for name, value in shown.items())
            + (f", and {further} more in metrics" if further else ""),
            f"curves: {', '.join(self.curves)}"
            if self.curves
            else "no curves: give a truth, or compare halves of the frames",
        )

    def to_json(self) -> dict[str, Any]:
        """A dict for `json.dumps`: metric ids at the top, then `verdict`, `alignment` and `provenance`; NaN and infinity are
        null."""
        verdict = None if self.verdict is None else self.verdict.to_json()
        return plain({**self.metrics, "verdict": verdict, "alignment": self.alignment, "provenance": self.provenance})


@singledispatch
def judge(estimate: Estimate, truth: Estimate, pixel_m: tuple[float, ...], remove: Collection[Freedom]) -> Evaluation:
    """How far an estimate is from the truth, by kind of estimate; here of any kind: a complex factor is free.

    `remove` are the freedoms that a kind with more of them takes off. Raises InputError when the two cannot be compared.
    """
    image, target = (x.object.detach().cpu().to(torch.complex128) for x in (estimate, of_same_kind(truth, estimate)))
    require_same_shape(image, target)
    factor = best_factor(image, target)
    return Evaluation(
        metrics=metric_values("object", image * factor, target),
        alignment={"removed": ["phase", "scale"], "phase_rad": float(factor.angle()), "scale": float(factor.abs())},
    )


def of_same_kind(other: Estimate, x: E) -> E:
    """The other estimate, when it is of the kind of `x`. Raises InputError where it is not."""
    if not isinstance(other, type(x)):
        raise InputError(
            f"an estimate of {x.kind} cannot be compared with one of {other.kind}; give one of the same measurement"
        )
    return other


def require_same_shape(image: Tensor, target: Tensor) -> None:
    """Raise InputError unless object and true object have the same pixels."""
    if image.shape != target.shape:
        raise InputError(
            f"the object is {tuple(image.shape)} pixels, the true one {tuple(target.shape)}; expected the same: evaluate "
            "against the truth of the pattern as it was binned and cropped for the reconstruction"
        )


def best_factor(image: Tensor, target: Tensor) -> Tensor:
    """The complex factor on an image that brings it nearest to another."""
    return torch.vdot(image.flatten(), target.flatten()) / torch.vdot(image.flatten(), image.flatten())


def resolutions(curve: RingCorrelation, suffix: str, kind: str = "FRC") -> dict[str, float]:
    """Where a ring (FRC) or shell (FSC) correlation falls below the usual thresholds, fractions of Nyquist."""
    thresholds = {"half-bit": curve.half_bit, "one-bit": curve.one_bit, "0.5": 0.5, "1/7": 1 / 7}
    return {f"{kind}-{name}{suffix}": curve.crossing(threshold) for name, threshold in thresholds.items()}


def merge_evaluations(first: Evaluation, second: Evaluation) -> Evaluation:
    """Both evaluations in one, as of a result judged against the truth and between its halves; the first one's
    alignment and provenance stand where both have one."""
    return Evaluation(
        metrics={**first.metrics, **second.metrics},
        alignment=first.alignment or second.alignment,
        curves={**first.curves, **second.curves},
        verdict=with_halves(first.verdict or second.verdict, second.metrics),
        provenance=first.provenance or second.provenance,
    )


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
