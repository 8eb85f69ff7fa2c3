"""Geometry of a rocking curve against closed forms."""

import math

import numpy as np
import pytest
import torch

import exitwave as ew
from exitwave.data.bragg_geometry import direction, rotation

GEOMETRY = ew.Geometry.from_energy(9000, 0.5, (55e-6, 55e-6))


def two_circles(theta_rad: float = 0.3) -> ew.BraggGeometry:
    """A crystal rocked about the horizontal axis, the detector lifted in the vertical plane."""
    made = ew.Diffractometer(
        name="two circles",
        sample_circles=(ew.Circle(name="theta", axis="x-"),),
        detector_circles=(ew.Circle(name="tth", axis="x-"),),
    )
    return ew.BraggGeometry(
        diffractometer=made, sample_angles_rad=(theta_rad,), detector_angles_rad=(2 * theta_rad,), rocked="theta"
    )


def test_the_three_axes_are_right_handed():
    for first, second, third in (("x+", "y+", "z+"), ("y+", "z+", "x+"), ("z+", "x+", "y+")):
        turned = rotation(direction(first), math.pi / 2) @ direction(second)
        np.testing.assert_allclose(turned, direction(third), atol=1e-12)


def test_the_scattering_vector_has_the_length_of_braggs_law():
    q = two_circles().scattering_vector(GEOMETRY)
    assert np.linalg.norm(q) == pytest.approx(4 * math.pi / GEOMETRY.wavelength_m * math.sin(0.3))
    # Half way between reversed incident and scattered beam: up, and against the beam.
    assert q[1] > 0 > q[0]
    assert q[2] == pytest.approx(0, abs=1)


def test_the_reciprocal_basis_is_what_neighbouring_voxels_differ_by():
    bragg, step = two_circles(), 1e-5
    basis = bragg.reciprocal_basis(GEOMETRY, step)
    q = bragg.scattering_vector(GEOMETRY)
    incident = 2 * math.pi / GEOMETRY.wavelength_m * direction("z+")
    for column, (row, col) in ((1, (1e-3, 0)), (2, (0, 1e-3))):
        moved = bragg.scattered(GEOMETRY, np.array(row), np.array(col)) - incident - q
        np.testing.assert_allclose(moved / 1e-3, basis[:, column], rtol=1e-5, atol=1)
    # The crystal turned on by a step sees the same beam turned back.
    turned = rotation(bragg.rocking_axis(), step).T @ q
    np.testing.assert_allclose(turned - q, basis[:, 0], rtol=1e-4, atol=1e3)


def test_direct_and_reciprocal_basis_are_dual():
    bragg, shape = two_circles(), (40, 50, 60)
    direct = bragg.direct_basis_m(GEOMETRY, 1e-4, shape)
    dual = direct.T @ bragg.reciprocal_basis(GEOMETRY, 1e-4) @ np.diag(shape)
    np.testing.assert_allclose(dual, 2 * math.pi * np.eye(3), atol=1e-9)


def test_a_circle_that_does_not_move_the_crystal_through_its_peak_is_refused():
    made = ew.Diffractometer(
        name="wrong", sample_circles=(ew.Circle(name="spin", axis="z+"),), detector_circles=(), rows="y-", columns="x+"
    )
    bragg = ew.BraggGeometry(diffractometer=made, sample_angles_rad=(0.0,), detector_angles_rad=(), rocked="spin")
    with pytest.raises(ew.InputError, match="third dimension"):
        bragg.direct_basis_m(GEOMETRY, 1e-4, (10, 10, 10))


def test_a_rocking_curve_knows_its_voxel_by_all_three_lengths():
    curve = ew.RockingCurve(
        patterns=torch.ones(20, 16, 18),
        geometry=GEOMETRY,
        angles_rad=0.3 + 1e-4 * torch.arange(20, dtype=torch.float64),
        diffraction=two_circles(),
    )
    pixel_y, pixel_x = GEOMETRY.object_pixel_m((16, 18))
    # The detector is square to the scattered beam, the rocking axis lies along its rows.
    assert curve.object_pixel_m[2] == pytest.approx(pixel_x, rel=1e-6)
    assert curve.object_pixel_m[1] > pixel_y
    assert curve.step_rad == pytest.approx(1e-4)
    assert curve.posed.sample_angles_rad[0] == pytest.approx(0.301)
    assert len(curve.some(torch.arange(5))) == 5


def test_angles_that_do_not_fit_the_frames_are_refused():
    with pytest.raises(ew.InputError, match="angle of the rocked circle"):
        ew.RockingCurve(
            patterns=torch.ones(9, 8, 8), geometry=GEOMETRY, angles_rad=torch.zeros(8), diffraction=two_circles()
        )
    with pytest.raises(ew.InputError, match="rocked circle"):
        ew.BraggGeometry(
            diffractometer=two_circles().diffractometer,
            sample_angles_rad=(0.1,),
            detector_angles_rad=(0.2,),
            rocked="tth",
        )
