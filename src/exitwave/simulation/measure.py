"""Simulated measurements: a known sample and a known probe through the library's own physics onto an imperfect detector."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import E, PtychoEstimate
from exitwave.data.geometry import Geometry
from exitwave.data.measurement import M
from exitwave.data.patterns import ArrayPatterns
from exitwave.data.scan import Scan
from exitwave.physics.fourier import to_centre
from exitwave.physics.ptychography import Ptychography
from exitwave.simulation.detection import Detection, count_, drift_curve, hide_, misread_positions
from exitwave.simulation.objects import OBJECTS
from exitwave.simulation.probes import PROBES, coherent_modes
from exitwave.simulation.trajectories import TRAJECTORIES

T = TypeVar("T")

BATCH_PIXELS = 2**20
"""Complex pixels worked on at once: 8 MiB, whatever the number of frames."""
MARGIN_PX = 4
"""Object pixels around the outermost windows."""
USUAL_DIAMETER = 0.47
"""Probe diameter as a share of the frame: the patterns are sampled about twice as finely as they must be."""
USUAL_FOCUS = 0.25
"""The same for probes in focus, whose side lobes need more room."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulated(Generic[M, E]):
    """A made measurement and, apart from it, the truth. Nothing leads from it to the truth: hand solvers `scan` only."""

    scan: M
    truth: E
    """The object that was measured; of a scan the probe with its photons and where it really stood, too."""


def measure(
    obj: Complex[Tensor, "y x"] | Complex[Tensor, "slice y x"],
    probe: Complex[Tensor, "y x"] | Complex[Tensor, "mode y x"],
    positions_px: Float[Tensor, "frame 2"],
    geometry: Geometry,
    *,
    detection: Detection | None = None,
    seed: int = 0,
    slice_spacing_m: tuple[float, ...] = (),
    provenance: Mapping[str, Any] | None = None,
) -> Simulated[Scan, PtychoEstimate]:
    """Scan a known sample with a known probe and record it; frames have the shape of the probe.

    `positions_px` are the window corners (y, x) in the object. A thick sample needs the spacings of its slices. Under the
    default `Detection` the frames are Poisson counts of 1e6 photons in the mean. Recorded positions keep the origin of the
    object array. The probe's power is rescaled to the photons asked for; `truth.probe` has them.
    Raises InputError where windows leave the object.
    """
    detection = detection or Detection()
    obj = obj[None] if obj.ndim == 2 else obj
    probe = probe[None] if probe.ndim == 2 else probe
    truth = PtychoEstimate(
        object=obj.to(torch.complex64),
        probe=probe.to(torch.complex64),
        positions_px=positions_px.to(torch.float64),
        slice_spacing_m=torch.tensor(slice_spacing_m, dtype=torch.float64) if slice_spacing_m else None,
    )
    _check_windows(truth, detection)
    frame_shape = (probe.shape[-2], probe.shape[-1])
    model = Ptychography.of(geometry, frame_shape)
    patterns = _expected(model, truth, detection, geometry)
    power = float(patterns.sum(dim=(1, 2), dtype=torch.float64).mean())
    if not (math.isfinite(power) and power > 0):
        raise InputError(
            f"the frames hold {power:g} photons in the mean; give an object and a probe that are not empty"
        )
    if detection.photons_per_frame is not None:
        factor = detection.photons_per_frame / power
        patterns *= factor
        truth = replace(truth, probe=truth.probe * math.sqrt(factor))
    drift = drift_curve(len(patterns), detection.drift, seed)
    patterns *= drift[:, None, None]
    count_(patterns, detection, seed, _batch(truth.probe))
    mask = hide_(patterns, detection, seed)
    recorded = {**asdict(detection), "exposure_px": list(detection.exposure_px)}
    pixel_m = torch.tensor(geometry.object_pixel_m(frame_shape), dtype=torch.float64)
    scan = Scan(
        patterns=ArrayPatterns(patterns),
        positions_m=misread_positions(truth.positions_px, detection, seed) * pixel_m,
        geometry=geometry,
        mask=mask,
        background=torch.full(frame_shape, detection.background) if detection.background else None,
        monitor=drift if detection.drift else None,
        provenance={"source": "simulated", **(provenance or {}), "seed": seed, "detection": recorded},
    )
    return Simulated(scan=scan, truth=truth)


def simulate(
    object_name: str,
    *,
    probe_name: str = "zone_plate",
    trajectory: str = "jittered",
    frame_px: int = 128,
    frames: int = 400,
    overlap: float = 0.65,
    diameter_px: float | None = None,
    modes: int = 1,
    photons_per_frame: float | None = None,
    detection: Detection | None = None,
    seed: int = 0,
    energy_ev: float = 8000.0,
    distance_m: float = 2.0,
    detector_pixel_m: float = 75e-6,
    focus_distance_m: float | None = None,
) -> Simulated[Scan, PtychoEstimate]:
    """A whole made experiment from names: a sample of `OBJECTS`, a probe of `PROBES`, a scan of `TRAJECTORIES`.

    The step is (1 - overlap) x diameter of the probe, which is about half the frame unless stated (`diameter_px`); the
    sample is drawn as large as the scan. `photons_per_frame` overrules the one in `detection`. A `focus_distance_m`
    makes it a near-field experiment (`Geometry`). One seed decides sample, jitter and noise.
    Raises InputError for an unknown name (with the known ones) and for values that cannot be.
    """
    if not overlap < 1:
        raise InputError(f"overlap is {overlap:g}; expected a share below 1, 0.6 to 0.75 is usual")
    check_seed(seed)
    draw = _named(OBJECTS, "object", object_name)
    illuminate = _named(PROBES, "probe", probe_name)
    travel = _named(TRAJECTORIES, "trajectory", trajectory)
    detection = detection or Detection()
    if photons_per_frame is not None:
        detection = replace(detection, photons_per_frame=photons_per_frame)
    share = USUAL_FOCUS if probe_name in ("airy", "kb") else USUAL_DIAMETER
    diameter = diameter_px or max(round(share * frame_px), 2)
    probe = coherent_modes(illuminate((frame_px, frame_px), diameter_px=diameter), modes)
    # Blur reaches half the exposure beyond a position.
    margin = MARGIN_PX + math.ceil(max(map(abs, detection.exposure_px)) / 2)
    positions = travel(frames, (1 - overlap) * diameter, seed=seed) + margin
    height, width = (math.ceil(float(last)) + frame_px + margin for last in positions.amax(dim=0))
    geometry = Geometry.from_energy(energy_ev, distance_m, (detector_pixel_m, detector_pixel_m), focus_distance_m)
    names = {"object": object_name, "probe": probe_name, "trajectory": trajectory, "modes": modes, "overlap": overlap}
    return measure(
        draw((height, width), seed=seed), probe, positions, geometry, detection=detection, seed=seed, provenance=names
    )


@torch.no_grad()
def _expected(
    model: Ptychography, truth: PtychoEstimate, detection: Detection, geometry: Geometry
) -> Float[Tensor, "frame y x"]:
    """Intensities without noise, beam at the centre of the frame, averaged over the path of each exposure."""
    offsets = detection.exposure_offsets_px()
    patterns = torch.zeros(len(truth.positions_px), *truth.probe.shape[-2:])
    for offset in offsets:
        passing = replace(truth, positions_px=truth.positions_px + offset)
        for frames in torch.arange(len(patterns)).split(_batch(truth.probe)):
            arranged = model.intensity(passing, frames) / len(offsets)
            patterns[frames] += arranged if geometry.near_field else to_centre(arranged)
    return patterns


def _batch(probe: Complex[Tensor, "mode y x"]) -> int:
    return max(BATCH_PIXELS // probe.numel(), 1)


def _check_windows(truth: PtychoEstimate, detection: Detection) -> None:
    reach = detection.exposure_offsets_px()
    first = (truth.positions_px.amin(dim=0) + reach.amin(dim=0)).round()
    last = (truth.positions_px.amax(dim=0) + reach.amax(dim=0)).round()
    room = torch.tensor(truth.object.shape[1:]) - torch.tensor(truth.probe.shape[1:])
    if bool((first < 0).any()) or bool((last > room).any()):
        raise InputError(
            f"windows of {tuple(truth.probe.shape[1:])} px start from {first.int().tolist()} to {last.int().tolist()} "
            f"(y, x) in an object of {tuple(truth.object.shape[1:])} px; they must start from [0, 0] to "
            f"{room.tolist()}: draw a larger object or shift the positions"
        )


def check_seed(seed: int) -> None:
    """Raises InputError for a negative one."""
    if seed < 0:
        raise InputError(f"seed is {seed}; expected 0 or a positive whole number")


def _named(known: Mapping[str, T], kind: str, name: str) -> T:
    if name not in known:
        raise InputError(f"no {kind} is called {name!r}; known are {', '.join(known)}")
    return known[name]
