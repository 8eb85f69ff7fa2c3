"""Arguments that several commands share."""

from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from cyclopts import Group, Parameter

from exitwave.io.assemble import ReadOptions
from exitwave.io.formats import FORMATS
from exitwave.io.recipes.schema import recipe_names

READING = Group("Reading", help="What you know better than the file; anything stated wins.", sort_key=3)
RUNNING = Group("Running", sort_key=2)
SOLVER = Group("Solver", sort_key=1)
FILES = Group("Files", sort_key=0)
FIGURE = Group("Figure", help="Of .png, .svg and .pdf.", sort_key=1)

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


def _list_values() -> None:
    """Let the help of --format and --recipe list what there is; the options themselves stand below all formats."""
    readable = ", ".join(name for name, chosen in FORMATS.items() if chosen.read is not None)
    listed = {
        "format": f"Name of the file format; found from the content when left out. One of {readable}.",
        "recipe": "Path of a YAML recipe for an HDF5 file (exitwave recipe FILE writes a draft), or the name of a shipped one: "
        f"{', '.join(recipe_names())}.",
    }
    for option in fields(ReadOptions):
        if option.name in listed:
            option.metadata = MappingProxyType({**option.metadata, "help": listed[option.name]})


_list_values()
