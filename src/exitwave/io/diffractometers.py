"""Diffractometers by name: those that come with exitwave, in diffractometers.yaml, and those that a user describes in the same way."""

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from exitwave.data.bragg_geometry import Circle, Diffractometer, Direction
from exitwave.data.errors import FormatError, did_you_mean

EXAMPLE = "{sample: {eta: x-, phi: y-}, detector: {nu: y-, delta: x-}, rows: y-, columns: x+}"


class Described(BaseModel):
    """A diffractometer as YAML says it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str = ""
    """Where the axes come from, and what is doubtful."""
    sample: dict[str, Direction]
    """Circles, outermost first, with the axis of each."""
    detector: dict[str, Direction]
    rows: Direction = "y-"
    columns: Direction = "x+"

    def named(self, name: str) -> Diffractometer:
        """The diffractometer. Raises InputError where its axes make no sense."""
        sample, detector = (
            tuple(Circle(name=circle, axis=axis) for circle, axis in circles.items())
            for circles in (self.sample, self.detector)
        )
        return Diffractometer(
            name=name, sample_circles=sample, detector_circles=detector, rows=self.rows, columns=self.columns
        )


def load_diffractometer(name: str) -> Diffractometer:
    """The diffractometer that comes with exitwave under this name, or the one in a YAML file.

    Raises FormatError for a name that is not known, and naming every wrong key of a file.
    """
    known = shipped_diffractometers()
    found = {each.lower(): each for each in known}.get(name.lower())
    if found is not None:
        return known[found].named(found)
    path = Path(name)
    if not path.is_file():
        raise FormatError(
            f"there is no diffractometer {name!r}, shipped or as a YAML file{did_you_mean(name, known)}; shipped are "
            f"{', '.join(known)}. A file says circles, outermost first, and axes: {EXAMPLE}"
        )
    return parsed(_yaml(path.read_text(encoding="utf-8", errors="replace"), path), str(path)).named(path.stem)


def parsed(content: Any, name: str) -> Described:
    """A diffractometer from what YAML holds. Raises FormatError naming every wrong key."""
    try:
        return Described.model_validate(content)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'all of it'}: {each['msg']}" for each in error.errors())
        raise FormatError(f"the diffractometer {name} is wrong ({wrong}); expected such as {EXAMPLE}") from error


@cache
def shipped_diffractometers() -> dict[str, Described]:
    """The diffractometers that come with exitwave, by name."""
    text = resources.files("exitwave.io").joinpath("diffractometers.yaml").read_text("utf-8")
    return {name: parsed(content, name) for name, content in _yaml(text, Path("diffractometers.yaml")).items()}


def _yaml(text: str, path: Path) -> Any:
    try:
        return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise FormatError(f"the diffractometer {path} is not YAML: {error}") from error
