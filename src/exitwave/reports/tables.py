"""Tables of a report, in words and numbers: headline, remarks, metrics, how the result was made."""

import json
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from exitwave.data.finding import findings_of
from exitwave.data.geometry import Geometry
from exitwave.data.result import Result
from exitwave.data.verdict import Grade, Verdict
from exitwave.evaluation.evaluation import Evaluation
from exitwave.evaluation.meaning import meaning_of
from exitwave.problems.outliers import Outliers

# Imported for what it says of crystals.
from exitwave.reports import crystal as crystal
from exitwave.reports.formatting import Fact, angle, duration, half_period, length, number
from exitwave.reports.kinds import reported

LONGEST_VALUE = 400
"""Characters of one provenance entry that are shown."""


MEANING: Mapping[Grade, str] = {
    "sound": "everything that could be tested without the truth holds",
    "doubtful": "something contradicts the image, or could not be tested",
    "failed": "this is no image of the sample, whatever the residual says",
}


def verdict(found: Verdict) -> dict[str, Any]:
    """A verdict in whole sentences."""
    return {
        "grade": found.grade,
        "meaning": MEANING[found.grade],
        "reasons": [_sentence(reason) for reason in found.reasons],
        "advice": [_sentence(step) for step in found.advice],
    }


def evidence_facts(found: Verdict) -> list[Fact]:
    """The figures behind a verdict."""
    return [Fact(name=name, value=number(float(value), 4)) for name, value in found.evidence.items()]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?')) else '.'}"


def metric_facts(evaluation: Evaluation, result: Result) -> list[Fact]:
    """Every metric under its id, with one line that says what it is and which way is better."""
    return [
        Fact(name, number(float(value), 4), _explained(name, float(value), result))
        for name, value in evaluation.metrics.items()
    ]


def _explained(name: str, value: float, result: Result) -> str:
    meaning = meaning_of(name)
    told = f" ({half_period(value, result.object_pixel_m)})" if meaning.unit == "nyquist" else ""
    return f"{meaning.text}{told}; {'higher' if meaning.higher_is_better else 'lower'} is better"


def headline(result: Result, evaluation: Evaluation | None, field_m: tuple[float, float]) -> list[Fact]:
    """The figures that a scientist looks at first."""
    metrics = evaluation.metrics if evaluation else {}
    unknown = math.isnan(result.residual) and len(result.history) > 0
    residual = result.history[-1] if unknown else result.residual
    facts = [Fact("Residual", number(residual), f"squared relative amplitude misfit; {_noise_limit(result)}")]
    if result.free_residual is not None:
        facts.append(Fact("Free residual", number(result.free_residual), "on pixels the solver never saw"))
    facts += _resolution(metrics, result)
    if "M-NRMSE" in metrics:
        facts.append(Fact("Error", f"{number(100 * metrics['M-NRMSE'])} %", "M-NRMSE of the object, against the truth"))
    geometry, seconds = result.geometry, result.provenance.get("seconds")
    taken = f"in {duration(float(seconds))}" if isinstance(seconds, int | float) else "passes over all frames"
    return [
        *facts,
        *reported(result.estimate, result).measured(field_m),
        _beam(geometry),
        Fact("Epochs", str(result.provenance.get("epochs", len(result.history))), taken),
    ]


def _noise_limit(result: Result) -> str:
    """What counting alone would leave of a perfect model, where the verdict has looked."""
    ratio = 0.0 if result.verdict is None else float(result.verdict.evidence.get("noise-ratio", 0.0))
    known = math.isfinite(ratio) and ratio > 0 and result.residual > 0
    return f"counting noise alone leaves {number(result.residual / ratio, 2)}" if known else "0 is perfect"


def _resolution(metrics: Mapping[str, float], result: Result) -> list[Fact]:
    """One card: between halves of the frames, which every scan has; against the truth beside it, where it is known."""
    names = (("FRC-half-bit-split", "between halves of the frames"), ("FRC-half-bit", "against the truth"))
    found = [(half_period(metrics[key], result.object_pixel_m), against) for key, against in names if key in metrics]
    if not found:
        return []
    (value, against), *further = found
    also = "".join(f"; {other} {words}" for other, words in further)
    return [Fact("Resolution", value, f"half period, half-bit FRC {against}{also}")]


def _beam(geometry: Geometry) -> Fact:
    regime = f"{'near' if geometry.near_field else 'far'} field"
    if geometry.particle == "electron":
        return Fact(
            "Electrons", f"{number(geometry.energy_ev / 1e3, 4)} kV", f"{length(geometry.wavelength_m)}, {regime}"
        )
    return Fact("Energy", f"{number(geometry.energy_ev / 1e3, 4)} keV", f"photons, {regime}")


def remarks(result: Result) -> list[str]:
    """What deserves a second look before the image is believed."""
    found = [f"Before the run: {finding.line}." for finding in findings_of(result.provenance)]
    found += [f"{warning[:1].upper()}{warning[1:]}." for warning in stored_warnings(result)]
    ending = str(result.provenance.get("ending", "finished"))
    if ending != "finished":
        found.append(f"The run did not go to its end: {ending}.")
    found += changed_for_the_run(result)
    found += reported(result.estimate, result).remarks()
    return found


def changed_for_the_run(result: Result) -> list[str]:
    """What solvers were shown otherwise than it was measured: outliers left out, beams of several scans made alike."""
    found = Outliers.stored(result.provenance).remarks()
    shared = result.provenance.get("shared_probe", {})
    if shared.get("beam", 1.0) != 1.0:
        found.append(
            f"The beam of this scan had {shared['beam']:.3g} times the mean power of the {len(shared['scans'])} scans that share "
            "their probe: its probe here is that dimmer or brighter one."
        )
    return found


def stored_warnings(result: Result) -> list[str]:
    """Why the image may not be trusted, as was said before the run."""
    return [str(warning) for warning in result.provenance.get("warnings", ())]


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
        facts.append(Fact(name, _text(value) + unit))
    return facts


def geometry_facts(result: Result) -> list[Fact]:
    """Geometry and sizes of the reconstruction."""
    geometry = result.geometry
    facts = [
        Fact("wavelength", length(geometry.wavelength_m, 6)),
        *_detector_facts(geometry),
        Fact("object pixel", " × ".join(length(side, 6) for side in result.object_pixel_m)),
        *reported(result.estimate, result).sizes(),
    ]
    if geometry.focus_distance_m is not None:
        facts.insert(1, Fact("focus to sample", length(geometry.focus_distance_m, 6)))
    return facts


def _detector_facts(geometry: Geometry) -> list[Fact]:
    """Of electrons the angle that a pixel covers: a microscope's camera length is no distance that anybody measured."""
    if geometry.particle == "electron" and not geometry.near_field:
        angles = (side / geometry.distance_m for side in geometry.detector_pixel_m)
        return [Fact("detector pixel", " × ".join(angle(each, 6) for each in angles))]
    return [
        Fact("sample to detector", length(geometry.distance_m, 6)),
        Fact("detector pixel", " × ".join(length(side, 6) for side in geometry.detector_pixel_m)),
    ]


def provenance_facts(provenance: Mapping[str, Any]) -> list[Fact]:
    """Everything the result knows about its origin, one row each."""
    return [Fact(name, text) for name, text in _flat(provenance, "")]


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


def date(result: Result) -> str:
    """When the result was made, if it says so: 29 November 2026, 19:02 UTC."""
    stored = str(result.provenance.get("date", ""))
    try:
        made = datetime.fromisoformat(stored)
    except ValueError:
        return stored
    return f"{made.day} {made:%B %Y, %H:%M} {made.tzname() or ''}".strip()


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
