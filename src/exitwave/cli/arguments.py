"""Arguments that several commands share."""

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from exitwave.io.assemble import ReadOptions

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
