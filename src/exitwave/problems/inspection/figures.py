"""What a scientist checks first in a measurement, and what looks wrong, with the cure."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import torch
from jaxtyping import Complex
from torch import Tensor

from exitwave.data.bright_disc import disc_angle
from exitwave.data.checks import check, step_px
from exitwave.data.errors import ExitwaveError
from exitwave.data.finding import Finding
from exitwave.data.lengths import lengths, number
from exitwave.data.measurement import Measurement
from exitwave.data.pattern import Pattern
from exitwave.data.scan import Scan
from exitwave.data.showing import Told
from exitwave.data.statistics import ScanStatistics
from exitwave.io.given import GivenMeasurement, given_measurement
from exitwave.physics.support import extent_px
from exitwave.problems.cdi import correlated_region, pattern_problem
from exitwave.problems.examination import examine
from exitwave.problems.examination.regime import magnification
from exitwave.problems.memory_estimate import MemoryEstimate, memory_estimate
from exitwave.problems.probe_guess import guess_probe
from exitwave.problems.ptychography import object_canvas
from exitwave.problems.shadow_motion import ShadowMotion

_STEP = re.compile(r"[:?] (--prepare \S+)$")
MOST_FRAMES, LEAST_FRAMES, MOST_PIXELS = 512, 32, 2**26
"""A larger scan is judged by so many of its frames, evenly chosen: as many as can be read in a moment."""


@dataclass(frozen=True, kw_only=True)
class Inspection(Told):
    """The figures of a measurement before any reconstruction; lengths in metres, pixels where named so."""

    frames: int
    frame_shape: tuple[int, int]
    particle: str
    energy_ev: float
    wavelength_m: float
    distance_m: float
    detector_pixel_m: tuple[float, float]
    regime: str
    magnification: float
    object_pixel_m: tuple[float, ...]
    photons_per_frame: tuple[float, float, float]
    """Least, median, most."""
    brightest_pixel: float
    untrusted_pixels: int
    saturated_pixels: int
    """Pixels that share the highest count exactly, where many do."""
    beam_offset_px: tuple[float, float]
    """Centre of mass of the mean pattern relative to the frame's centre [h // 2, w // 2]."""
    oversampling: float | None
    """Of a scan: frame / probe diameter; below 2 the patterns are undersampled for one pattern alone (overlap can make up for
    it). Of one pattern: frame / size of the isolated object, as its autocorrelation tells; 2 and more can be phased."""
    memory: MemoryEstimate
    """Memory that a reconstruction takes, by what it is for."""
    suspicious: tuple[str, ...]
    """What looks wrong, each with its cure; empty when nothing does."""
    provenance: Mapping[str, Any]
    findings: tuple[Finding, ...] = ()
    """What the examination before a run finds: cured, warned of, or refused."""
    hot_pixels: int = 0
    """Masked by the examination, as are dead ones."""
    dead_pixels: int = 0
    pixel_angle_rad: tuple[float, float] = (0.0, 0.0)
    """Of a detector pixel, as seen from the sample."""
    angles_only: bool = False
    """Nobody said how far away the detector is, only angles: distance and detector pixel mean nothing by themselves."""
    optics: str = ""
    """What is stated of how the probe is formed."""
    stated_semi_angle_rad: float | None = None
    disc_rad: float | None = None
    """Radius of the bright disc in the mean pattern, as an angle; None in the near field, or where there is none."""

    def told(self) -> tuple[str, ...]:
        frames = f"{self.frames} frame{'s' * (self.frames != 1)} of {' × '.join(map(str, self.frame_shape))} pixels"
        photons = f"{number(self.photons_per_frame[1])} {self.particle}s in a typical frame"
        sampled = "" if self.oversampling is None else f", oversampling {number(self.oversampling, 2)}"
        doubts = [*(finding.line for finding in self.findings), *self.suspicious]
        return (
            f"{type(self).__name__}: {frames}, {self.regime}, object pixel {lengths(self.object_pixel_m)}",
            photons + sampled,
            *(doubts or ["nothing looks wrong"]),
        )

    @property
    def cures(self) -> tuple[str, ...]:
        """Words to add to a command so that what looks wrong is put right, where one option does it."""
        found = [finding.options for finding in self.findings if finding.action != "cured"]
        found += [tuple(step[1].split()) for line in self.suspicious if (step := _STEP.search(line))]
        return tuple(word for pair in dict.fromkeys(found) for word in pair)


@dataclass(frozen=True, kw_only=True)
class ScanInspection(Inspection):
    """The figures of a ptychography scan; lengths in metres, pixels where named so."""

    object_shape: tuple[int, int]
    span_m: tuple[float, float]
    step_px: float
    """Median distance to the nearest other position, object pixels."""
    step_m: float
    """The same in metres."""
    overlap_array: float
    """1 - step / frame: how far neighbouring windows overlap."""
    overlap_probe: float | None
    """1 - step / probe diameter (90 % of the photons of the probe guessed from the data); None where it cannot be guessed."""
    motion: ShadowMotion | None = None
    """How the sample's shadow moves over the detector when the stage moves; None where frames cannot tell."""
    moving_magnification: float | None = None
    """The magnification that this motion tells; None where nothing moves beyond doubt."""
    shadow_defocus_m: float | None = None
    """The defocus that this motion tells, far field: positive where the focus lies behind the sample; None where nothing moves."""
    stated_defocus_m: float | None = None

    def told(self) -> tuple[str, ...]:
        first, photons, *doubts = super().told()
        overlap = "" if self.overlap_probe is None else f", probes overlap {self.overlap_probe:.0%}"
        return first, f"{photons}, step {number(self.step_px)} px{overlap}", *doubts


def inspect(
    measurement: GivenMeasurement,
    *,
    drop_frames: tuple[int, ...] = (),
    keep_frames: tuple[int, ...] = (),
    noise_threshold: float | None = None,
    keep_aliens: bool = False,
    as_is: bool = False,
) -> Inspection:
    """Look at a measurement, or its file, without reconstructing it; one that would be refused is still described, with the reason.

    The figures are those of the measurement that a run would go on with: examined and cured, unless it is taken `as_is`.
    """
    measurement = given_measurement(measurement)
    most = min(MOST_FRAMES, max(LEAST_FRAMES, MOST_PIXELS // math.prod(measurement.frame_shape)))
    examined = examine(
        measurement,
        drop_frames=drop_frames,
        keep_frames=keep_frames,
        most_frames=most,
        noise_threshold=noise_threshold,
        keep_aliens=keep_aliens,
        as_is=as_is,
    )
    found = look(examined.measurement, examined.statistics)
    if isinstance(found, ScanInspection) and (motion := examined.motion) is not None:
        geometry = examined.measurement.geometry
        told = magnification(geometry, motion) if motion.clear else None
        defocus = motion.defocus_m(geometry)
        found = replace(found, motion=motion, moving_magnification=told, shadow_defocus_m=defocus)
    found = replace(
        found,
        findings=examined.findings,
        hot_pixels=examined.masked.get("hot-pixels", 0),
        dead_pixels=examined.masked.get("dead-pixels", 0),
    )
    return replace(found, suspicious=(*found.suspicious, *suspicions(found)))


@singledispatch
def look(measurement: Measurement, seen: ScanStatistics) -> Inspection:
    """The figures of a measurement, by kind, and in `suspicious` why it would be refused."""
    return Inspection(**figures(measurement, seen, Looked(measurement.frame_shape)))


@look.register
def _(pattern: Pattern, seen: ScanStatistics) -> Inspection:
    size_px, refusal = None, ""
    try:
        # The autocorrelation is twice as wide as the object.
        size_px = max(extent_px(correlated_region(pattern, pattern.mask))) / 2
        pattern_problem(pattern)
    except ExitwaveError as error:
        refusal = str(error)
    looked = Looked(pattern.frame_shape, size_px=size_px, refusal=refusal)
    return Inspection(**figures(pattern, seen, looked))


@look.register
def _(scan: Scan, seen: ScanStatistics) -> ScanInspection:
    shape, size_px, refusal = (0, 0), None, ""
    try:
        check(scan, seen)
        shape = object_canvas(scan, 4).shape
        size_px = probe_diameter_px(guess_probe(scan, seen.mean_pattern))
    except ExitwaveError as error:
        refusal = str(error)
    step, span = step_px(scan), scan.positions_m.amax(dim=0) - scan.positions_m.amin(dim=0)
    return ScanInspection(
        **figures(scan, seen, Looked(shape, size_px=size_px, refusal=refusal)),
        object_shape=shape,
        span_m=(float(span[0]), float(span[1])),
        step_px=step,
        stated_defocus_m=None if scan.geometry.optics is None else scan.geometry.optics.defocus_m,
        step_m=step * math.sqrt(math.prod(scan.object_pixel_m)),
        overlap_array=1 - step / min(scan.frame_shape),
        overlap_probe=None if size_px is None else 1 - step / size_px,
    )


@dataclass(frozen=True)
class Looked:
    """What a kind of measurement found out by means of its own."""

    object_shape: tuple[int, int]
    size_px: float | None = None
    """Diameter of what makes the pattern: probe, or isolated object."""
    refusal: str = ""
    """Why it would be refused; empty when it would not."""


def figures(
    measurement: Measurement, seen: ScanStatistics, looked: Looked, object_pixel_m: tuple[float, ...] | None = None
) -> dict[str, Any]:
    """What is told of any measurement, by the names of `Inspection`; `object_pixel_m` where it is known otherwise."""
    mask, photons = measurement.mask, seen.photons_per_frame
    geometry, side = measurement.geometry, min(measurement.frame_shape)
    return {
        "frames": len(measurement),
        "frame_shape": measurement.frame_shape,
        "particle": geometry.particle,
        "energy_ev": geometry.energy_ev,
        "wavelength_m": geometry.wavelength_m,
        "distance_m": geometry.distance_m,
        "detector_pixel_m": geometry.detector_pixel_m,
        "regime": "near field" if geometry.near_field else "far field",
        "magnification": geometry.magnification,
        "object_pixel_m": measurement.object_pixel_m if object_pixel_m is None else object_pixel_m,
        "photons_per_frame": (float(photons.min()), float(photons.median()), float(photons.max())),
        "brightest_pixel": float(seen.max_pattern[mask].max()) if bool(mask.any()) else 0.0,
        "untrusted_pixels": int((~mask).sum()),
        "saturated_pixels": _saturated(seen),
        "beam_offset_px": _beam_offset(seen),
        "oversampling": None if looked.size_px is None else side / looked.size_px,
        "memory": memory_estimate(measurement, looked.object_shape),
        "suspicious": (f"would be refused: {looked.refusal}",) if looked.refusal else (),
        "provenance": measurement.provenance,
        "pixel_angle_rad": geometry.pixel_angle_rad,
        "angles_only": geometry.angles_only,
        "optics": "" if geometry.optics is None else geometry.optics.words,
        "stated_semi_angle_rad": None if geometry.optics is None else geometry.optics.semi_angle_rad,
        "disc_rad": None if geometry.near_field else disc_angle(seen.mean_pattern, mask, geometry.pixel_angle_rad),
    }


def probe_diameter_px(probe: Complex[Tensor, "y x"]) -> float:
    """Diameter of the circle around the probe's centre of mass that holds 90 % of its photons."""
    power = probe.abs().square().double()
    rows = torch.arange(power.shape[0], dtype=torch.float64)[:, None]
    columns = torch.arange(power.shape[1], dtype=torch.float64)[None, :]
    total = power.sum()
    distance = torch.hypot(rows - (power * rows).sum() / total, columns - (power * columns).sum() / total).flatten()
    order = distance.argsort()
    held = power.flatten()[order].cumsum(dim=0)
    return 2 * float(distance[order][int((held < 0.9 * total).sum().clamp(max=len(order) - 1))])


def _beam_offset(seen: ScanStatistics) -> tuple[float, float]:
    pattern = seen.mean_pattern.double()
    total = pattern.sum()
    if total <= 0:
        return 0.0, 0.0
    rows = torch.arange(pattern.shape[0], dtype=torch.float64) - pattern.shape[0] // 2
    columns = torch.arange(pattern.shape[1], dtype=torch.float64) - pattern.shape[1] // 2
    return float((pattern.sum(dim=1) * rows).sum() / total), float((pattern.sum(dim=0) * columns).sum() / total)


def _saturated(seen: ScanStatistics) -> int:
    top = float(seen.max_pattern.max())
    equal = int((seen.max_pattern == top).sum())
    # Chance makes two or three pixels equal at low counts; a plateau of many at a high count is the counter's limit.
    return equal if equal >= 3 and top >= 1000 else 0


@singledispatch
def suspicions(i: Inspection) -> list[str]:
    """What looks wrong in the figures of a measurement, each with its cure."""
    found: list[str] = []
    if i.particle == "photon" and (3.5 < i.energy_ev < 25 or i.energy_ev > 3e5 or i.energy_ev < 0.5):
        found.append(f"photon energy {i.energy_ev:.4g} eV: unusual; were keV or joules meant? state --energy-ev")
    elif i.particle == "photon" and i.energy_ev >= 6e4:
        found.append(f"photon energy {i.energy_ev / 1e3:.4g} keV: were electrons meant? state --kv")
    quanta = f"{i.particle}s"
    stated = i.stated_semi_angle_rad
    if stated is not None and i.disc_rad is not None and abs(i.disc_rad / stated - 1) > 0.1:
        found.append(
            f"the bright disc has a radius of {1e3 * i.disc_rad:.4g} mrad but {1e3 * stated:.4g} mrad are stated: check "
            "--semi-angle-mrad, and --mrad-per-px or camera length and detector pixel"
        )
    least, median, most = i.photons_per_frame
    if most > 5 * max(median, 1e-9) or least < 0.2 * median:
        found.append(
            f"{quanta} per frame vary from {least:.3g} to {most:.3g}: bad frames, or --prepare normalise_by_monitor"
        )
    if median < 1000:
        found.append(
            f"only {median:.3g} {quanta} in a typical frame: expect a noisy image; are these counts or scaled values?"
        )
    if i.saturated_pixels:
        found.append(
            f"{i.saturated_pixels} pixels share the highest count {i.brightest_pixel:g}: saturated? "
            f"--prepare mask_saturated={_exact(i.brightest_pixel)}"
        )
    told = {finding.name for finding in i.findings}
    if (
        i.regime == "far field"
        and max(map(abs, i.beam_offset_px)) > 2
        and not told & {"beam-in-corner", "beam-off-centre"}
    ):
        y, x = i.beam_offset_px
        found.append(f"the beam is {y:+.1f}, {x:+.1f} px (y, x) off the frame's centre: --prepare recentre")
    return found


def _exact(value: float) -> str:
    """A number in as few digits as give it back exactly, so that pasted it means the same."""
    return str(int(value)) if value == int(value) else repr(value)


@suspicions.register
def _(i: ScanInspection) -> list[str]:
    found, probe = list[str](), i.overlap_probe
    if i.overlap_array < 0.3:
        found.append(f"windows overlap only {i.overlap_array:.0%}: check --position-unit and the energy, or scan finer")
    elif probe is not None and probe < 0.5 and i.regime == "far field":
        found.append(f"probes overlap about {max(probe, 0):.0%}; 60 % and more converge reliably: expect more epochs")
    if i.oversampling is not None and i.oversampling < 1.3 and i.regime == "far field":
        found.append(
            f"the probe fills the frame (oversampling {i.oversampling:.2f}): pad the frames (--prepare pad=...) or check the distance"
        )
    seen, stated = i.shadow_defocus_m, i.stated_defocus_m
    if seen and stated and not 0.5 < seen / stated < 2:
        found.append(
            f"the sample's shadow moves as with a defocus of {1e9 * seen:.3g} nm but {1e9 * stated:.3g} nm are stated: check "
            f"--defocus-nm{' and --position-sign' if seen / stated < 0 else ', --mrad-per-px and the step'}"
        )
    return found + suspicions.dispatch(Inspection)(i)
