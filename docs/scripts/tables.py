"""Fill the tables of README.md and docs/ from the code and from the measured figures.

    python docs/scripts/tables.py            rewrite what stands between the markers
    python docs/scripts/tables.py --check    only say which files are out of date, with exit code 1

A table begins with the line `<!-- table: NAME -->` and ends with `<!-- end of table -->`.
"""

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from docstring_parser import parse_from_object

import crystal_tables
from exitwave.data.prepare.steps import STEPS
from exitwave.data.scan import Scan
from exitwave.evaluation.metrics import METRICS
from exitwave.io.assemble import ReadOptions
from exitwave.io.export import ENDINGS as EXPORT_ENDINGS, EXPORT_NAMES
from exitwave.io.formats import ENDINGS, FORMATS
from exitwave.io.recipes.schema import (
    BeamCentre,
    Frames,
    Mask,
    Monitor,
    Positions,
    Quantity,
    Recipe,
    Rocking,
    Term,
    shipped_recipes,
)
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.running.job import OWN, PARTS, Job
from exitwave.simulation import trajectories
from exitwave.simulation.crystal_settings import CrystalSettings
from exitwave.simulation.detection import Detection
from exitwave.simulation.objects import OBJECTS
from exitwave.simulation.probes import PROBES
from exitwave.simulation.rocking_experiment import RockingExperiment
from exitwave.solvers.base import Solver
from exitwave.solvers.neural.reconstruction_network import architectures
from exitwave.solvers.registry import solvers
from exitwave.solvers.requirements import PHYSICS
from network_tables import USES, compared, used
from study_tables import ITERATIVE, study, table, throughput

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "benchmarks" / "results" / "figures.json"
LOCAL_FIGURES = ROOT / "benchmarks" / "results" / "local.json"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/[!_]*.md"))]
PLACE = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
FEW = 4
"""More figures of one kind than this are shown by their worst in the summary."""


def sentence(thing: object) -> str:
    """The first sentence of a docstring, on one line."""
    text = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.;])\s(?=[A-Z])", text)[0].rstrip(".;")


def described(cls: type) -> list[tuple[str, str, str]]:
    """Name, default and meaning of each annotated field of a class: its docstring, or that of an option of many solvers."""
    known = getattr(cls, "__pydantic_fields__", {})
    texts = {name: " ".join((option.description or "").split()) for name, option in known.items()}
    texts |= {name: text for base in reversed(cls.__mro__[:-1]) for name, text in explained(base).items() if text}
    hints = get_type_hints(cls)
    return [(f.name, _default(f), (texts.get(f.name, "") + choices(hints[f.name])).strip()) for f in fields(cls)]


def explained(cls: type) -> dict[str, str]:
    """The docstrings below the fields that a class itself declares."""
    return {p.arg_name: " ".join((p.description or "").split()) for p in parse_from_object(cls).params}


def choices(annotation: Any) -> str:
    """The words that a field takes, as a sentence, where they are listed."""
    if get_origin(annotation) is Literal:
        words = [word for word in get_args(annotation) if isinstance(word, str)]
        return f" One of {', '.join(f'`{word}`' for word in words)}." if words else ""
    if get_origin(annotation) in (tuple, list):
        return ""
    return "".join(choices(part) for part in get_args(annotation))


def _default(field: Any) -> str:
    if field.default_factory is not MISSING:
        value = field.default_factory()
        return "" if isinstance(value, ReadOptions) else code(value)
    default = getattr(field.default, "default", field.default)
    return "needed" if field.default is MISSING or repr(default) == "PydanticUndefined" else code(default)


def code(value: object) -> str:
    return "" if value is None or value == () else f"`{value}`"


def flag(name: str) -> str:
    return f"`--{name.replace('_', '-')}`"


def members() -> dict[str, type[Solver[Any]]]:
    """Solvers that are part of exitwave itself, those of one method before those made of others."""
    own = {name: cls for name, cls in solvers().items() if cls.__module__.startswith("exitwave.")}
    return dict(sorted(own.items(), key=lambda item: (item[0] in ("chain", "ensemble"), item[0])))


def methods() -> str:
    rows = []
    for name, cls in members().items():
        text = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
        what, _, source = text.partition(". ")
        rows.append((f"`{name}`", what.rstrip("."), source.rstrip(".")))
    return table(("solver", "method", "source"), rows)


def physics() -> str:
    """What may be unknown beyond object and probe, and the methods that refuse it."""
    methods = {
        name: cls for name, cls in members().items() if not cls.combines and issubclass(cls.solves, PtychographyProblem)
    }
    rows = []
    for name, text in PHYSICS.items():
        refusing = [f"`{method}`" for method, cls in methods.items() if name in cls.unsupported]
        rows.append((name, text, ", ".join(refusing)))
    return table(("name", "what it is", "methods that refuse it"), rows)


def solver_options(name: str) -> str:
    return options_of(members()[name])


def options_of(cls: type[Any]) -> str:
    ranges = {key: allowed(info.metadata) for key, info in cls.__pydantic_fields__.items()}
    rows = [(f"`{key}`", default, ranges[key], text) for key, default, text in described(cls)]
    return table(("option", "default", "range", "meaning"), rows)


def allowed(bounds: Iterable[Any]) -> str:
    """Limits of a validated number in words."""
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found = [(key, getattr(bound, key)) for bound in bounds for key in words if hasattr(bound, key)]
    return ", ".join(f"{words[key]} {value:g}" for key, value in found)


def formats() -> str:
    endings = {name: ending for ending, name in ENDINGS.items()}
    rows = []
    for name, kind in FORMATS.items():
        write = f"yes ({endings[name]})" if name in endings else "yes" if kind.write else ""
        write = "yes (.h5)" if name == "result" else write
        start = "object and probe" if kind.read_estimate else "probe" if kind.read_probe else ""
        rows.append((kind.title, f"`{name}`", "yes" if kind.read else "", write, start))
    return table(("format", "name", "read scan", "write", "start from its"), rows)


def exports() -> str:
    endings = {name: [e for e, other in EXPORT_ENDINGS.items() if other == name] for name in EXPORT_NAMES}
    return table(("name", "endings"), ((f"`{name}`", ", ".join(endings[name])) for name in EXPORT_NAMES))


def stated() -> str:
    return table(
        ("Python", "command line", "meaning"), ((f"`{n}`", flag(n), text) for n, _, text in described(ReadOptions))
    )


def running() -> str:
    parts = [row for kind in PARTS.values() for row in described(kind)]
    rows = ((f"`{name}`", flag(name), default, text) for name, default, text in parts)
    return table(("YAML", "command line", "default", "meaning"), rows)


def job() -> str:
    rows = ((f"`{name}`", default, text) for name, default, text in described(Job) if name in OWN)
    return table(("key", "default", "meaning"), rows)


def flagged(cls: type) -> str:
    """Options that are called the same in Python and on the command line."""
    rows = ((f"`{name}`", flag(name), default, text) for name, default, text in described(cls))
    return table(("Python", "command line", "default", "meaning"), rows)


def crystal_settings() -> str:
    rows = ((f"`{name}`", default, text) for name, default, text in described(CrystalSettings))
    return table(("setting", "default", "meaning"), rows)


def steps() -> str:
    rows = []
    for name, function in STEPS.items():
        arguments = [p for p in inspect.signature(function).parameters.values() if p.annotation is not Scan]
        plain = [p.name if p.default is p.empty else f"{p.name} = {p.default}" for p in arguments]
        rows.append((f"`{name}`", ", ".join(f"`{argument}`" for argument in plain), sentence(function)))
    return table(("step", "arguments", "what it does"), rows)


def recipes() -> str:
    return table(
        ("name", "files", "remarks"), ((f"`{n}`", r.title, r.about.strip()) for n, r in shipped_recipes().items())
    )


def recipe_keys() -> str:
    parts = (Recipe, Frames, Positions, Term, Rocking, Quantity, Mask, Monitor, BeamCentre)
    names = [part.__name__ for part in parts]
    text = ""
    for part in parts:
        texts = explained(part)
        rows = []
        for key, info in part.model_fields.items():
            kind = ", ".join(name for name in names if re.search(rf"\b{name}\b", str(info.annotation)))
            default = "needed" if info.is_required() else "" if info.default in (None, [], "") else code(info.default)
            meaning = (texts.get(key, "") + choices(info.annotation)).strip()
            rows.append((f"`{key}`", kind, default, meaning))
        text += f"\n**{part.__name__}.** {sentence(part)}.\n\n{table(('key', 'is a', 'default', 'meaning'), rows)}"
    return text


def metrics() -> str:
    rows = ((f"`{n}`", m.description, "higher" if m.higher_is_better else "lower") for n, m in METRICS.items())
    return table(("id", "meaning", "better"), rows)


def simulation(known: dict[str, Callable[..., Any]]) -> str:
    return table(("name", "what it is"), ((f"`{name}`", sentence(function)) for name, function in known.items()))


def scans() -> str:
    made = trajectories
    drawn = (made.raster, made.jittered_raster, made.fermat_spiral, made.concentric)
    return simulation(dict(zip(made.TRAJECTORIES, drawn, strict=True)))


def figures() -> str:
    """The figures that have a target: one line each, or the worst of many alike."""
    if not FIGURES.exists():
        return "Not measured yet: `make bench` measures and `python docs/scripts/tables.py` fills in this table.\n"
    rows = []
    for found in json.loads(FIGURES.read_text()).values():
        aimed = [row for row in found["rows"] if row["target"]]
        if len(aimed) > FEW:
            kinds = {(row["figure"].split(",")[0], row["target"]) for row in aimed}
            aimed = [_worst([row for row in aimed if row["figure"].startswith(kind)]) for kind, _ in sorted(kinds)]
        rows += [(r["figure"], f"{r['value']:.3g}", r["target"], "yes" if r["reached"] else "no") for r in aimed]
    return table(("figure", "measured", "target", "reached"), rows)


def _worst(rows: list[dict[str, Any]]) -> dict[str, Any]:
    pick = min if rows[0]["target"].startswith(">") else max
    worst = pick(rows, key=lambda row: row["value"])
    kind = rows[0]["figure"].split(",")[0]
    reached = sum(row["reached"] for row in rows)
    count = f"worst of {len(rows)} cases, of which {reached} reach the target"
    name = f"{kind} ({count}: {worst['figure'].partition(', ')[2]})" if len(rows) > 1 else rows[0]["figure"]
    return {**worst, "figure": name, "reached": all(row["reached"] for row in rows)}


def all_figures() -> str:
    """Every measured figure, study by study, with command, machine and date."""
    if not FIGURES.exists():
        return figures()
    text = ""
    for name, found in json.loads(FIGURES.read_text()).items():
        rows = (
            (r["figure"], f"{r['value']:.4g}", r["target"], "" if r["reached"] else "missed") for r in found["rows"]
        )
        text += f"\n**{name}.** {' '.join(found['about'].split())} `{found['command']}` ({found['machine']}; {found['date']}).\n\n"
        text += table(("figure", "measured", "target", ""), rows)
    return text


def local_figures(name: str) -> str:
    """Quality or speed of `local`, as measured."""
    rows = json.loads(LOCAL_FIGURES.read_text())[name]["rows"]
    return table(
        tuple(rows[0]), [tuple(f"{v:.3g}" if isinstance(v, float) else v for v in row.values()) for row in rows]
    )


TABLES: dict[str, Callable[[], str]] = {
    **{f"iterative-{name}": lambda name=name: study(name, ITERATIVE[name]) for name in ITERATIVE},
    **{
        f"local-{name}": lambda name=name: local_figures(name)
        for name in ("iterations", "groups", "dose", "curvature", "speed")
    },
    "throughput": throughput,
    "networks-compared": compared,
    **{f"network-{name}": lambda name=name: used(name) for name in USES},
    "methods": methods,
    "physics": physics,
    **{f"options-{name}": lambda name=name: solver_options(name) for name in members()},
    **{f"network-{name}": lambda cls=cls: options_of(cls) for name, cls in architectures().items()},
    "formats": formats,
    "exports": exports,
    "stated": stated,
    "running": running,
    "job": job,
    "detection": lambda: flagged(Detection),
    "rocking-experiment": lambda: flagged(RockingExperiment),
    "crystal-settings": crystal_settings,
    "crystals-solved": crystal_tables.solved,
    "crystals-strained": crystal_tables.strained,
    "crystals-speed": crystal_tables.speed,
    "crystals-network": crystal_tables.network_compared,
    **{
        f"crystals-network-{part}": lambda part=part: crystal_tables.network_elsewhere(part)
        for part in ("sampling", "six_circle", "tuned")
    },
    "crystal-runs": crystal_tables.measured_runs,
    "crystal-agreement": crystal_tables.measured_agreement,
    "steps": steps,
    "recipes": recipes,
    "recipe-keys": recipe_keys,
    "metrics": metrics,
    "samples": lambda: simulation(OBJECTS),
    "probes": lambda: simulation(PROBES),
    "trajectories": scans,
    "figures": figures,
    "all-figures": all_figures,
}


def filled(text: str) -> str:
    """A page with its tables made anew."""
    return PLACE.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", text)


def main() -> int:
    """Rewrite the pages, or with --check only tell which would change."""
    stale = [page for page in PAGES if filled(page.read_text("utf-8")) != page.read_text("utf-8")]
    for page in stale:
        print(f"{page.relative_to(ROOT)} {'is out of date' if '--check' in sys.argv else 'rewritten'}")
        if "--check" not in sys.argv:
            page.write_text(filled(page.read_text("utf-8")), "utf-8")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
