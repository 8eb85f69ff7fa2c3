"""What a recipe can say about the HDF5 files of a facility: where things are, in which unit, sign and orientation."""

import difflib
from collections.abc import Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from exitwave.data.errors import FormatError, did_you_mean
from exitwave.data.prepare import Orientation
from exitwave.io.assemble import AngleUnit, PositionSign, PositionUnit
from exitwave.io.hdf5.reading import Layout
from exitwave.io.units import ANGLES_RAD, ENERGIES_EV, LENGTHS_M

Place = Annotated[str, Field(min_length=1)]
"""Path of a dataset in the file; "group/data@name" is an attribute, "@name" one of the file itself."""
Places = Place | Annotated[list[Place], Field(min_length=1)]
"""One place, or several of which the first that exists is taken."""


class Part(BaseModel):
    """Strict and unchanging: a key that nobody knows is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Quantity(Part):
    """A number with its unit, from the file or written in the recipe."""

    path: Places | None = None
    value: float | None = None
    """The number itself, where the file does not hold it."""
    unit: str
    """Unit of the number; "file" takes what the file says in `@units`."""
    component: int | None = None
    """Which element, where the file holds a list."""
    times: float = 1.0
    """Factor that the file's writer left to the reader."""
    absolute: bool = False
    """Drop the sign, for distances counted against the beam."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.value is None):
            raise ValueError("give either path or value")
        if self.unit not in ("file", "px", *LENGTHS_M, *ENERGIES_EV, *ANGLES_RAD):
            raise ValueError(f"{self.unit!r} is no known unit; expected file, px, or one of length, energy or angle")
        return self


class Term(Part):
    """One summand of a position: a list of numbers, one for each frame, times factors."""

    path: Places | None = None
    scan: Literal["row", "column"] | None = None
    """Instead of a path: the row or column number in a raster of frames (layout "row column y x")."""
    component: int | None = None
    """Which column of (frame, 2), or row of (2, frame), where the file keeps x and y together."""
    times: float = 1.0
    by: Place | None = None
    """A further factor from the file, such as the length of a scan step."""
    angle: Quantity | None = None
    of: Literal["cos", "sin", "abs cos", "abs sin"] | None = None
    """Which function of the angle multiplies."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.path is None) == (self.scan is None):
            raise ValueError("give either path or scan")
        if (self.angle is None) != (self.of is None):
            raise ValueError("angle and of belong together")
        return self


class Frames(Part):
    """Where the diffraction patterns are."""

    path: Places | None = None
    """A path that ends in "/*" gathers all datasets of a group, in the order of the numbers in their names."""
    within: Place | None = None
    """Instead of a path: a group of which the one dataset of three axes is meant, whatever its name."""
    layout: Layout = "frame y x"
    values: Literal["counts", "amplitude"] = "counts"
    orientation: Orientation = "identity"
    """How frames must be turned so that rows and columns run as the positions do."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.within is None):
            raise ValueError("give either path or within")
        return self


class Positions(Part):
    """Where the scan positions are, or how those of a separate file are meant."""

    unit: PositionUnit
    sign: PositionSign = "probe"
    """Whether the numbers tell where the probe is on the sample, or where the sample is (opposite sign)."""
    flip: tuple[Literal[1, -1], Literal[1, -1]] = (1, 1)
    """Further sign of (y, x)."""
    y: list[Term] = []
    x: list[Term] = []
    """Summands; without them the positions come in a file of their own."""
    drop_missing: bool = False
    """Leave out frames whose position is not a number."""

    @model_validator(mode="after")
    def _both(self) -> Self:
        if bool(self.y) != bool(self.x):
            raise ValueError("give terms for both y and x, or for neither")
        return self


class Mask(Part):
    """Which pixels can be trusted."""

    path: Places
    good: Literal["zero", "nonzero"]


class Monitor(Part):
    """Beam intensity of each frame."""

    path: Places
    keep: tuple[float, float] | None = None
    """Use only frames with at least the first and less than the second value."""


class BeamCentre(Part):
    """Row and column of the direct beam."""

    y: Quantity
    x: Quantity


class Rocking(Part):
    """Angles and corrections of the rocking curve of a crystal."""

    diffractometer: str | None = None
    """Name of one that comes with exitwave, or a YAML file of its circles."""
    angles: dict[str, Places | float]
    """Of each circle by name: where one number or one for each frame stands, or the number itself."""
    unit: AngleUnit = "deg"
    frames: Places | None = None
    """Angle of the rocked circle in each frame, where it stands apart from the circle."""
    rocked: str | None = None
    """Circle that was turned from frame to frame; found by its angles where left out."""
    rocked_at: Places | None = None
    """Instead of rocked: text of which the end is the name of the circle."""
    whitefield: Places | None = None
    """Image of the detector in even light; frames are divided by it."""
    darkfield: Places | None = None
    """Image of the detector without light: marks hot pixels, or is the background."""


class Recipe(Part):
    """How the files of one facility are read; positions and detector orientation belong together."""

    title: str
    about: str = ""
    recognise: list[Place] = []
    """Places that all exist in such a file; without any the recipe must be named. In names * stands for anything."""
    unless: list[Place] = []
    """Places of which none exists in such a file."""
    entry: Place | None = None
    """Group of a scan, where a file keeps several (* stands for anything); all other places are within it."""
    frames: Frames
    positions: Positions = Positions(unit="m")
    rocking: Rocking | None = None
    """In place of positions: the frames are the rocking curve of a crystal."""
    energy: Quantity | None = None
    wavelength: Quantity | None = None
    distance: Quantity | None = None
    detector_pixel: Quantity | None = None
    detector_pixel_y: Quantity | None = None
    """For pixels that are not square; `detector_pixel` is then that along x."""
    object_pixel: Quantity | None = None
    """For files that know the pixel of the reconstruction but not the detector."""
    focus_distance: Quantity | None = None
    """Focus to sample: makes the data near field."""
    particle: Literal["photon", "electron"] = "photon"
    mask: Mask | None = None
    background: Places | None = None
    monitor: Monitor | None = None
    beam_centre: BeamCentre | None = None

    @model_validator(mode="after")
    def _scan_or_rocking_curve(self) -> Self:
        if ("positions" in self.model_fields_set) == (self.rocking is not None):
            told = "positions and rocking are given" if self.rocking else "positions is missing"
            raise ValueError(f"{told}; give positions of a scan, or rocking of a rocking curve")
        if self.rocking is not None and self.frames.orientation != "identity":
            raise ValueError(
                "frames.orientation is for scans; how a detector was mounted is said by the diffractometer's rows and columns"
            )
        return self


def load_recipe(name: str) -> Recipe:
    """The shipped recipe of that name, or the one in a YAML file. Raises FormatError saying which key is wrong."""
    recipes = shipped_recipes()
    if name in recipes:
        return recipes[name]
    path = Path(name)
    if not path.is_file():
        near = did_you_mean(name, recipes)
        raise FormatError(f"there is no recipe {name!r}, shipped or as a file{near}; shipped are {', '.join(recipes)}")
    return parse_recipe(path.read_text(encoding="utf-8", errors="replace"), str(path))


@cache
def shipped_recipes() -> dict[str, Recipe]:
    """The recipes that come with exitwave, by name."""
    folder = _folder()
    return {name: parse_recipe((folder / f"{name}.yaml").read_text("utf-8"), f"{name}.yaml") for name in recipe_names()}


def recipe_names() -> list[str]:
    """Names of the recipes that come with exitwave, without reading them."""
    return sorted(item.name.removesuffix(".yaml") for item in _folder().iterdir() if item.name.endswith(".yaml"))


def _folder() -> Traversable:
    return resources.files("exitwave.io.recipes")


def parse_recipe(text: str, name: str) -> Recipe:
    """A recipe from YAML text. Raises FormatError naming every wrong key."""
    try:
        # The compiled reader, where there is one, takes a tenth of the time.
        content: Any = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise FormatError(f"the recipe {name} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise FormatError(f"the recipe {name} holds no keys; expected title, frames, positions and so on")
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise FormatError(f"the recipe {name} is wrong: {'; '.join(_complaints(error))}") from error


def _complaints(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        place = [
            str(step) for step in problem["loc"] if step not in ("str", "constrained-str") and "[" not in str(step)
        ]
        where = ".".join(place)
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(place[-1], _known_keys(), 1)
            yield f"unknown key {where}" + (f", did you mean {near[0]}?" if near else "")
        elif problem["type"] == "missing":
            yield f"{where} is missing"
        else:
            yield f"{where}: {problem['msg'].removeprefix('Value error, ')}" if where else problem["msg"]


def _known_keys() -> list[str]:
    parts: list[type[Part]] = [Recipe, Frames, Positions, Term, Quantity, Mask, Monitor, BeamCentre, Rocking]
    return [key for part in parts for key in part.model_fields]
