"""exitwave simulate OBJECT -o scan.cxi"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from exitwave.cli.arguments import FILES, Output
from exitwave.data.errors import InputError
from exitwave.io.readers import cxi
from exitwave.simulation.detection import Detection
from exitwave.simulation.isolated import ISOLATED, simulate_pattern
from exitwave.simulation.measure import Simulated, simulate as make
from exitwave.simulation.objects import OBJECTS
from exitwave.simulation.probes import PROBES
from exitwave.simulation.stem import STEM, Microscope, simulate_stem
from exitwave.simulation.trajectories import TRAJECTORIES

SCANNING = Group("Scan", sort_key=1)
DETECTING = Group("Detection", sort_key=2)
MICROSCOPE = Group("Electron microscope (4D-STEM)", sort_key=3)
USUAL: Mapping[str, object] = {
    "probe": "zone_plate",
    "trajectory": "jittered",
    "frames": 400,
    "overlap": 0.65,
    "modes": 1,
    "focus-distance-m": None,
    "energy-ev": 8000.0,
    "distance-m": 2.0,
    "detector-pixel-m": 75e-6,
}
"""What is usual in a scan with X-rays, and means nothing for other samples."""


def simulate(
    sample: Annotated[
        str,
        Parameter(
            help=f"Sample: {', '.join(OBJECTS)}; one pattern without a scan: {', '.join(ISOLATED)}; 4D-STEM: "
            f"{', '.join(STEM)}.",
            group=FILES,
        ),
    ],
    /,
    *,
    output: Output = Path("scan.cxi"),
    probe: Annotated[str, Parameter(help=f"One of {', '.join(PROBES)}.", group=SCANNING)] = "zone_plate",
    trajectory: Annotated[str, Parameter(help=f"One of {', '.join(TRAJECTORIES)}.", group=SCANNING)] = "jittered",
    frames: Annotated[int, Parameter(help="Number of positions.", group=SCANNING)] = 400,
    frame_px: Annotated[int, Parameter(help="Rows and columns of a pattern.", group=SCANNING)] = 128,
    overlap: Annotated[float, Parameter(help="Linear overlap of probes: 1 - step / diameter.", group=SCANNING)] = 0.65,
    modes: Annotated[int, Parameter(help="Incoherent modes of the probe.", group=SCANNING)] = 1,
    energy_ev: Annotated[float, Parameter(help="Photon energy.", group=SCANNING)] = 8000.0,
    distance_m: Annotated[float, Parameter(help="Sample to detector.", group=SCANNING)] = 2.0,
    detector_pixel_m: Annotated[float, Parameter(help="Detector pixel.", group=SCANNING)] = 75e-6,
    focus_distance_m: Annotated[
        float | None, Parameter(help="Focus to sample: makes it near field (inf: parallel beam).", group=SCANNING)
    ] = None,
    microscope: Annotated[Microscope | None, Parameter(name="*", group=MICROSCOPE)] = None,
    detection: Annotated[Detection | None, Parameter(name="*", group=DETECTING)] = None,
    seed: Annotated[int, Parameter(help="Decides sample, jitter and noise.", group=SCANNING)] = 0,
) -> None:
    """Make a scan of a known sample, one pattern of an isolated object, or 4D-STEM data.

    The truth goes into a group of its own that only `evaluate --truth` reads.
    """
    _refuse_other_files(output)
    given: dict[str, object] = {
        "probe": probe,
        "trajectory": trajectory,
        "frames": frames,
        "overlap": overlap,
        "modes": modes,
        "focus-distance-m": focus_distance_m,
    }
    if sample in STEM:
        of_photons = {"energy-ev": energy_ev, "distance-m": distance_m, "detector-pixel-m": detector_pixel_m}
        _refuse(f"{sample} is 4D-STEM, a raster of an electron probe", given | of_photons)
        thick = simulate_stem(sample, microscope=microscope, frame_px=frame_px, detection=detection, seed=seed)
        _keep(
            output,
            thick,
            f"{len(thick.scan)} frames of {frame_px} x {frame_px} pixels, {sample} under an electron probe",
        )
        return
    if microscope is not None:
        raise InputError(
            f"{sample} is seen with photons, but options of an electron microscope are given; they are for {', '.join(STEM)}"
        )
    if sample in ISOLATED:
        _refuse(f"{sample} is one far-field pattern in an even beam", given)
        pattern = simulate_pattern(
            sample,
            frame_px=frame_px,
            energy_ev=energy_ev,
            distance_m=distance_m,
            detector_pixel_m=detector_pixel_m,
            detection=detection,
            seed=seed,
        )
        _keep(output, pattern, f"one pattern of {frame_px} x {frame_px} pixels, {sample} in an even beam")
        return
    made = make(
        sample,
        probe_name=probe,
        trajectory=trajectory,
        frames=frames,
        frame_px=frame_px,
        overlap=overlap,
        modes=modes,
        energy_ev=energy_ev,
        distance_m=distance_m,
        detector_pixel_m=detector_pixel_m,
        focus_distance_m=focus_distance_m,
        detection=detection,
        seed=seed,
    )
    _keep(output, made, f"{len(made.scan)} frames of {frame_px} x {frame_px} pixels, {sample} under a {probe} probe")


def _keep(output: Path, made: Simulated[Any, Any], told: str) -> None:
    cxi.write(output, made.scan, truth=made.truth)
    print(f"{told} -> {output}")


def _refuse_other_files(output: Path) -> None:
    if output.suffix != ".cxi":
        raise InputError(
            f"{output} should end in .cxi: simulated scans with their truth are CXI files; `export` converts them"
        )


def _refuse(why: str, given: Mapping[str, object]) -> None:
    refused = [f"--{name}" for name, value in given.items() if value != USUAL[name]]
    if refused:
        raise InputError(f"{why}; leave out {', '.join(refused)}")
