"""The page of a comparison: pictures side by side, figures in one table, curves in one plot."""

from dataclasses import dataclass
from typing import Any

from exitwave.data.finding import findings_of
from exitwave.data.result import Result
from exitwave.evaluation.comparison import Comparison, ComparisonEntry, value
from exitwave.evaluation.meaning import meaning_of

# Imported for how it lays crystals side by side.
from exitwave.reports import crystal_compare as crystal_compare, tables
from exitwave.reports.best import best_sentence
from exitwave.reports.compare_pictures import curve_pictures, rows, samples
from exitwave.reports.formatting import duration, number, quantity
from exitwave.reports.svg import INK, drawing
from exitwave.reports.templates import filled, spec_text

HEADLINE = {
    "residual": "residual",
    "free-residual": "free residual",
    "M-NRMSE": "error of object",
    "M-NRMSE-probe": "error of probe",
    "FRC-half-bit": "resolution (truth)",
    "FRC-half-bit-split": "resolution (halves)",
}
"""Metrics of the first table, in words."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One value of a table."""

    text: str
    best: bool = False


def render(comparison: Comparison) -> str:
    """The page as text."""
    with drawing(INK):
        return filled("compare.html", _content(comparison))


def _content(comparison: Comparison) -> dict[str, Any]:
    results = [entry.result for entry in comparison.entries if entry.result is not None]
    shown = samples(comparison)
    headline = [name for name in HEADLINE if name in comparison.metrics]
    return {
        "title": tables.title(results[0]) if results else "Comparison",
        "solvers": ", ".join(entry.name for entry in comparison.entries),
        "date": tables.date(results[-1]) if results else "",
        "best": best_sentence(comparison),
        "interrupted": comparison.interrupted,
        "remarks": [f"Before the run: {finding.line}." for finding in findings_of(comparison.provenance)]
        + [f"{entry.name}: {remark}." for entry in comparison.entries for remark in _remarks(entry)],
        "columns": [HEADLINE[name] for name in headline],
        "lines": [_line(entry, headline, comparison) for entry in comparison.entries],
        "reference": shown[0].name if shown else "",
        "rows": rows(shown, results[0]) if shown else [],
        "curves": curve_pictures(comparison),
        "names": [entry.name for entry in comparison.entries if entry.evaluation is not None],
        "metrics": [_metric(name, comparison) for name in comparison.metrics],
        "specs": [
            (entry.name, spec_text(entry.result.spec)) for entry in comparison.entries if entry.result is not None
        ],
        "geometry": tables.geometry_facts(results[0]) if results else [],
        "provenance": tables.provenance_facts(comparison.provenance),
    }


def _remarks(entry: ComparisonEntry) -> list[str]:
    """What went wrong with an entry, and why its image may not be trusted."""
    warnings_found = [] if entry.result is None else tables.stored_warnings(entry.result)
    return ([entry.remark] if entry.remark else []) + warnings_found


def _line(entry: ComparisonEntry, headline: list[str], comparison: Comparison) -> dict[str, Any]:
    """A solver's row of the first table."""
    found = len(comparison.entries) > 1
    cells = [
        Cell(text=_value(name, value(entry, name), entry.result), best=found and _is_best(entry, name, comparison))
        for name in headline
    ]
    known = entry.seconds == entry.seconds
    return {
        "name": entry.name,
        "cells": cells,
        "epochs": number(entry.epochs),
        "time": duration(entry.seconds) if known else "–",
        "outcome": _outcome(entry),
    }


def _outcome(entry: ComparisonEntry) -> str:
    if entry.result is None:
        return "no result"
    ending = entry.remark.partition(" ")[0].rstrip(":;,") if entry.remark else "finished"
    return ending if entry.result.verdict is None else f"{ending}, {entry.result.verdict.grade}"


def _value(name: str, found: float, result: Result | None) -> str:
    if found != found or result is None:
        return "–"
    return quantity(found, meaning_of(name).unit, result.object_pixel_m)


def _metric(name: str, comparison: Comparison) -> dict[str, Any]:
    """A row of the table of all metrics."""
    judged = [entry for entry in comparison.entries if entry.evaluation is not None]
    several = len(judged) > 1
    return {
        "name": name,
        "better": "higher" if meaning_of(name).higher_is_better else "lower",
        "cells": [
            Cell(text=number(value(entry, name), 4), best=several and _is_best(entry, name, comparison))
            for entry in judged
        ],
    }


def _is_best(entry: ComparisonEntry, name: str, comparison: Comparison) -> bool:
    """Whether nobody has a better value of a metric; several share the best where resolution reaches single pixels."""
    best = comparison.best(name)
    return best is not None and value(entry, name) == value(comparison[best], name)
