"""Simulated rocking curve of one crystal: 3D Bragg CDI with a known truth, and what spoils it at a beamline."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from exitwave.data.bragg_geometry import BraggGeometry
from exitwave.data.errors import InputError
from exitwave.data.estimate import BraggEstimate
from exitwave.data.geometry import Geometry
from exitwave.data.patterns import ArrayPatterns
from exitwave.data.rocking_curve import RockingCurve
from exitwave.simulation.crystals import Crystal, drawn_crystal
from exitwave.simulation.detection import Detection
from exitwave.simulation.measure import Simulated, check_seed
from exitwave.simulation.rocking_experiment import RockingExperiment
from exitwave.simulation.rocking_flaws import alien, blurred, diffracted, recorded

Array = np.ndarray
FEWEST_PX = 16


def simulate_crystal(
    experiment: RockingExperiment | None = None,
    *,
    frame_px: int = 64,
    energy_ev: float = 9000.0,
    distance_m: float = 0.5,
    detector_pixel_m: float = 55e-6,
    detection: Detection | None = None,
    crystal: Crystal | None = None,
    seed: int = 0,
) -> Simulated[RockingCurve, BraggEstimate]:
    """The rocking curve of a made crystal in the six-circle geometry of 34-ID-C, for `cdi` and its like.

    A `crystal` of your own (`drawn_crystal`, metres) takes the place of the drawn one. The truth lies on the voxels of the whole
    curve; angles that are missing are missing in the curve only.
    Raises InputError for flaws that need a scan, and for what does not fit together.
    """
    experiment, detection = experiment or RockingExperiment(), detection or Detection()
    if detection.position_error_px or max(map(abs, detection.exposure_px)) > 0:
        raise InputError("position errors and fly-scan exposure need a scan; a rocking curve has none of them")
    if frame_px < FEWEST_PX:
        raise InputError(f"frames of {frame_px} pixels; expected at least {FEWEST_PX} x {FEWEST_PX}")
    check_seed(seed)
    geometry = Geometry.from_energy(energy_ev, distance_m, (detector_pixel_m, detector_pixel_m))
    posed, shape = experiment.posed(geometry.wavelength_m), (experiment.angles, frame_px, frame_px)
    drawn = crystal or _drawn(experiment, posed, geometry, frame_px, seed)
    step_rad = _step_rad(experiment, posed, geometry, drawn)
    basis_m = posed.direct_basis_m(geometry, step_rad, shape)
    obj = drawn.sampled(shape, basis_m)
    intensity = diffracted(obj)
    aliens = sum((alien(shape, experiment, seed, number) for number in range(experiment.aliens)), torch.zeros(()))
    intensity = blurred(intensity + float(intensity.max()) * aliens, experiment.coherence_px)
    photons = _beam_photons(intensity, experiment, detection)
    truth = BraggEstimate(
        object=obj,
        support=obj != 0,
        beam_photons=torch.tensor(photons, dtype=torch.float64),
        basis_m=torch.from_numpy(basis_m),
        scattering_vector=torch.from_numpy(posed.scattering_vector(geometry)),
    )
    ideal = RockingCurve(
        patterns=ArrayPatterns((intensity * photons).to(torch.float32)),
        geometry=geometry,
        angles_rad=posed.sample_angles_rad[0]
        + step_rad * (torch.arange(shape[0], dtype=torch.float64) - shape[0] // 2),
        diffraction=posed,
        provenance={
            "source": "simulated",
            "object": "crystal",
            "experiment": _listed(asdict(experiment)),
            "size_m": drawn.size,
            "seed": seed,
            "detection": _listed(asdict(detection)),
        },
    )
    return Simulated(scan=recorded(ideal, experiment, detection, seed), truth=truth)


def _drawn(
    experiment: RockingExperiment, posed: BraggGeometry, geometry: Geometry, frame_px: int, seed: int
) -> Crystal:
    """A crystal in the laboratory, metres, as large as asked for or as the oversampling along rows and columns wants it."""
    made = drawn_crystal(experiment.settings(), np.random.default_rng([seed, 0]), posed.scattering_vector(geometry))
    if experiment.size_m is not None:
        return made.of_size(experiment.size_m)
    by_pixel = posed.reciprocal_basis(geometry, 1.0)[:, 1:].T
    # An array axis of the crystal repeats after 2 pi over the step of Q.
    unit_m = 2 * math.pi / (experiment.oversampling * float(made.extent(by_pixel).max()))
    return made.of_size(made.size * unit_m)


def _step_rad(experiment: RockingExperiment, posed: BraggGeometry, geometry: Geometry, crystal: Crystal) -> float:
    """The step of the angle at which the frames sample as finely as asked for."""
    by_radian = posed.reciprocal_basis(geometry, 1.0)[:, :1].T
    return 2 * math.pi / (experiment.oversampling * float(crystal.extent(by_radian)[0]))


def _beam_photons(intensity: Float[Tensor, "frame y x"], experiment: RockingExperiment, detection: Detection) -> float:
    """Photons on a voxel of the even beam, with which the pattern has the counts that are asked for."""
    if experiment.peak_photons is not None:
        return experiment.peak_photons / float(intensity.max())
    if detection.photons_per_frame is None:
        return 1.0
    return detection.photons_per_frame / float(intensity.sum(dim=(1, 2), dtype=torch.float64).mean())


def _listed(told: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON knows it."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}
