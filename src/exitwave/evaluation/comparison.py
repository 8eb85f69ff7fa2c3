"""Several reconstructions of one scan side by side: their figures, and their images in one gauge on one grid."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

import torch
from jaxtyping import Complex
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import BraggEstimate, Estimate, PtychoEstimate, SupportEstimate, middle_plane
from exitwave.data.lengths import number
from exitwave.data.measurement import Measurement
from exitwave.data.result import Result
from exitwave.data.showing import Shown
from exitwave.evaluation.cdi_alignment import register_twin
from exitwave.evaluation.crystal_alignment import register_crystal
from exitwave.evaluation.evaluation import Evaluation, best_factor, of_same_kind, plain, require_same_shape
from exitwave.evaluation.meaning import meaning_of
from exitwave.evaluation.ptychography import aligned, gauge_shift, moved_with_object
from exitwave.evaluation.region import common_region, projection


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparisonEntry:
    """One solver's part in a comparison."""

    name: str
    """The solver's name, with the options in which it differs where one solver takes part twice; or that of a file."""
    result: Result | None = None
    """None where the solver made none."""
    evaluation: Evaluation | None = None
    """Figures of merit; None where there is no result or it could not be judged."""
    times_s: Sequence[float] = ()
    """Seconds from the solver's start to the end of each epoch; empty for a result that was there before."""
    remark: str = ""
    """What went wrong, in one sentence; empty when nothing did."""

    @property
    def seconds(self) -> float:
        """Time that the solver took, without posing the problem and judging; NaN where it is not known."""
        return _number(self.result, "solver_seconds")

    @property
    def epochs(self) -> float:
        """Passes over all frames, NaN where it is not known."""
        return _number(self.result, "epochs")


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison(Shown):
    """Several reconstructions of one scan from the same start, in the order in which they were asked for."""

    entries: Sequence[ComparisonEntry]
    truth: Estimate | None = None
    interrupted: bool = False
    """Ctrl-C ended it: solvers after the last entry were not run."""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The scan, and how all were run. JSON-able."""

    def told(self) -> tuple[str, ...]:
        shown = [name for name in ("residual", "free-residual", "M-NRMSE") if name in self.metrics]
        return (
            f"Comparison of {', '.join(entry.name for entry in self.entries)}{', interrupted' * self.interrupted}",
            *(self._told_of(name) for name in shown),
        )

    def _told_of(self, metric: str) -> str:
        """All entries by one metric, the best first."""
        known = [(value(entry, metric), entry.name) for entry in self.entries]
        ranked = sorted((each for each in known if each[0] == each[0]), reverse=meaning_of(metric).higher_is_better)
        return f"{metric}: {', '.join(f'{name} {number(found)}' for found, name in ranked)}"

    def __getitem__(self, name: str) -> ComparisonEntry:
        """The entry of this name. Raises KeyError."""
        return {entry.name: entry for entry in self.entries}[name]

    @property
    def metrics(self) -> list[str]:
        """Ids of all metrics that any entry has, in one order."""
        named = [entry.evaluation.metrics for entry in self.entries if entry.evaluation]
        return list(dict.fromkeys(name for metrics in named for name in metrics))

    def best(self, metric: str) -> str | None:
        """The entry with the best value of a metric; None where nobody has it."""
        values = {entry.name: value(entry, metric) for entry in self.entries}
        known = {name: number for name, number in values.items() if number == number}
        if not known:
            return None
        return (max if meaning_of(metric).higher_is_better else min)(known, key=lambda name: known[name])

    def to_json(self) -> dict[str, Any]:
        """A dict for `json.dumps`: `entries` by name with their metrics, epochs, seconds and history of residuals."""
        told: dict[str, Any] = {
            entry.name: {
                "metrics": {} if entry.evaluation is None else entry.evaluation.metrics,
                "epochs": entry.epochs,
                "seconds": entry.seconds,
                "remark": entry.remark,
                "verdict": _verdict(entry.result),
                "warnings": [] if entry.result is None else list(entry.result.provenance.get("warnings", ())),
                "times_s": list(entry.times_s),
                "history": [] if entry.result is None else list(entry.result.history),
                "solver": {} if entry.result is None else entry.result.spec,
            }
            for entry in self.entries
        }
        return plain({"entries": told, "interrupted": self.interrupted, "provenance": self.provenance})


def _verdict(result: Result | None) -> dict[str, Any] | None:
    return None if result is None or result.verdict is None else result.verdict.to_json()


@dataclass(frozen=True, kw_only=True, eq=False)
class AlignedEstimate:
    """A reconstruction laid onto another: in its gauge, on its grid."""

    object: Complex[Tensor, "Y X"]
    """Projection along the beam; zero where the reconstruction has no pixels."""
    probe: Complex[Tensor, "y x"] | None = None
    """The strongest mode of the probe, where there is one, with the shift, ramp and scale that the object needed undone."""


@singledispatch
def as_it_is(estimate: Estimate) -> AlignedEstimate:
    """What is looked at of an estimate to which others are aligned."""
    return AlignedEstimate(object=projection(estimate))


@as_it_is.register
def _(estimate: PtychoEstimate) -> AlignedEstimate:
    return AlignedEstimate(object=projection(estimate), probe=strongest(estimate))


@singledispatch
def align_estimate(estimate: Estimate, reference: Estimate) -> AlignedEstimate:
    """Remove what diffraction cannot know from an estimate so that it lies as the reference does, to look at both.

    Raises InputError when the two are not of the same frames.
    """
    image, target = projection(estimate), projection(of_same_kind(reference, estimate))
    require_same_shape(image, target)
    return AlignedEstimate(object=image * best_factor(image, target))


@align_estimate.register
def _(estimate: PtychoEstimate, reference: Estimate) -> AlignedEstimate:
    reference = of_same_kind(reference, estimate)
    common = common_region(estimate, reference)
    found = aligned(common)
    height, width = reference.object.shape[-2:]
    whole = torch.zeros(height, width, dtype=torch.complex128)
    (top, left), (rows, columns) = common.corner_px, found.image.shape
    whole[top : top + rows, left : left + columns] = found.image
    probe = moved_with_object(strongest(estimate), gauge_shift(found, common), found.ramp_rad_px)
    # Not the opposite of the object's phase: among several modes, each has a global phase of its own.
    overlap = torch.vdot(probe.flatten(), strongest(reference).flatten())
    return AlignedEstimate(object=whole, probe=probe * overlap / (overlap.abs() * found.scale).clamp(min=1e-30))


@align_estimate.register
def _(estimate: BraggEstimate, reference: Estimate) -> AlignedEstimate:
    """The same in three dimensions, and the slope of the phase; then its middle plane."""
    image, target = (
        x.object.detach().cpu().to(torch.complex128) for x in (estimate, of_same_kind(reference, estimate))
    )
    require_same_shape(image, target)
    laid = register_crystal(image, target).laid.image
    return AlignedEstimate(object=middle_plane(laid * best_factor(laid, target)))


@align_estimate.register
def _(estimate: SupportEstimate, reference: Estimate) -> AlignedEstimate:
    """Twin, shift, phase and scale are free."""
    image, target = projection(estimate), projection(of_same_kind(reference, estimate))
    require_same_shape(image, target)
    found = register_twin(image, target).image
    scale = torch.vdot(found.flatten(), target.flatten()).abs() / found.abs().square().sum().clamp(min=1e-30)
    return AlignedEstimate(object=found * scale)


def strongest(estimate: PtychoEstimate) -> Complex[Tensor, "y x"]:
    """The probe mode with the most photons."""
    modes = estimate.probe.detach().cpu().to(torch.complex128)
    return modes[int(modes.abs().square().sum(dim=(1, 2)).argmax())]


def require_same_frames(estimate: Estimate, measurement: Measurement, what: str, advice: str) -> None:
    """Raise InputError unless `what` is an estimate of frames like those of the measurement."""
    if estimate.layout != measurement.layout:
        raise InputError(
            f"{what} is of {_words(estimate.layout)} but the scan, as prepared, has {_words(measurement.layout)}; {advice}"
        )


def _words(layout: tuple[int, ...]) -> str:
    *frames, height, width = (1, *layout) if len(layout) < 2 else layout
    return " x ".join(map(str, frames)) + " frames of " * bool(frames) + f"{height} x {width} pixels"


def value(entry: ComparisonEntry, metric: str) -> float:
    """A metric of an entry, NaN where it has none."""
    return float("nan") if entry.evaluation is None else entry.evaluation.metrics.get(metric, float("nan"))


def _number(result: Result | None, name: str) -> float:
    found = None if result is None else result.provenance.get(name)
    return float(found) if isinstance(found, int | float) else float("nan")
