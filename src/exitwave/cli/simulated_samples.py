"""The kinds of sample that `exitwave simulate` knows: which options each takes, and how it is made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any

from cyclopts import Parameter

from exitwave.data.errors import InputError, did_you_mean
from exitwave.simulation.detection import Detection
from exitwave.simulation.isolated import ISOLATED, simulate_pattern
from exitwave.simulation.measure import Simulated, simulate
from exitwave.simulation.objects import OBJECTS
from exitwave.simulation.probes import PROBES
from exitwave.simulation.rocking_curve import simulate_crystal
from exitwave.simulation.rocking_experiment import RockingExperiment
from exitwave.simulation.stem import STEM, Microscope, simulate_stem
from exitwave.simulation.trajectories import TRAJECTORIES

Made = Simulated[Any, Any]
CRYSTAL = "crystal"


@dataclass(frozen=True, kw_only=True)
class Scanning:
    """How a sample is scanned with X-rays."""

    probe: Annotated[str, Parameter(help=f"One of {', '.join(PROBES)}.")] = "zone_plate"
    trajectory: Annotated[str, Parameter(help=f"One of {', '.join(TRAJECTORIES)}.")] = "jittered"
    frames: int = 400
    """Number of positions."""
    overlap: float = 0.65
    """Linear overlap of probes: 1 - step / diameter."""
    modes: int = 1
    """Incoherent modes of the probe."""
    focus_distance_m: float | None = None
    """Focus to sample: makes it near field (inf: parallel beam)."""


@dataclass(frozen=True, kw_only=True)
class Beamline:
    """Photons and their way to the detector; what is left out is usual for the sample."""

    energy_ev: float | None = None
    """Photon energy; 8000 when left out, 9000 for a crystal."""
    distance_m: float | None = None
    """Sample to detector; 2 when left out, 0.5 for a crystal."""
    detector_pixel_m: float | None = None
    """Detector pixel; 75e-6 when left out, 55e-6 for a crystal."""

    def filled(self, *usual: float) -> list[float]:
        """Energy, distance and pixel, usual ones where none was stated."""
        stated = (self.energy_ev, self.distance_m, self.detector_pixel_m)
        return [value if each is None else each for each, value in zip(stated, usual, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line says; a group of options of which none was given is None."""

    sample: str
    scanning: Scanning | None
    beamline: Beamline | None
    microscope: Microscope | None
    experiment: RockingExperiment | None
    detection: Detection | None
    frame_px: int | None
    seed: int

    def made(self) -> tuple[Made, str]:
        """The measurement, and what to tell of it. Raises InputError for options of other samples."""
        kind = next((kind for kind in KINDS if self.sample in kind.samples), None)
        if kind is None:
            known = [name for kind in KINDS for name in kind.samples]
            raise InputError(
                f"no sample is called {self.sample!r}{did_you_mean(self.sample, known)}; known are {', '.join(known)}"
            )
        for option in dict.fromkeys(option for kind in KINDS for option in kind.takes):
            given = getattr(self, option)
            if given is not None and option not in kind.takes:
                others = ", ".join(name for other in KINDS if option in other.takes for name in other.samples)
                raise InputError(f"{self.sample} is {kind.about}; leave out {_named(given)} (for {others})")
        return kind.make(self)

    def rows(self, usual: int) -> int:
        """Rows and columns of a frame."""
        return usual if self.frame_px is None else self.frame_px


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Samples that are measured in the same way."""

    samples: Sequence[str]
    about: str
    takes: tuple[str, ...]
    """Groups of options that mean something for them."""
    make: Callable[[Asked], tuple[Made, str]]


def _scan(asked: Asked) -> tuple[Made, str]:
    how, frame_px = asked.scanning or Scanning(), asked.rows(128)
    energy_ev, distance_m, pixel_m = (asked.beamline or Beamline()).filled(8000.0, 2.0, 75e-6)
    made = simulate(
        asked.sample,
        probe_name=how.probe,
        trajectory=how.trajectory,
        frames=how.frames,
        frame_px=frame_px,
        overlap=how.overlap,
        modes=how.modes,
        energy_ev=energy_ev,
        distance_m=distance_m,
        detector_pixel_m=pixel_m,
        focus_distance_m=how.focus_distance_m,
        detection=asked.detection,
        seed=asked.seed,
    )
    return made, f"{len(made.scan)} frames of {_square(frame_px)}, {asked.sample} under a {how.probe} probe"


def _pattern(asked: Asked) -> tuple[Made, str]:
    frame_px = asked.rows(128)
    energy_ev, distance_m, pixel_m = (asked.beamline or Beamline()).filled(8000.0, 2.0, 75e-6)
    made = simulate_pattern(
        asked.sample,
        frame_px=frame_px,
        energy_ev=energy_ev,
        distance_m=distance_m,
        detector_pixel_m=pixel_m,
        detection=asked.detection,
        seed=asked.seed,
    )
    return made, f"one pattern of {_square(frame_px)}, {asked.sample} in an even beam"


def _stem(asked: Asked) -> tuple[Made, str]:
    frame_px = asked.rows(128)
    made = simulate_stem(
        asked.sample, microscope=asked.microscope, frame_px=frame_px, detection=asked.detection, seed=asked.seed
    )
    return made, f"{len(made.scan)} frames of {_square(frame_px)}, {asked.sample} under an electron probe"


def _crystal(asked: Asked) -> tuple[Made, str]:
    frame_px = asked.rows(64)
    energy_ev, distance_m, pixel_m = (asked.beamline or Beamline()).filled(9000.0, 0.5, 55e-6)
    made = simulate_crystal(
        asked.experiment,
        frame_px=frame_px,
        energy_ev=energy_ev,
        distance_m=distance_m,
        detector_pixel_m=pixel_m,
        detection=asked.detection,
        seed=asked.seed,
    )
    size_nm = 1e9 * made.scan.provenance["size_m"]
    return made, f"{len(made.scan)} angles of {_square(frame_px)}, a crystal of {size_nm:.3g} nm"


KINDS = (
    Kind(samples=tuple(OBJECTS), about="a scan with X-rays", takes=("scanning", "beamline"), make=_scan),
    Kind(samples=tuple(ISOLATED), about="one far-field pattern in an even beam", takes=("beamline",), make=_pattern),
    Kind(samples=tuple(STEM), about="4D-STEM, a raster of an electron probe", takes=("microscope",), make=_stem),
    Kind(
        samples=(CRYSTAL,),
        about="one crystal turned through a Bragg peak (--angles: how many frames)",
        takes=("experiment", "beamline"),
        make=_crystal,
    ),
)


def _named(given: Scanning | Beamline | Microscope | RockingExperiment) -> str:
    """The options of a group that are not as usual; where all are, some was given all the same."""
    names = [f"--{each.name.replace('_', '-')}" for each in fields(given) if getattr(given, each.name) != each.default]
    return ", ".join(names) or f"--{fields(given)[0].name.replace('_', '-')} and the like"


def _square(frame_px: int) -> str:
    return f"{frame_px} x {frame_px} pixels"
