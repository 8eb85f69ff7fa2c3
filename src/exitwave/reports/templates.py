"""Templates that all pages share, and solvers in words."""

import json
from collections.abc import Mapping
from typing import Any, cast

import yaml


def filled(template: str, content: Mapping[str, Any]) -> str:
    """One of our templates with its places filled."""
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("exitwave.reports", "")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(template).render(content)


def solver_name(spec: Mapping[str, Any]) -> str:
    """A solver in a few words: "rpie", "rpie, refined", or "chain of dm, lsqml"."""
    name = str(spec.get("name", "an unknown solver"))
    if name == "refined" and isinstance(spec.get("solver"), Mapping):
        return f"{solver_name(spec['solver'])}, refined"
    stages = spec.get("stages")
    # Those of a network are a number.
    parts: list[Any] = [*(stages if isinstance(stages, list | tuple) else ()), spec.get("member")]
    inner = [solver_name(cast("Mapping[str, Any]", part)) for part in parts if isinstance(part, Mapping)]
    return f"{name} of {', '.join(inner)}" if inner else name


def spec_text(spec: Mapping[str, Any]) -> str:
    """A solver as the YAML of a job."""
    # By way of JSON, so that tuples, mappings and numbers of any library become plain ones.
    plain = json.loads(json.dumps(dict(spec), default=str))
    return yaml.safe_dump({"solver": plain}, sort_keys=False, allow_unicode=True)
