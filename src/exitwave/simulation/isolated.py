"""Simulated pattern of an isolated object: one exposure of a particle in an even beam, nothing around it."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Complex
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import SupportEstimate
from exitwave.data.geometry import Geometry
from exitwave.data.pattern import Pattern
from exitwave.simulation import textures
from exitwave.simulation.detection import Detection
from exitwave.simulation.measure import Simulated, check_seed, measure

USUAL_DIAMETER = 0.36
"""Diameter of the particle as a share of the frame: the pattern is sampled 2.8 times as finely as the wave needs."""


def particle(shape: tuple[int, int], *, seed: int = 0, diameter_px: float | None = None) -> Complex[Tensor, "y x"]:
    """An irregular particle with grains and pores in empty space; amplitude 0.3-1, phase span about 2 rad, nowhere even.

    The exit wave behind it, relative to its brightest point. No symmetry, so that it differs from its twin.
    """
    if min(shape) < 16:
        raise InputError(f"frames of {tuple(shape)} pixels; expected at least 16 x 16")
    generator = np.random.default_rng(seed)
    mean_radius = (diameter_px or USUAL_DIAMETER * min(shape)) / 2 / 1.2
    radius, angle = textures.radius_and_angle(shape)
    edge = np.full(shape, mean_radius)
    for order, height in ((1, 0.0), (2, 0.12), (3, 0.08), (5, 0.05)):
        edge += height * mean_radius * np.cos(order * angle + generator.uniform(0, 2 * np.pi))
    inside = textures.soft_step(edge - radius)
    amplitude = 0.6 + 0.4 * _within(textures.power_law_field(shape, 2.4, generator), inside)
    for _ in range(5):
        away, turn = mean_radius * generator.uniform(0.2, 0.8), generator.uniform(0, 2 * np.pi)
        place = (shape[0] // 2 + away * np.sin(turn), shape[1] // 2 + away * np.cos(turn))
        pore = textures.soft_step(
            mean_radius * generator.uniform(0.06, 0.16) - textures.radius_and_angle(shape, place)[0]
        )
        amplitude *= 1 - 0.5 * pore
    phase = 2.0 * _within(textures.power_law_field(shape, 3.0, generator), inside)
    return torch.from_numpy(inside * amplitude * np.exp(1j * phase)).to(torch.complex64)


def _within(field: textures.Image, inside: textures.Image) -> textures.Image:
    """A field stretched so that it spans 0 to 1 where the particle is."""
    values = field[inside > 0.5]
    return np.clip((field - values.min()) / np.ptp(values), 0.0, 1.0)


ISOLATED: dict[str, Callable[..., Complex[Tensor, "y x"]]] = {"isolated": particle}
"""Isolated samples by the names used on the command line; each is measured in one pattern without any scan."""


def simulate_pattern(
    object_name: str = "isolated",
    *,
    frame_px: int = 128,
    diameter_px: float | None = None,
    energy_ev: float = 8000.0,
    distance_m: float = 2.0,
    detector_pixel_m: float = 75e-6,
    detection: Detection | None = None,
    seed: int = 0,
) -> Simulated[Pattern, SupportEstimate]:
    """One diffraction pattern of an isolated object in a plane wave: for `er`, `hio` and `cdi`.

    `diameter_px` is the object's size, 0.36 of the frame when left out. Raises InputError for unknown names and for
    flaws that need a scan.
    """
    if object_name not in ISOLATED:
        raise InputError(f"no isolated object is called {object_name!r}; known are {', '.join(ISOLATED)}")
    check_seed(seed)
    detection = detection or Detection()
    if detection.drift or detection.position_error_px or max(map(abs, detection.exposure_px)) > 0:
        raise InputError("drift, position errors and fly-scan exposure need a scan; one pattern has none of them")
    obj = ISOLATED[object_name]((frame_px, frame_px), seed=seed, diameter_px=diameter_px)
    made = measure(
        obj,
        torch.ones(frame_px, frame_px, dtype=torch.complex64),
        torch.zeros(1, 2, dtype=torch.float64),
        Geometry.from_energy(energy_ev, distance_m, (detector_pixel_m, detector_pixel_m)),
        detection=detection,
        seed=seed,
        provenance={"object": object_name},
    )
    photons = made.truth.probe.abs().double().square().mean()
    isolated = made.truth.object[0]
    truth = SupportEstimate(object=isolated, support=isolated.abs() > 0.05, beam_photons=photons)
    return Simulated(scan=made.scan.pattern(0), truth=truth)
