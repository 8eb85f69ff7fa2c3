"""Crystals of known shape and displacement, given by formulas in the laboratory and sampled on the oblique array of a curve."""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.special import erf

import exitwave as ew
from exitwave.data.bragg_geometry import Direction

Places = np.ndarray
"""(..., 3): (z, y, x) in the laboratory, metres."""


def _circles(**axes: Direction) -> tuple[ew.Circle, ...]:
    return tuple(ew.Circle(name=name, axis=axis) for name, axis in axes.items())


def curve(beamline: str = "34-ID-C", shape: tuple[int, int, int] = (32, 32, 32)) -> ew.RockingCurve:
    """A rocking curve without counts at one of the usual diffractometers, sampled for crystals of 100 to 300 nm."""
    r = math.radians
    match beamline:
        case "34-ID-C":
            made = ew.Diffractometer(
                name=beamline,
                sample_circles=_circles(theta="y+", chi="z-", phi="y+"),
                detector_circles=_circles(delta="y+", gamma="x-"),
            )
            sample, detector, rocked, step = (r(0.2), r(90), r(-5)), (r(32.2), r(12.6)), "theta", r(0.04)
        case "ID01":
            made = ew.Diffractometer(
                name=beamline,
                sample_circles=_circles(mu="y-", eta="x-", phi="y-"),
                detector_circles=_circles(nu="y-", delta="x-"),
                columns="x-",
            )
            sample, detector, rocked, step = (0.0, r(17.5), r(40)), (r(3.0), r(35.0)), "eta", r(0.04)
        case _:
            made = ew.Diffractometer(
                name="P10",
                sample_circles=_circles(mu="y+", om="x-", chi="z+", phi="y-"),
                detector_circles=_circles(gamma="y+", delta="x-"),
            )
            sample, detector, rocked, step = (0.0, r(16.0), r(10), r(70)), (r(2.0), r(31.0)), "om", r(0.04)
    geometry = ew.BraggGeometry(
        diffractometer=made,
        sample_angles_rad=sample,
        detector_angles_rad=detector,
        rocked=rocked,
        direct_beam_px=(3.0, -5.0),
    )
    middle = sample[geometry.rocked_circle]
    return ew.RockingCurve(
        patterns=torch.ones(shape),
        geometry=ew.Geometry.from_energy(9000, 0.5, (220e-6, 220e-6)),
        angles_rad=middle + step * (torch.arange(shape[0], dtype=torch.float64) - shape[0] // 2),
        diffraction=geometry,
    )


def places_px(of: ew.RockingCurve) -> np.ndarray:
    """(frame, row, column, 3): voxels counted from the one in the middle."""
    axes = np.meshgrid(*(np.arange(n) - n // 2.0 for n in of.patterns.shape), indexing="ij")
    return np.stack(axes, axis=-1)


def places_m(of: ew.RockingCurve) -> Places:
    """Where the voxels of the object stand in the laboratory."""
    return places_px(of) @ of.direct_basis_m.T


def sampled(
    of: ew.RockingCurve,
    amplitude: Callable[[Places], np.ndarray],
    displacement_m: Callable[[Places], np.ndarray] = lambda r: np.zeros(r.shape[:-1]),
) -> ew.BraggEstimate:
    """A crystal of this amplitude and displacement along Q as a reconstruction of a curve would give it."""
    r, q = places_m(of), of.scattering_vector
    dark = amplitude(r)
    phase = -np.linalg.norm(q) * displacement_m(r)
    return ew.BraggEstimate(
        object=torch.from_numpy((dark * np.exp(1j * phase)).astype(np.complex64)),
        support=torch.from_numpy(dark > 0.02),
        beam_photons=torch.tensor(1e6, dtype=torch.float64),
        basis_m=torch.from_numpy(of.direct_basis_m),
        scattering_vector=torch.from_numpy(q),
    )


def soft_ball(
    radius: float, soft: float
) -> tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """A ball blurred by a Gaussian, as a function of the radius, and its Fourier transform, of |q|. Both in closed form."""

    def density(r: np.ndarray) -> np.ndarray:
        r = np.maximum(r, 1e-6 * radius)
        inner, outer = (radius - r) / soft, (radius + r) / soft
        lobes = np.exp(-(inner**2) / 2) - np.exp(-(outer**2) / 2)
        return (erf(inner / 2**0.5) + erf(outer / 2**0.5)) / 2 - soft / (r * (2 * np.pi) ** 0.5) * lobes

    def transform(q: np.ndarray) -> np.ndarray:
        x = np.maximum(q * radius, 1e-4)
        return 4 * np.pi * radius**3 * (np.sin(x) - x * np.cos(x)) / x**3 * np.exp(-((soft * q) ** 2) / 2)

    return density, transform


def box(sides_m: tuple[float, float, float], turned: np.ndarray, soft_m: float) -> Callable[[Places], np.ndarray]:
    """A box whose edges are the columns of a rotation, with faces blurred by a Gaussian."""

    def density(r: Places) -> np.ndarray:
        made = np.ones(r.shape[:-1])
        for axis, side in enumerate(sides_m):
            along = r @ turned[:, axis]
            made = made * (erf((side / 2 - along) / soft_m / 2**0.5) + erf((side / 2 + along) / soft_m / 2**0.5)) / 2
        return made

    return density
