"""The report: one HTML page with pictures and figures of a reconstruction that opens offline, for years to come."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from exitwave.data.result import Result
from exitwave.evaluation.judge import Evaluation
from exitwave.io.atomic import replacing
from exitwave.reports import facts, pictures
from exitwave.reports.display import object_views
from exitwave.reports.svg import INK, drawing


def report(result: Result, path: str | Path, *, evaluation: Evaluation | None = None) -> None:
    """Write a page about a reconstruction: what was found, how far to trust it, how it was made.

    One HTML file without any outside reference; it appears whole or not at all. Raises InputError where it cannot be
    written.
    """
    with replacing(Path(path)) as partial:
        partial.write_text(render(result, evaluation), encoding="utf-8")


def render(result: Result, evaluation: Evaluation | None = None) -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("exitwave.reports", "")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    with drawing(INK):
        return environment.get_template("page.html").render(_content(result, evaluation))


def _content(result: Result, evaluation: Evaluation | None) -> dict[str, Any]:
    views = object_views(result)
    curves = evaluation.curves if evaluation else {}
    return {
        "title": facts.title(result),
        "solver": solver_name(result.spec),
        "date": str(result.provenance.get("date", "")).replace("T", " ").replace("+00:00", " UTC"),
        "headline": facts.headline(result, evaluation, views[0].size_m),
        "remarks": facts.remarks(result),
        "object": [pictures.object_row(view, index, len(views)) for index, view in enumerate(views)],
        "spread": pictures.spread_pictures(result, views),
        "probe": pictures.probe_rows(result),
        "more_modes": max(0, len(result.estimate.probe) - pictures.MOST_MODES),
        "fit": list(pictures.fit_pictures(result, views[0])),
        "rings": [pictures.ring_picture(name, curve, result) for name, curve in curves.items()],
        "metrics": facts.metric_facts(evaluation, result) if evaluation else [],
        "alignment": facts.alignment_facts(evaluation.alignment) if evaluation else [],
        "spec": _yaml(result.spec),
        "geometry": facts.geometry_facts(result),
        "provenance": facts.provenance_facts(result.provenance),
    }


def solver_name(spec: Mapping[str, Any]) -> str:
    """A solver in a few words: "rpie", or "chain of dm, lsqml"."""
    name = str(spec.get("name", "an unknown solver"))
    parts: list[Any] = [*spec.get("stages", ()), spec.get("member")]
    inner = [solver_name(cast("Mapping[str, Any]", part)) for part in parts if isinstance(part, Mapping)]
    return f"{name} of {', '.join(inner)}" if inner else name


def _yaml(spec: Mapping[str, Any]) -> str:
    # By way of JSON, so that tuples, mappings and numbers of any library become plain ones.
    plain = json.loads(json.dumps(dict(spec), default=str))
    return yaml.safe_dump({"solver": plain}, sort_keys=False, allow_unicode=True)
