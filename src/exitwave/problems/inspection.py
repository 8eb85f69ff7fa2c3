"""Inspection of a scan: what a scientist checks first, and what looks wrong, with the cure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Complex
from torch import Tensor

from exitwave.data import prepare
from exitwave.data.checks import check, step_px
from exitwave.data.errors import ExitwaveError
from exitwave.data.scan import Scan
from exitwave.data.statistics import ScanStatistics, scan_statistics
from exitwave.physics.support import extent_px
from exitwave.problems.cdi import correlated_region, isolated_problem
from exitwave.problems.initial_guess import guess_probe
from exitwave.problems.memory_estimate import MemoryEstimate, memory_estimate
from exitwave.problems.ptychography import Problem, object_canvas

MOST_FRAMES = 512
"""A larger scan is judged by this many of its frames, evenly chosen."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The figures of a scan before any reconstruction; lengths in metres, pixels where named so."""

    frames: int
    frame_shape: tuple[int, int]
    particle: str
    energy_ev: float
    wavelength_m: float
    distance_m: float
    detector_pixel_m: tuple[float, float]
    regime: str
    magnification: float
    object_pixel_m: tuple[float, float]
    object_shape: tuple[int, int]
    span_m: tuple[float, float]
    step_px: float
    """Median distance to the nearest other position, object pixels."""
    overlap_array: float
    """1 - step / frame: how far neighbouring windows overlap."""
    overlap_probe: float | None
    """1 - step / probe diameter (90 % of the photons of the probe guessed from the data); None where it cannot be guessed."""
    oversampling: float | None
    """Frame / probe diameter; below 2 the patterns are undersampled for one pattern alone (overlap can make up for it).
    Of one frame: frame / size of the isolated object, as its autocorrelation tells; 2 and more can be phased."""
    photons_per_frame: tuple[float, float, float]
    """Least, median, most."""
    brightest_pixel: float
    untrusted_pixels: int
    hot_pixels: int
    dead_pixels: int
    saturated_pixels: int
    """Pixels that share the highest count exactly, where many do."""
    beam_offset_px: tuple[float, float]
    """Centre of mass of the mean pattern relative to the frame's centre [h // 2, w // 2]."""
    memory: MemoryEstimate
    """Memory that a reconstruction takes, by what it is for."""
    suspicious: tuple[str, ...]
    """What looks wrong, each with its cure; empty when nothing does."""
    provenance: Mapping[str, Any]


def inspect(scan: Scan) -> Inspection:
    """Look at a scan without reconstructing it; a scan that would be refused is still described, and the reason listed."""
    seen = scan_statistics(scan, most_frames=MOST_FRAMES)
    suspicious: list[str] = []
    shape: tuple[int, int] = (0, 0)
    probe, object_px = None, None
    try:
        if len(scan) == 1:
            shape = scan.frame_shape
            # The autocorrelation is twice as wide as the object.
            object_px = max(extent_px(correlated_region(scan, scan.mask))) / 2
            isolated_problem(scan)
        else:
            check(scan, seen)
            _, shape = object_canvas(scan, 4)
            nearest = _compact(scan)
            probe = guess_probe(Problem.of(prepare.select(scan, nearest)))
    except ExitwaveError as error:
        suspicious.append(f"would be refused: {error}")
    height, width = scan.frame_shape
    step = step_px(scan)
    diameter = object_px if probe is None else probe_diameter_px(probe)
    lit = seen.photons_per_frame
    offset = _beam_offset(seen)
    # In one pattern speckles look hot, and pixels that happened to count nothing look dead.
    hot = 0 if len(scan) == 1 else int((scan.mask & ~prepare.mask_hot(_few(scan)).mask).sum())
    dead = 0 if len(scan) == 1 else int((scan.mask & ~prepare.mask_dead(_few(scan)).mask).sum())
    saturated = _saturated(seen)
    span = scan.positions_m.amax(dim=0) - scan.positions_m.amin(dim=0)
    geometry = scan.geometry
    inspection = Inspection(
        frames=len(scan),
        frame_shape=scan.frame_shape,
        particle=geometry.particle,
        energy_ev=geometry.energy_ev,
        wavelength_m=geometry.wavelength_m,
        distance_m=geometry.distance_m,
        detector_pixel_m=geometry.detector_pixel_m,
        regime="near field" if geometry.near_field else "far field",
        magnification=geometry.magnification,
        object_pixel_m=scan.object_pixel_m,
        object_shape=shape,
        span_m=(float(span[0]), float(span[1])),
        step_px=step,
        overlap_array=1 - step / min(height, width),
        overlap_probe=None if probe is None or diameter is None else 1 - step / diameter,
        oversampling=None if diameter is None else min(height, width) / diameter,
        photons_per_frame=(float(lit.min()), float(lit.median()), float(lit.max())),
        brightest_pixel=float(seen.max_pattern[scan.mask].max()) if bool(scan.mask.any()) else 0.0,
        untrusted_pixels=int((~scan.mask).sum()),
        hot_pixels=hot,
        dead_pixels=dead,
        saturated_pixels=saturated,
        beam_offset_px=offset,
        memory=memory_estimate(scan, shape),
        suspicious=(),
        provenance=scan.provenance,
    )
    return _with(inspection, suspicious + _suspicions(scan, inspection))


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


def _compact(scan: Scan, count: int = 64) -> Tensor:
    middle = scan.positions_m.median(dim=0).values
    return (scan.positions_m - middle).square().sum(dim=1).argsort()[:count].sort().values


def _few(scan: Scan) -> Scan:
    if len(scan) <= MOST_FRAMES:
        return scan
    return prepare.select(scan, torch.linspace(0, len(scan) - 1, MOST_FRAMES).round().to(torch.int64))


def _with(inspection: Inspection, suspicious: list[str]) -> Inspection:
    from dataclasses import replace

    return replace(inspection, suspicious=tuple(suspicious))


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


def _suspicions(scan: Scan, i: Inspection) -> list[str]:
    found: list[str] = []
    if scan.geometry.particle == "photon" and (3.5 < i.energy_ev < 25 or i.energy_ev > 3e5 or i.energy_ev < 0.5):
        found.append(f"photon energy {i.energy_ev:.4g} eV: unusual; were keV or joules meant? state --energy-ev")
    if i.overlap_array < 0.3:
        found.append(f"windows overlap only {i.overlap_array:.0%}: check --position-unit and the energy, or scan finer")
    elif i.overlap_probe is not None and i.overlap_probe < 0.5 and not scan.geometry.near_field:
        found.append(f"probes overlap about {i.overlap_probe:.0%}; 60 % and more converge reliably: expect more epochs")
    if i.frames > 1 and i.oversampling is not None and i.oversampling < 1.3 and not scan.geometry.near_field:
        found.append(
            f"the probe fills the frame (oversampling {i.oversampling:.2f}): pad the frames (--prepare pad=...) or check the distance"
        )
    least, median, most = i.photons_per_frame
    if most > 5 * max(median, 1e-9) or least < 0.2 * median:
        found.append(
            f"photons per frame vary from {least:.3g} to {most:.3g}: bad frames, or --prepare normalise_by_monitor"
        )
    if median < 1000:
        found.append(
            f"only {median:.3g} photons in a typical frame: expect a noisy image; are these counts or scaled values?"
        )
    if i.hot_pixels:
        found.append(f"{i.hot_pixels} hot pixels: --prepare mask_hot")
    if i.dead_pixels:
        found.append(f"{i.dead_pixels} dead pixels are trusted: --prepare mask_dead")
    if i.saturated_pixels:
        found.append(
            f"{i.saturated_pixels} pixels share the highest count {i.brightest_pixel:g}: saturated? "
            f"--prepare mask_saturated={i.brightest_pixel:g}"
        )
    if not scan.geometry.near_field and max(map(abs, i.beam_offset_px)) > 2:
        y, x = i.beam_offset_px
        found.append(f"the beam is {y:+.1f}, {x:+.1f} px (y, x) off the frame's centre: --prepare recentre")
    return found
