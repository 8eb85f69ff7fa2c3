"""Small faceted crystals and their rocking curves, for tests of solvers and verdicts."""

import math

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from exitwave.data.bragg_geometry import BraggGeometry, Circle, Diffractometer
from exitwave.data.geometry import Geometry
from exitwave.data.rocking_curve import RockingCurve

SIZE = 32


def octahedron(seed: int = 0, span_rad: float = 1.5, radius: float = 5.0, size: int = SIZE) -> Tensor:
    """A truncated octahedron with facets of random distance and a smooth phase."""
    generator = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*[np.arange(size) - size // 2] * 3, indexing="ij"), -1).astype(float)
    turn, _ = np.linalg.qr(generator.standard_normal((3, 3)))
    places = places @ turn
    inside = np.ones((size,) * 3, bool)
    for normal in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1)):
        depth = places @ (np.array(normal) / math.sqrt(sum(map(abs, normal))))
        for sign in (1, -1):
            inside &= sign * depth < radius * generator.uniform(0.75, 1.15)
    density = ndimage.gaussian_filter(inside.astype(float), 0.6)
    density[density < 0.05] = 0
    phase = ndimage.gaussian_filter(generator.standard_normal((size,) * 3), 0.6 * radius, mode="wrap")
    phase = (phase - phase[inside].min()) / np.ptp(phase[inside]) * span_rad
    return torch.from_numpy(density * np.exp(1j * phase)).to(torch.complex64)


def counts(crystal: Tensor, peak: float = 1e6, blur_px: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """Photons of its pattern, peak in the middle."""
    intensity = torch.fft.fftshift(torch.fft.fftn(crystal)).abs().square().double().numpy()
    intensity = ndimage.gaussian_filter(intensity, blur_px, mode="wrap")
    return np.random.default_rng(7).poisson(intensity / intensity.max() * peak).astype(np.float32)


def curve(photons: np.ndarray, mask: np.ndarray | None = None) -> RockingCurve:
    """Counts as a rocking curve of a diffractometer of six circles."""
    circles = Diffractometer(
        name="six circles",
        sample_circles=tuple(
            Circle(name=name, axis=axis) for name, axis in (("theta", "y+"), ("chi", "z-"), ("phi", "y+"))
        ),
        detector_circles=(Circle(name="delta", axis="y+"), Circle(name="gamma", axis="x-")),
    )
    return RockingCurve(
        patterns=photons,
        geometry=Geometry.from_energy(9000, 0.5, (55e-6, 55e-6)),
        mask=np.ones(photons.shape[1:], bool) if mask is None else mask,
        angles_rad=np.radians(0.005 * np.arange(len(photons))),
        diffraction=BraggGeometry(
            diffractometer=circles,
            sample_angles_rad=(math.radians(0.22), math.radians(90), math.radians(-5)),
            detector_angles_rad=(math.radians(32.2), math.radians(12.6)),
            rocked="theta",
        ),
    )
