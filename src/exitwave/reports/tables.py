"""Tables of a report, in words and numbers: headline, remarks, metrics, how the result was made."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from exitwave.data.result import Result
from exitwave.evaluation.evaluate import Evaluation
from exitwave.evaluation.metrics import METRICS
from exitwave.reports.formatting import area, duration, length, number

LONGEST_VALUE = 400
"""Characters of one provenance entry that are shown."""


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One row of a table or one figure of the headline."""

    name: str
    value: str
    note: str = ""


_FRC = "Fourier ring correlation {against}: where it first falls below {threshold}, fraction of Nyquist"
_THRESHOLDS = {
    "FRC-half-bit": "the half-bit threshold",
    "FRC-one-bit": "the one-bit threshold",
    "FRC-0.5": "0.5",
    "FRC-1/7": "1/7",
}
_EXPLANATIONS = {
    "residual": "squared relative amplitude residual of all frames: sum (|F| − √I)² / sum I",
    "free-residual": "the same over detector pixels that the solver never saw",
    "position-error": "distance of the frames from where they truly stood, object pixels, after their mean",
    "position-error-median": "the same distance for the frame in the middle",
    "M-NRMSE-probe": "relative error of the probe, after the shift and ramp that the object needed",
    "M-NRMSE-split": "relative complex difference between reconstructions from two halves of the frames",
    "NRMSE-low": "relative complex error of detail coarser than 0.1 of Nyquist",
    "NRMSE-mid": "relative complex error of detail from 0.1 to 0.32 of Nyquist",
    "NRMSE-high": "relative complex error of detail finer than 0.32 of Nyquist",
}


def metric_facts(evaluation: Evaluation, result: Result) -> list[Fact]:
    """Every metric under its id, with one line that says what it is and which way is better."""
    return [
        Fact(name=name, value=number(float(value), 4), note=_explained(name, float(value), result))
        for name, value in evaluation.metrics.items()
    ]


def _explained(name: str, value: float, result: Result) -> str:
    if name in _EXPLANATIONS:
        return f"{_EXPLANATIONS[name]}; lower is better"
    base = name.removesuffix("-split")
    if base in _THRESHOLDS:
        against = "between two halves of the frames" if name != base else "with the truth"
        words = _FRC.format(against=against, threshold=_THRESHOLDS[base])
        return f"{words} (half period {half_period(value, result)}); higher is better"
    known = [key for key in METRICS if name == key or name.startswith(f"{key}-")]
    if not known:
        return ""
    metric = METRICS[max(known, key=len)]
    return f"{metric.description}; {'higher' if metric.higher_is_better else 'lower'} is better"


def half_period(fraction: float, result: Result) -> str:
    """The half period of a spatial frequency given as a fraction of Nyquist, as a length in the sample."""
    if not fraction > 0:
        return "unresolved"
    text = length(max(result.object_pixel_m) / fraction)
    return f"{text} or finer" if fraction >= 1 else text


def headline(result: Result, evaluation: Evaluation | None, field_m: tuple[float, float]) -> list[Fact]:
    """The figures that a scientist looks at first."""
    metrics = evaluation.metrics if evaluation else {}
    facts = [
        Fact(name="Residual", value=number(_residual(result)), note="squared relative amplitude misfit; 0 is perfect")
    ]
    if result.free_residual is not None:
        facts.append(
            Fact(name="Free residual", value=number(result.free_residual), note="on pixels the solver never saw")
        )
    for key, note in (("FRC-half-bit-split", "halves of the frames"), ("FRC-half-bit", "against the truth")):
        if key in metrics:
            facts.append(
                Fact(
                    name="Resolution",
                    value=half_period(metrics[key], result),
                    note=f"half period, half-bit FRC, {note}",
                )
            )
    if "M-NRMSE" in metrics:
        facts.append(
            Fact(
                name="Error",
                value=f"{number(100 * metrics['M-NRMSE'])} %",
                note="M-NRMSE of the object, against the truth",
            )
        )
    return facts + _measured(result, field_m) + _worked(result)


def _measured(result: Result, field_m: tuple[float, float]) -> list[Fact]:
    estimate = result.estimate
    pixel_y, pixel_x = result.object_pixel_m
    pixel = length(pixel_x) if math.isclose(pixel_y, pixel_x, rel_tol=1e-3) else area(result.object_pixel_m)
    axes = ", y × x" if "×" in pixel else ""
    energy = result.geometry.energy_ev
    if estimate.support is None:
        photons = float(estimate.probe.detach().cpu().abs().double().square().sum())
        counted = f"{number(photons)} photons per frame in the probe"
        looked_at = [
            Fact(name="Pixel", value=pixel, note=f"of object and probe{axes}"),
            Fact(name="Scanned region", value=area(field_m), note="y × x, coverage above 5 %"),
            Fact(name="Frames", value=str(len(estimate.positions_px)), note=counted),
        ]
    else:
        photons = float((estimate.object * estimate.probe[:1]).abs().double().square().sum())
        size = f"y × x, support of {int(estimate.support.sum())} pixels"
        looked_at = [
            Fact(name="Pixel", value=pixel, note=f"of the object{axes}"),
            Fact(name="Object", value=area(field_m), note=size),
            Fact(name="Photons", value=number(photons), note="in one pattern of the object found"),
        ]
    return [
        *looked_at,
        Fact(
            name="Energy",
            value=f"{number(energy / 1e3, 4)} keV",
            note=f"{result.geometry.particle}s, {'near' if result.geometry.near_field else 'far'} field",
        ),
    ]


def _worked(result: Result) -> list[Fact]:
    epochs = result.provenance.get("epochs", len(result.history))
    seconds = result.provenance.get("seconds")
    taken = f"in {duration(float(seconds))}" if isinstance(seconds, int | float) else "passes over all frames"
    return [Fact(name="Epochs", value=str(epochs), note=taken)]


def _residual(result: Result) -> float:
    return result.history[-1] if math.isnan(result.residual) and len(result.history) else result.residual


def kind(result: Result) -> str:
    """What was done, in words."""
    return (
        "Ptychographic reconstruction" if result.estimate.support is None else "Isolated object phased from one pattern"
    )


def remarks(result: Result) -> list[str]:
    """What deserves a second look before the image is believed."""
    found = [f"{doubt[:1].upper()}{doubt[1:]}." for doubt in stored_warnings(result)]
    ending = str(result.provenance.get("ending", "finished"))
    if ending != "finished":
        found.append(f"The run did not go to its end: {ending}.")
    if result.estimate.support is None:
        # Phasing one pattern goes through rising residuals, and from several starts.
        found += _history_remarks(result.history)
    # Of one pattern the held-out pixels are dimmer than the middle, which is never held out.
    free = result.free_residual if result.estimate.support is None else None
    if free is not None and free > 1.5 * result.residual:
        found.append(
            f"The free residual is {number(free / result.residual, 2)} times the residual: "
            "the solver fits noise, or the scan holds too little for so many unknowns."
        )
    if result.frame_residual is not None and len(result.frame_residual):
        residual = result.frame_residual.detach().cpu().double().numpy()
        outliers = np.flatnonzero(residual > 5 * np.median(residual))
        if len(outliers):
            listed = ", ".join(str(frame) for frame in outliers[:10]) + (" …" if len(outliers) > 10 else "")
            found.append(
                f"{len(outliers)} of {len(residual)} frames fit more than five times worse than the median: {listed}."
            )
    return found


def stored_warnings(result: Result) -> list[str]:
    """Why the image may not be trusted, as was said before the run."""
    return [str(doubt) for doubt in result.provenance.get("warnings", ())]


def _history_remarks(history: Sequence[float]) -> list[str]:
    if len(history) < 10:
        return []
    before, last, least = history[-1 - len(history) // 5], history[-1], min(history)
    if last < 0.9 * before:
        fall = number(100 * (1 - last / before), 2)
        return [f"The residual still fell by {fall} % over the last fifth of the epochs: more epochs would help."]
    if last > 1.2 * least:
        return [
            f"The residual ended {number(100 * (last / least - 1), 2)} % above its lowest value: the run was not stable."
        ]
    return []


def alignment_facts(alignment: Mapping[str, Any]) -> list[Fact]:
    """What was taken off the estimate before it was compared, with units."""
    names = {
        "removed": ("removed", ""),
        "phase_rad": ("global phase", " rad"),
        "scale": ("amplitude scale", ""),
        "ramp_rad_px": ("phase ramp (y, x)", " rad/px"),
        "shift_px": ("shift (y, x)", " px"),
        "twin": ("twin image turned back", ""),
    }
    facts: list[Fact] = []
    for key, value in alignment.items():
        name, unit = names.get(key, (key, ""))
        facts.append(Fact(name=name, value=_text(value) + unit))
    return facts


def geometry_facts(result: Result) -> list[Fact]:
    """Geometry and sizes of the reconstruction."""
    geometry, estimate = result.geometry, result.estimate
    slices, *object_shape = estimate.object.shape
    modes, *probe_shape = estimate.probe.shape
    facts = [
        Fact(name="wavelength", value=length(geometry.wavelength_m, 6)),
        Fact(name="sample to detector", value=length(geometry.distance_m, 6)),
        Fact(name="detector pixel", value=" × ".join(length(side, 6) for side in geometry.detector_pixel_m)),
        Fact(name="object pixel", value=" × ".join(length(side, 6) for side in result.object_pixel_m)),
        Fact(name="object", value=f"{slices} × {object_shape[0]} × {object_shape[1]} pixels (slice, y, x)"),
    ]
    if estimate.support is None:
        facts.append(Fact(name="probe", value=f"{modes} × {probe_shape[0]} × {probe_shape[1]} pixels (mode, y, x)"))
    if geometry.focus_distance_m is not None:
        facts.insert(2, Fact(name="focus to sample", value=length(geometry.focus_distance_m, 6)))
    return facts


def further_facts(result: Result) -> list[Fact]:
    """What the estimate holds besides object, probe and positions, in a few numbers."""
    x, facts = result.estimate, list[Fact]()
    if x.slice_spacing_m is not None:
        spacings = ", ".join(length(float(spacing), 4) for spacing in x.slice_spacing_m)
        facts.append(Fact(name="between slices", value=spacings))
    if x.variations is not None and x.weights is not None:
        share = float(x.variations.abs().square().sum(dim=(1, 2)) @ x.weights.abs().square().mean(dim=0))
        share /= float(x.probe[0].abs().square().sum())
        waves = f"{len(x.variations)} wave{'s' * (len(x.variations) > 1)}"
        facts.append(Fact(name="variation of the probe", value=f"{waves}, {number(100 * share)} % of its photons"))
    if x.brightness is not None:
        photons = x.brightness.square()
        low, high = (
            number(float(bound), 4) for bound in (photons.min() / photons.mean(), photons.max() / photons.mean())
        )
        facts.append(Fact(name="brightness of the beam", value=f"{low} to {high} of its mean"))
    if x.background is not None:
        facts.append(
            Fact(name="background", value=f"{number(float(x.background.mean()))} photons a pixel in each frame")
        )
    return facts


def provenance_facts(provenance: Mapping[str, Any]) -> list[Fact]:
    """Everything the result knows about its origin, one row each."""
    return [Fact(name=name, value=text) for name, text in _flat(provenance, "")]


def _flat(tree: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(cast("Mapping[str, Any]", value), f"{path}{key}.")
        else:
            text = _text(value)
            yield f"{path}{key}", text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]} …"


def _text(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case None:
            return "–"
        case float():
            return number(value, 6)
        case list() | tuple() if all(not isinstance(item, Mapping | list | tuple) for item in cast("list[Any]", value)):
            return ", ".join(_text(item) for item in cast("list[Any]", value)) or "–"
        case list() | tuple() | Mapping():
            return json.dumps(value, default=str, ensure_ascii=False)
        case _:
            return str(value)


def title(result: Result) -> str:
    """The name of the scan: that of its file, or of the simulated object."""
    scan = result.provenance.get("scan")
    if isinstance(scan, Mapping):
        known = cast("Mapping[str, Any]", scan)
        if known.get("file"):
            return Path(str(known["file"])).stem
        if known.get("object"):
            return f"{known['object']} (simulated)"
    return "Reconstruction"
