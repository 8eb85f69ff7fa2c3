"""Arguments that several commands share."""

from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from cyclopts import Group, Parameter

from exitwave.io.assemble import ReadOptions
from exitwave.io.formats import FORMATS
from exitwave.io.recipe_schema import recipe_names


def _list_values(option: str, text: str) -> None:
    """Give an option of reading a help that lists its values, which only those who read files know."""
    known = next(each for each in fields(ReadOptions) if each.name == option)
    known.metadata = MappingProxyType({**known.metadata, "help": text})


_list_values(
    "format",
    "Name of the file format, found from the content when left out: "
    + ", ".join(name for name, each in FORMATS.items() if each.read is not None)
    + ".",
)
_list_values(
    "recipe",
    f"Recipe for an HDF5 file of a facility: the path of a YAML file, or one of {', '.join(recipe_names())}.",
)
READING = Group("Reading", help="What you know better than the file; anything stated wins.", sort_key=3)
RUNNING = Group("Running", sort_key=2)
SOLVER = Group("Solver", sort_key=1)
FILES = Group("Files", sort_key=0)

ScanPath = Annotated[Path, Parameter(help="Scan file, in any known format.", group=FILES)]
ResultPath = Annotated[Path, Parameter(help="Result file written by exitwave.", group=FILES)]
Output = Annotated[Path, Parameter(alias="-o", help="File to write.", group=FILES)]
Reading = Annotated[ReadOptions | None, Parameter(name="*", group=READING)]
Prepare = Annotated[
    tuple[str, ...],
    Parameter(
        help="Preparation step, in order: crop=128, bin=2, threshold=0, mask_hot, recentre, select=::2 ... (repeatable).",
        group=READING,
        negative="",
    ),
]
