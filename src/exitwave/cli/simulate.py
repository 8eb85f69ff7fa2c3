"""exitwave simulate SAMPLE -o scan.cxi"""

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from exitwave.cli.arguments import FILES, Output
from exitwave.cli.simulated_samples import CRYSTAL, Asked, Beamline, Scanning
from exitwave.data.errors import InputError
from exitwave.io.readers import cxi
from exitwave.simulation.detection import Detection
from exitwave.simulation.isolated import ISOLATED
from exitwave.simulation.objects import OBJECTS
from exitwave.simulation.rocking_experiment import RockingExperiment
from exitwave.simulation.stem import STEM, Microscope

MEASURING = Group("Measurement", sort_key=1)
SCANNING = Group("Scan", sort_key=2)
DETECTING = Group("Detection", sort_key=3)
ROCKING = Group("Crystal (3D Bragg CDI)", sort_key=4)
MICROSCOPE = Group("Electron microscope (4D-STEM)", sort_key=5)


def simulate(
    sample: Annotated[
        str,
        Parameter(
            help=f"Sample: {', '.join(OBJECTS)}; one pattern without a scan: {', '.join(ISOLATED)}; 4D-STEM: "
            f"{', '.join(STEM)}; the rocking curve of a nanocrystal: {CRYSTAL}.",
            group=FILES,
        ),
    ],
    /,
    *,
    output: Output = Path("scan.cxi"),
    frame_px: Annotated[
        int | None,
        Parameter(help="Rows and columns of a pattern; 128 when left out, 64 for a crystal.", group=MEASURING),
    ] = None,
    beamline: Annotated[Beamline | None, Parameter(name="*", group=MEASURING)] = None,
    seed: Annotated[int, Parameter(help="Decides sample, jitter and noise.", group=MEASURING)] = 0,
    scanning: Annotated[Scanning | None, Parameter(name="*", group=SCANNING)] = None,
    detection: Annotated[Detection | None, Parameter(name="*", group=DETECTING)] = None,
    experiment: Annotated[RockingExperiment | None, Parameter(name="*", group=ROCKING)] = None,
    microscope: Annotated[Microscope | None, Parameter(name="*", group=MICROSCOPE)] = None,
) -> None:
    """Make a scan of a known sample, one pattern of an isolated object, the rocking curve of a crystal, or 4D-STEM data.

    The truth goes into a group of its own that only `evaluate --truth` reads.
    """
    if output.suffix != ".cxi":
        raise InputError(
            f"{output} should end in .cxi: simulated scans with their truth are CXI files; `export` converts them"
        )
    asked = Asked(
        sample=sample,
        scanning=scanning,
        beamline=beamline,
        microscope=microscope,
        experiment=experiment,
        detection=detection,
        frame_px=frame_px,
        seed=seed,
    )
    made, told = asked.made()
    cxi.write(output, made.scan, truth=made.truth)
    print(f"{told} -> {output}")
