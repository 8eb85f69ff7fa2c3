"""Displacement, strain and lattice of crystals whose displacement is known by formula."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import exitwave as ew
import made_crystals as made
from exitwave.data.bragg_geometry import rotation
from exitwave.physics.crystal.phase import mean_phase_step, sloped
from exitwave.physics.fourier import conjugate_inverse

CURVE = made.curve()
Q = CURVE.scattering_vector
ALONG = Q / np.linalg.norm(Q)
ACROSS = np.cross(ALONG, [0.0, 1.0, 0.0]) / np.linalg.norm(np.cross(ALONG, [0.0, 1.0, 0.0]))
SPACING_M = 2 * math.pi / float(np.linalg.norm(Q))


def ball(radius_m=75e-9, soft_m=4e-9):
    density, _ = made.soft_ball(radius_m, soft_m)
    return lambda r: density(np.linalg.norm(r, axis=-1))


def bent(per_m: float):
    """Lattice planes bent about an axis: strain `per_m` times the distance across Q."""
    return lambda r: per_m * (r @ ALONG) * (r @ ACROSS)


@pytest.mark.parametrize("strain", [-3e-3, 1e-3, 8e-3])
def test_uniform_strain_changes_the_lattice_and_is_even_in_it(strain):
    crystal = made.sampled(CURVE, ball(), lambda r: strain * (r @ ALONG))
    found = ew.strain(crystal)
    assert np.nanmax(np.abs(found)) < 2e-5
    edge, unstrained = (ew.lattice_parameter_m(x, (1, 1, 1)) for x in (crystal, made.sampled(CURVE, ball())))
    assert unstrained == pytest.approx(SPACING_M * 3**0.5)
    # The wave vector shrinks by 1 - strain, the lattice grows by 1 / (1 - strain).
    assert edge / unstrained - 1 == pytest.approx(strain / (1 - strain), abs=1e-5)


def test_a_stretched_crystal_has_its_peak_at_smaller_q():
    crystal = made.sampled(CURVE, ball(), lambda r: 2e-3 * (r @ ALONG))
    intensity = np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(crystal.object.numpy())))) ** 2
    centre = np.tensordot(intensity, made.places_px(CURVE), axes=3) / intensity.sum()
    np.testing.assert_allclose(CURVE.reciprocal_basis @ centre, -2e-3 * Q, atol=1e-5 * np.linalg.norm(Q))


def test_a_bent_lattice_is_found_and_outside_nothing_is():
    crystal = made.sampled(CURVE, ball(), bent(2e4))
    found, r = ew.strain(crystal), made.places_m(CURVE)
    inner = np.linalg.norm(r, axis=-1) < 60e-9
    np.testing.assert_allclose(found[inner], (2e4 * (r @ ACROSS))[inner], atol=3e-5)
    assert np.isnan(found[np.linalg.norm(r, axis=-1) > 85e-9]).all()
    shown = ew.displacement_m(crystal)
    np.testing.assert_allclose(shown[inner], bent(2e4)(r)[inner], atol=2e-13)


def test_where_a_neighbour_is_missing_the_other_one_tells_the_strain():
    crystal = made.sampled(CURVE, ball(), bent(2e4))
    found, region = ew.strain(crystal), crystal.object.abs().numpy() > 0.35
    assert np.isfinite(found[region]).all()
    # A one-sided difference is right half a voxel away.
    wrong = found - 2e4 * (made.places_m(CURVE) @ ACROSS)
    assert np.nanmax(np.abs(wrong[region])) < 2e4 * np.linalg.norm(CURVE.direct_basis_m, axis=0).max()


def test_slope_and_offset_of_the_phase_are_nobodys_strain():
    crystal = made.sampled(CURVE, ball(), bent(2e4))
    step = np.array([2.5, -1.3, 0.4])
    turned = sloped(crystal.object.numpy(), step) * np.exp(2j)
    tilted = replace(crystal, object=torch.from_numpy(turned.astype(np.complex64)))
    # But for the 1 % by which so steep a slope changes Q itself.
    np.testing.assert_allclose(ew.strain(tilted), ew.strain(crystal), atol=2e-5)
    np.testing.assert_allclose(ew.displacement_m(tilted), ew.displacement_m(crystal), atol=1e-12)
    flat = made.sampled(CURVE, ball()).object.numpy().astype(complex)
    np.testing.assert_allclose(mean_phase_step(sloped(flat, step), np.abs(flat) > 0.3), step, atol=1e-6)


def test_turning_the_whole_laboratory_changes_no_strain():
    crystal = made.sampled(CURVE, ball(), bent(2e4))
    turn = torch.from_numpy(rotation(np.array([0.6, 0.0, 0.8]), 1.1))
    turned = replace(crystal, basis_m=turn @ crystal.basis_m, scattering_vector=turn @ crystal.scattering_vector)
    np.testing.assert_allclose(ew.strain(turned), ew.strain(crystal), atol=1e-9)
    there, here = ew.crystal_size(turned), ew.crystal_size(crystal)
    assert there.along_q_m == pytest.approx(here.along_q_m, abs=10e-9)
    assert there.volume_m3 == pytest.approx(here.volume_m3, rel=0.02)


def test_the_twin_has_the_same_strain_mirrored():
    crystal = made.sampled(
        CURVE, lambda r: ball()(r + 10e-9 * ACROSS), lambda r: bent(2e4)(r) + 1e12 * (r @ ALONG) ** 3
    )
    twin = replace(crystal, object=conjugate_inverse(crystal.object).resolve_conj())
    mirrored = np.roll(ew.strain(crystal)[::-1, ::-1, ::-1], (1, 1, 1), (0, 1, 2))
    np.testing.assert_allclose(ew.strain(replace(twin, support=twin.object.abs() > 0.02)), mirrored, atol=2e-7)


def test_a_phase_beyond_a_turn_needs_no_unwrapping():
    crystal = made.sampled(CURVE, ball(), bent(1e5))
    found, r = ew.strain(crystal), made.places_m(CURVE)
    inner = np.linalg.norm(r, axis=-1) < 60e-9
    np.testing.assert_allclose(found[inner], (1e5 * (r @ ACROSS))[inner], atol=1e-4)
    span = np.ptp((bent(1e5)(r) * np.linalg.norm(Q))[inner])
    assert span > 2.5 * math.pi


def test_an_empty_crystal_and_a_senseless_level_are_refused():
    crystal = made.sampled(CURVE, ball())
    with pytest.raises(ew.InputError, match="empty"):
        ew.strain(replace(crystal, object=0 * crystal.object))
    with pytest.raises(ew.InputError, match="level of the surface"):
        ew.strain(crystal, level=30.0)
    flat = ew.SupportEstimate(object=crystal.object, support=crystal.support, beam_photons=crystal.beam_photons)
    with pytest.raises(ew.InputError, match="SupportEstimate is no crystal"):
        ew.strain(ew.Result(estimate=flat, geometry=CURVE.geometry, object_pixel_m=(1e-9,) * 3, spec={}, residual=0.1))
    with pytest.raises(ew.InputError, match="000"):
        ew.lattice_parameter_m(crystal, (0, 0, 0))
