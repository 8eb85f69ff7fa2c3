"""Crystals of known shape and orientation, through the oblique array of a rocking curve and back to the laboratory."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import exitwave as ew
import made_crystals as made
from exitwave.data.bragg_geometry import direction, rotation
from exitwave.physics.crystal.laboratory import turn_onto

TURNED = rotation(np.array([0.48, 0.6, 0.64]), 0.7)


def places_of(crystal: ew.LaboratoryCrystal) -> np.ndarray:
    return np.stack(np.meshgrid(*(crystal.axis_m(axis) for axis in range(3)), indexing="ij"), axis=-1)


@pytest.mark.parametrize("beamline", ["34-ID-C", "ID01", "P10"])
def test_shape_place_and_strain_come_back_from_the_oblique_array(beamline):
    curve = made.curve(beamline)
    density = made.box((140e-9, 110e-9, 90e-9), TURNED, 8e-9)
    along = curve.scattering_vector / np.linalg.norm(curve.scattering_vector)
    across = np.cross(along, TURNED[:, 0])
    away = np.array([17e-9, -8e-9, 12e-9])
    crystal = made.sampled(curve, lambda r: density(r - away), lambda r: 2e4 * (r @ along) * ((r - away) @ across))
    found = ew.crystal_in_laboratory(crystal)
    # Counted from the centre of the crystal, wherever it stood; linear interpolation rounds the edges.
    r = places_of(found)
    true = density(r)
    assert np.sqrt(np.mean((found.amplitude - true)[true > 0.02] ** 2)) < 0.06
    iou = (found.support & (true > 0.3)).sum() / (found.support | (true > 0.3)).sum()
    assert iou > 0.94
    inner = made.box((100e-9, 70e-9, 50e-9), TURNED, 1e-9)(r) > 0.5
    # The mean lattice has no strain, so that a part that is the same everywhere is free.
    wrong = (found.strain - 2e4 * (r @ across))[inner]
    assert np.abs(wrong - wrong.mean()).max() < 2e-5
    assert np.isfinite(found.strain[found.support]).all()
    assert np.isnan(found.strain[~found.support]).all()
    assert found.object[found.middle] != 0


def test_size_is_right_to_a_fraction_of_a_voxel():
    curve = made.curve()
    upright = np.eye(3)
    box = ew.crystal_size(made.sampled(curve, made.box((150e-9, 120e-9, 100e-9), upright, 6e-9)))
    np.testing.assert_allclose(box.extents_m, (150e-9, 120e-9, 100e-9), atol=6e-9)
    assert box.volume_m3 == pytest.approx(150e-9 * 120e-9 * 100e-9, rel=0.05)
    density, _ = made.soft_ball(70e-9, 6e-9)
    ball = ew.crystal_size(made.sampled(curve, lambda r: density(np.linalg.norm(r, axis=-1))))
    assert ball.diameter_m == pytest.approx(140e-9, rel=0.03)
    assert ball.along_q_m == pytest.approx(140e-9, abs=8e-9)
    assert 0 < ball.diameter_spread_m < 12e-9


def test_the_spread_of_a_size_counts_other_reconstructions():
    curve = made.curve()
    small, large = (made.sampled(curve, made.box((size, 120e-9, 100e-9), np.eye(3), 6e-9)) for size in (120e-9, 150e-9))
    one, both = ew.crystal_size([small]), ew.crystal_size([small, large])
    assert both.extents_m[0] == pytest.approx(135e-9, abs=8e-9)
    assert both.extents_spread_m[0] > one.extents_spread_m[0] + 10e-9
    assert "nm along Q" in repr(both)
    with pytest.raises(ew.InputError, match="no crystal"):
        ew.crystal_size([])


@pytest.mark.parametrize("axis", ["x+", "y+", "z-"])
def test_a_crystal_can_be_turned_so_that_q_is_an_axis(axis):
    curve = made.curve()
    along = curve.scattering_vector / np.linalg.norm(curve.scattering_vector)
    # A needle along Q.
    turned = np.linalg.qr(np.column_stack([along, np.eye(3)[:, :2]]))[0]
    crystal = made.sampled(curve, made.box((170e-9, 70e-9, 70e-9), turned, 6e-9), lambda r: 1e11 * (r @ along) ** 3)
    found = ew.crystal_in_laboratory(crystal, q_along=axis)
    np.testing.assert_allclose(found.q_direction, direction(axis), atol=1e-9)
    size = ew.crystal_size(found)
    long = "zyx".index(axis[0])
    assert size.extents_m[long] == pytest.approx(170e-9, abs=8e-9)
    assert max(size.extents_m[k] for k in range(3) if k != long) < 110e-9
    r = places_of(found)
    inner = made.box((120e-9, 30e-9, 30e-9), turn_onto(along, direction(axis)) @ turned, 1e-9)(r) > 0.5
    wrong = (found.strain - 3e11 * (r @ direction(axis)) ** 2)[inner]
    assert np.abs(wrong - wrong.mean()).max() < 4e-5


def test_the_smallest_turn_onto_an_axis():
    rng = np.random.default_rng(3)
    for vector in (*rng.normal(size=(5, 3)), direction("y+"), direction("y-")):
        turn = turn_onto(vector, direction("y+"))
        np.testing.assert_allclose(turn @ vector, np.linalg.norm(vector) * direction("y+"), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)
        cosine = vector @ direction("y+") / np.linalg.norm(vector)
        assert (np.trace(turn) - 1) / 2 == pytest.approx(cosine, abs=1e-12)


def test_amplitude_is_not_dimmed_where_the_phase_is_steep_or_wraps():
    curve = made.curve()
    density, _ = made.soft_ball(75e-9, 6e-9)
    q = curve.scattering_vector
    across = np.cross(q, [0.0, 1.0, 0.0]) / np.linalg.norm(np.cross(q, [0.0, 1.0, 0.0]))
    crystal = made.sampled(
        curve, lambda r: density(np.linalg.norm(r, axis=-1)), lambda r: 1e5 * (r @ q) / np.linalg.norm(q) * (r @ across)
    )
    found = ew.crystal_in_laboratory(crystal)
    inner = np.linalg.norm(places_of(found), axis=-1) < 55e-9
    assert found.amplitude[inner].min() > 0.9
    assert np.ptp(found.phase[inner]) > 1.9 * math.pi


def test_voxels_are_as_fine_as_the_finest_axis_or_as_asked_for():
    crystal = made.sampled(made.curve(), made.box((140e-9, 110e-9, 90e-9), TURNED, 8e-9))
    found = ew.crystal_in_laboratory(crystal)
    heights = 1 / np.linalg.norm(np.linalg.inv(crystal.basis_m.numpy()), axis=1)
    assert 0.9 * heights.min() < found.voxel_m <= heights.min()
    coarse = ew.crystal_in_laboratory(crystal, voxel_m=15e-9)
    assert coarse.voxel_m == 15e-9
    assert "15 nm" in repr(coarse)
    for wrong in (1e-12, 1e-6, -1e-9, float("nan"), 10.0):
        with pytest.raises(ew.InputError, match="voxels of"):
            ew.crystal_in_laboratory(crystal, voxel_m=wrong)


def test_any_precision_and_device_order_of_an_estimate_will_do():
    crystal = made.sampled(made.curve(), made.box((140e-9, 110e-9, 90e-9), TURNED, 8e-9))
    double = replace(crystal, object=crystal.object.to(torch.complex128), basis_m=crystal.basis_m.float())
    first, second = ew.crystal_in_laboratory(crystal), ew.crystal_in_laboratory(double)
    np.testing.assert_allclose(first.object, second.object, atol=2e-3)
