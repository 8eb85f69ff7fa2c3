"""Arguments that several commands share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from exitwave.io.reading import Stated

READING = Group("Reading", help="What you know better than the file; anything stated wins.", sort_key=3)
RUNNING = Group("Running", sort_key=2)
SOLVER = Group("Solver", sort_key=1)
FILES = Group("Files", sort_key=0)

ScanPath = Annotated[Path, Parameter(help="Scan file, in any known format.", group=FILES)]
ResultPath = Annotated[Path, Parameter(help="Result file written by exitwave.", group=FILES)]
Output = Annotated[Path, Parameter(alias="-o", help="File to write.", group=FILES)]
Reading = Annotated[Stated | None, Parameter(name="*", group=READING)]
Prepare = Annotated[
    tuple[str, ...],
    Parameter(
        help="Preparation step, in order: crop=128, bin=2, threshold=0, mask_hot, recentre, select=::2 ... (repeatable).",
        group=READING,
        negative="",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Running:
    """How to run, whatever the solver."""

    modes: int = 1
    """Incoherent modes of the probe; 2-4 for a partly coherent beam."""
    start: Path | None = None
    """Result or product file to start from: object, probe and positions of the same frames."""
    probe: Path | None = None
    """File whose probe to start from; the object starts empty."""
    seed: int = 0
    """Seed of everything random; the same seed gives the same image."""
    device: str = "auto"
    """auto, cpu or cuda."""
    free_fraction: float = 0.0
    """Share of detector pixels held out to test the result (free residual); 0.05 is usual."""
    stop_residual: float | None = None
    """End as soon as the residual is at or below this."""
    patience: int | None = None
    """End after so many epochs without 0.1 % improvement."""
    checkpoint_every: int = 10
    """Epochs between checkpoints; a run that is killed loses at most these."""
    resume: bool = False
    """Go on exactly from the last checkpoint of this output, if there is one."""
