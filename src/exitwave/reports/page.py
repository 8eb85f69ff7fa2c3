"""The report: one HTML page with pictures and figures of a reconstruction that opens offline, for years to come."""

from pathlib import Path
from typing import Any

from exitwave.data.result import Result
from exitwave.evaluation.comparison import Comparison
from exitwave.evaluation.evaluation import Evaluation
from exitwave.io.atomic import replacing
from exitwave.io.given import GivenResult, given_result
from exitwave.reports import compare, pictures, tables
from exitwave.reports.kinds import reported
from exitwave.reports.svg import INK, drawing
from exitwave.reports.templates import filled, solver_name, spec_text
from exitwave.reports.views import object_views


def report(result: GivenResult | Comparison, path: str | Path, *, evaluation: Evaluation | None = None) -> None:
    """Write a page about a reconstruction, or the one in a file: what was found, how far to trust it, how it was made; or about
    several of one scan side by side.

    One HTML file without any outside reference; it appears whole or not at all. Raises InputError where it cannot be
    written.
    """
    shown = result if isinstance(result, Comparison) else given_result(result)
    with replacing(Path(path)) as partial:
        page = compare.render(shown) if isinstance(shown, Comparison) else render(shown, evaluation)
        partial.write_text(page, encoding="utf-8")


def render(result: Result, evaluation: Evaluation | None = None) -> str:
    """The page as text."""
    with drawing(INK):
        return filled("page.html", _content(result, evaluation))


def _content(result: Result, evaluation: Evaluation | None) -> dict[str, Any]:
    views, kind = object_views(result), reported(result.estimate, result)
    curves = evaluation.curves if evaluation else {}
    return {
        "title": tables.title(result),
        "solver": solver_name(result.spec),
        "kind": result.estimate.title,
        "date": tables.date(result),
        "verdict": tables.verdict(verdict) if (verdict := (evaluation or result).verdict or result.verdict) else None,
        "evidence": tables.evidence_facts(verdict) if verdict else [],
        "headline": tables.headline(result, evaluation, views[0][1].size_m),
        "remarks": tables.remarks(result),
        "object": [pictures.object_row(name, view, n, len(views)) for n, (name, view) in enumerate(views)],
        "spread": pictures.spread_pictures(result, views),
        "probe": kind.rows(),
        "more_modes": kind.hidden_rows,
        "fit": [*pictures.history_picture(result), *kind.fit_pictures(views[0][1])],
        "patterns": kind.pattern_rows(),
        "surface": kind.surface(),
        "rings": [pictures.ring_picture(name, curve, result) for name, curve in curves.items()],
        "further": kind.further(),
        "metrics": tables.metric_facts(evaluation, result) if evaluation else [],
        "alignment": tables.alignment_facts(evaluation.alignment) if evaluation else [],
        "spec": spec_text(result.spec),
        "geometry": tables.geometry_facts(result),
        "provenance": tables.provenance_facts(result.provenance),
    }
