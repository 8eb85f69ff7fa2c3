"""Healthy scans of many kinds, and what may be wrong with them."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from exitwave.data.measurement import Measurement
from exitwave.data.pattern import Pattern
from exitwave.data.scan import Scan
from exitwave.simulation.detection import Detection
from exitwave.simulation.isolated import simulate_pattern
from exitwave.simulation.measure import simulate
from exitwave.simulation.objects import OBJECTS
from exitwave.simulation.probes import PROBES
from exitwave.simulation.trajectories import TRAJECTORIES
from scans import known_particle, known_scan


def made_scan(
    *,
    near: bool = False,
    photons: float = 1e5,
    frames: int = 49,
    frame_px: int = 64,
    sample: str = "circuit",
    probe: str = "zone_plate",
    trajectory: str = "jittered",
    modes: int = 1,
    detection: Detection | None = None,
    seed: int = 1,
) -> Scan:
    """A simulated scan; near field in a parallel beam."""
    return simulate(
        sample,
        probe_name=probe,
        trajectory=trajectory,
        frame_px=frame_px,
        frames=frames,
        modes=modes,
        detection=replace(detection or Detection(), photons_per_frame=photons),
        seed=seed,
        focus_distance_m=math.inf if near else None,
        distance_m=0.05 if near else 2.0,
        detector_pixel_m=1e-6 if near else 75e-6,
    ).scan


def made_pattern(photons: float, seed: int = 1) -> Pattern:
    """The pattern of an isolated object."""
    return simulate_pattern(frame_px=128, detection=Detection(photons_per_frame=photons), seed=seed).scan


def spoilt(measurement: Measurement, spoil: Callable[[torch.Tensor], object]) -> Measurement:
    """The measurement with its frames changed in place by a function."""
    frames = measurement.frames(slice(None)).clone()
    spoil(frames)
    return replace(measurement, patterns=frames)


def healthy() -> dict[str, Callable[[], Measurement]]:
    """Scans and patterns in which nothing is wrong, by name: every sample, probe and trajectory, doses, both regimes."""
    samples, probes, trajectories = list(OBJECTS), list(PROBES), list(TRAJECTORIES)
    made: dict[str, Callable[[], Measurement]] = {}
    for i, sample in enumerate(samples):
        for j, photons in enumerate((1e2, 1e4, 1e7)):
            k = 3 * i + j
            made[f"{sample} of {photons:g} photons"] = lambda sample=sample, photons=photons, k=k: made_scan(
                sample=sample,
                photons=photons,
                probe=probes[k % len(probes)],
                trajectory=trajectories[k % len(trajectories)],
                modes=1 + k % 3,
                frames=(25, 36, 50)[k % 3],
                frame_px=(48, 64)[k % 2],
                # Features are few: with other seeds small scans hit none.
                seed=k + 100,
            )
        made[f"{sample} in the near field"] = lambda sample=sample, i=i: made_scan(
            sample=sample, near=True, photons=(1e3, 1e6)[i % 2], frames=25, frame_px=48, seed=i
        )
    for i, probe in enumerate(probes):
        made[f"{probe} without noise"] = lambda probe=probe, i=i: made_scan(
            probe=probe, sample=samples[i % len(samples)], detection=Detection(noise="none"), frames=25, frame_px=48
        )
    flaws = {
        "read-out noise": Detection(readout_sigma=2.0),
        "background": Detection(background=0.3),
        "masked saturation": Detection(saturation=3000),
        "masked dead pixels": Detection(dead_fraction=0.02),
        "a masked beam stop": Detection(beam_stop_radius_px=4),
        "drift": Detection(drift=0.4),
        "position errors": Detection(position_error_px=2),
        "fly scan": Detection(exposure_px=(0, 4)),
    }
    for name, detection in flaws.items():
        made[name] = lambda detection=detection: made_scan(detection=detection, frames=36)
    for factor in (1e-6, 1e-3, 0.37, 1e3):
        made[f"counts times {factor:g}"] = lambda factor=factor: spoilt(
            made_scan(photons=3e3), lambda frames: frames.mul_(factor)
        )
    for frames in (4, 6, 9):
        made[f"{frames} frames"] = lambda frames=frames: made_scan(frames=frames, photons=1e4)
    for photons in (1e4, 1e8):
        made[f"one pattern of {photons:g} photons"] = lambda photons=photons: made_pattern(photons)
    made["one pattern without noise"] = lambda: known_particle((64, 64)).pattern
    made["two modes made by numpy alone"] = lambda: known_scan(modes=2, photons=1e5).scan
    return made
