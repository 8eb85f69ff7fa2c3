"""Rocking curves of small made crystals, for tests of what is done before they are phased."""

import math

import numpy as np
import torch

from exitwave.data.bragg_geometry import BraggGeometry, Circle, Diffractometer
from exitwave.data.geometry import Geometry
from exitwave.data.rocking_curve import RockingCurve

SIX_CIRCLE = Diffractometer(
    name="made",
    sample_circles=(Circle(name="theta", axis="y+"), Circle(name="chi", axis="z-"), Circle(name="phi", axis="y+")),
    detector_circles=(Circle(name="delta", axis="y+"), Circle(name="gamma", axis="x-")),
)


def crystal(shape=(32, 40, 48), size=(8.0, 10.0, 12.0), form="octahedron", strain=0.0) -> np.ndarray:
    """A crystal of about `size` voxels in an array of this shape, in its middle."""
    grid = np.meshgrid(*[(np.arange(n) - n // 2) / (s / 2) for n, s in zip(shape, size, strict=True)], indexing="ij")
    if form == "box":
        inside = np.max(np.abs(grid), axis=0) <= 1
    elif form == "ball":
        inside = np.sum(np.square(grid), axis=0) <= 1
    else:
        inside = np.sum(np.abs(grid), axis=0) <= 1.7
        inside &= np.max(np.abs(grid), axis=0) <= 1
    return inside * np.exp(1j * strain * grid[0] * grid[1] * grid[2])


def pattern(obj: np.ndarray, photons: float = 3e6, soft_px: float = 0.5) -> np.ndarray:
    """Its diffraction pattern, the peak in the middle; expected photons. Faces are as soft as voxels are coarse."""
    power = np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(obj)))) ** 2
    for axis, n in enumerate(obj.shape):
        decay = np.exp(-((2 * np.pi * soft_px * (np.arange(n) - n // 2) / n) ** 2))
        power = power * np.expand_dims(decay, [other for other in range(3) if other != axis])
    return power * (photons / power.sum())


def curve(
    counts: np.ndarray | None = None,
    *,
    seed: int | None = 0,
    step_deg: float = 0.01,
    background: float = 0.0,
    direct_beam_px: tuple[float, float] = (3.0, -2.0),
) -> RockingCurve:
    """A rocking curve of these expected photons, with the scatter of counting unless the seed is None."""
    expected = pattern(crystal()) if counts is None else counts
    expected = expected + background
    drawn = expected if seed is None else np.random.default_rng(seed).poisson(expected)
    r = math.radians
    return RockingCurve(
        patterns=torch.tensor(drawn, dtype=torch.float32),
        geometry=Geometry.from_energy(9000, 0.5, (55e-6, 55e-6)),
        angles_rad=torch.tensor(np.radians(0.2 + step_deg * (np.arange(len(drawn)) - len(drawn) // 2))),
        diffraction=BraggGeometry(
            diffractometer=SIX_CIRCLE,
            sample_angles_rad=(r(0.22), r(90), r(-5)),
            detector_angles_rad=(r(32.174), r(12.6346)),
            rocked="theta",
            direct_beam_px=direct_beam_px,
        ),
    )


def q_of(measured: RockingCurve, voxel: tuple[float, float, float]) -> np.ndarray:
    """Scattering vector (z, y, x) of a voxel as the crystal sees it, exactly; frames, rows and columns may be fractions."""
    frame, row, column = voxel
    height, width = measured.frame_shape
    geometry, diffraction = measured.geometry, measured.diffraction
    scattered = diffraction.scattered(geometry, np.array(row - height // 2), np.array(column - width // 2))
    incident = 2 * math.pi / geometry.wavelength_m * np.array([1.0, 0.0, 0.0])
    angle = float(np.interp(frame, np.arange(len(measured)), measured.angles_rad.numpy()))
    return diffraction.sample_rotation(angle).T @ (scattered - incident)
