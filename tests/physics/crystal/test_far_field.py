"""The geometry of a rocking curve, against transforms in closed form and against xrayutilities."""

import math

import numpy as np
import pytest

import made_crystals as made
from exitwave.physics.crystal.curvature import curvature_px, scattering_vectors

BEAMLINES = ("34-ID-C", "ID01", "P10")


def ellipsoid(radii_m: tuple[float, float, float], radius: float, soft: float):
    """A soft ball stretched along the laboratory's axes, and its transform, of the laboratory's q."""
    density, transform = made.soft_ball(radius, soft)
    stretch = np.array(radii_m) / radius

    def at(r):
        return density(np.linalg.norm(r / stretch, axis=-1))

    def of_q(q):
        return np.prod(stretch) * transform(np.linalg.norm(q * stretch, axis=-1))

    return at, of_q


@pytest.mark.parametrize("beamline", BEAMLINES)
def test_the_pattern_of_a_sampled_crystal_is_its_transform_at_the_q_of_each_voxel(beamline):
    curve = made.curve(beamline)
    density, transform = ellipsoid((70e-9, 90e-9, 55e-9), 70e-9, 11e-9)
    strain = 5e-4
    along = curve.scattering_vector / np.linalg.norm(curve.scattering_vector)
    crystal = made.sampled(curve, density, lambda r: strain * (r @ along))
    wave = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(crystal.object.numpy().astype(complex))))
    wave *= abs(np.linalg.det(curve.direct_basis_m))
    offsets = made.places_px(curve)
    q = offsets @ curve.reciprocal_basis.T
    # Stretched along Q, so that its peak lies at smaller q by that share.
    expected = transform(q + strain * curve.scattering_vector)
    assert np.abs(wave - expected).max() < 2e-3 * np.abs(expected).max()
    # And on the Ewald sphere, where the detector really is: near the peak the straight grid is as good.
    near = np.linalg.norm(offsets, axis=-1) < 6
    exact = scattering_vectors(curve, offsets[near]) - curve.scattering_vector
    found = transform(exact + strain * curve.scattering_vector)
    assert np.abs(found - wave[near]).max() < 0.02 * np.abs(expected).max()


def test_a_straight_grid_is_the_worse_the_larger_the_curve_is():
    small, large = (curvature_px(made.curve(shape=(n, n, n))) for n in (16, 64))
    # A sphere departs from its tangent plane by the square of the distance.
    assert large == pytest.approx(16 * small, rel=0.1)
    q = scattering_vectors(made.curve(), np.zeros((1, 3)))[0]
    np.testing.assert_allclose(q, made.curve().scattering_vector)


@pytest.mark.parametrize("beamline", BEAMLINES)
def test_q_of_every_voxel_is_that_of_xrayutilities(beamline):
    xu = pytest.importorskip("xrayutilities", reason="the oracle xrayutilities (GPL) is not installed")
    curve = made.curve(beamline, (9, 8, 10))
    circles, geometry = curve.diffraction.diffractometer, curve.geometry
    conversion = xu.QConversion(
        [c.axis for c in circles.sample_circles],
        [c.axis for c in circles.detector_circles],
        (0, 0, 1),
        wl=geometry.wavelength_m * 1e10,
    )
    (row, column), (height, width) = curve.diffraction.direct_beam_px, geometry.detector_pixel_m
    conversion.init_area(
        circles.rows,
        circles.columns,
        cch1=4 + row,
        cch2=5 + column,
        Nch1=8,
        Nch2=10,
        distance=geometry.distance_m,
        pwidth1=height,
        pwidth2=width,
    )
    angles = [np.full(9, math.degrees(a)) for a in curve.diffraction.sample_angles_rad]
    angles[curve.diffraction.rocked_circle] = np.degrees(curve.angles_rad.numpy())
    arms = [np.full(9, math.degrees(a)) for a in curve.diffraction.detector_angles_rad]
    x, y, z = conversion.area(*angles, *arms, deg=True)
    of_sample = np.stack([z, y, x], axis=-1) * 1e10
    standing = curve.posed.sample_rotation(float(curve.angles_rad[4]))
    offsets = made.places_px(curve)
    ours = scattering_vectors(curve, offsets.reshape(-1, 3)).reshape(of_sample.shape)
    np.testing.assert_allclose(ours, of_sample @ standing.T, atol=1e-6 * np.linalg.norm(curve.scattering_vector))
