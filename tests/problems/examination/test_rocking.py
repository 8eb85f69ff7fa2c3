"""Rocking curves are examined: what is wrong is cured or named, what is healthy stays as it is."""

import math
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from crystals import crystal, curve, pattern, q_of
from exitwave.data.aliens import aliens
from exitwave.data.errors import InputError
from exitwave.data.finding import Finding
from exitwave.data.rocking_curve import RockingCurve
from exitwave.data.volume import oversampling, peak_voxel, volume
from exitwave.problems.examination import Examination, examine, rocking
from exitwave.problems.inspection import RockingInspection, inspect
from exitwave.problems.setup import Setup
from exitwave.running.examined import examined
from made_measurements import made_pattern


def found(examination: Examination, action: str) -> dict[str, Finding]:
    return {each.name: each for each in examination.findings if each.action == action}


def cured(measured: RockingCurve) -> RockingCurve:
    result = examine(measured).measurement
    assert isinstance(result, RockingCurve)
    return result


@pytest.mark.parametrize("form", ["box", "ball", "octahedron"])
@pytest.mark.parametrize("photons", [1e5, 3e6, 1e8])
def test_healthy_curves_stay_the_very_same(form, photons):
    measured = curve(pattern(crystal(form=form), photons))
    examination = examine(measured)
    assert examination.findings == ()
    torch.testing.assert_close(examination.measurement.frames(slice(None)), measured.frames(slice(None)))
    assert bool(cured(measured).trusted.all())


@pytest.mark.parametrize("strain", [1.0, 3.0])
def test_strained_crystals_have_no_aliens(strain):
    measured = curve(pattern(crystal((40, 48, 48), (11.0, 13.0, 12.0), strain=strain)))
    assert not found(examine(measured), "cured")
    assert not found(examine(measured), "refused")


def test_counts_without_noise_or_in_other_units_raise_no_alarm():
    assert examine(curve(seed=None)).findings == ()
    measured = curve()
    scaled = replace(measured, patterns=measured.frames(slice(None)) * 37.0)
    assert examine(scaled).findings == ()


def with_alien(photons: float = 8000.0) -> tuple[RockingCurve, torch.Tensor]:
    """A curve with the light of another crystal in a corner, and where it is."""
    counts = pattern(crystal((48, 64, 64), (16.0, 20.0, 22.0)), 1e7)
    rulers = np.meshgrid(*[np.arange(n) - at for n, at in zip(counts.shape, (38, 12, 50), strict=True)], indexing="ij")
    blob = np.exp(-np.sum(np.square(rulers), axis=0) / (2 * 2.0**2))
    return curve(counts + photons * blob / blob.sum(), background=0.01), torch.tensor(blob > 0.3)


def test_aliens_are_distrusted_and_the_crystal_is_not():
    measured, place = with_alien()
    examination = examine(measured)
    assert "aliens" in found(examination, "cured")
    trusted = examination.measurement.trusted
    assert not bool(trusted[place].any())
    scaled = replace(measured, patterns=measured.frames(slice(None)) / 1e4)
    assert torch.equal(examine(scaled).measurement.trusted, trusted)
    near = pattern(crystal((48, 64, 64), (16.0, 20.0, 22.0)), 1e7) > 2
    assert float(trusted[torch.tensor(near)].float().mean()) > 0.995
    assert examination.masked["aliens"] == int((~trusted).sum())


def test_aliens_are_kept_on_demand():
    measured, _ = with_alien()
    kept = examine(measured, keep_aliens=True)
    assert "aliens" not in found(kept, "cured")
    assert bool(kept.measurement.trusted.all())


def test_a_background_is_set_to_zero_and_stays_on_demand():
    measured = curve(pattern(crystal((48, 64, 64), (12.0, 14.0, 16.0)), 1e7), background=0.5)
    examination = examine(measured)
    assert "noise" in found(examination, "cured")
    counts, before = volume(examination.measurement), volume(measured)
    assert float((counts > 0).float().mean()) < 0.5 * float((before > 0).float().mean())
    assert float(counts.sum()) > 0.95 * 1e7
    assert "noise" not in found(examine(measured, noise_threshold=0), "cured")
    stated = volume(examine(measured, noise_threshold=5).measurement)
    assert float(stated[stated > 0].min()) == 5


def test_frames_come_in_the_order_of_their_angles():
    measured = curve()
    shuffled = measured.some(torch.randperm(32, generator=torch.Generator().manual_seed(1)))
    examination = examine(shuffled)
    assert "unsorted-angles" in found(examination, "cured")
    torch.testing.assert_close(examination.measurement.frames(slice(None)), measured.frames(slice(None)))
    torch.testing.assert_close(examination.measurement.angles_rad, measured.angles_rad)


def test_missing_and_repeated_angles_are_put_right():
    measured = curve()
    order = torch.tensor([*range(10), 10, 10, *range(12, 32)])
    examination = examine(measured.some(order))
    assert {"missing-angles", "repeated-angles"} <= set(found(examination, "cured"))
    trusted = examination.measurement.trusted.flatten(1).any(dim=1)
    assert trusted.logical_not().nonzero().flatten().tolist() == [11]
    torch.testing.assert_close(examination.measurement.angles_rad, measured.angles_rad)


def test_frames_left_out_leave_untrusted_ones():
    examination = examine(curve(), drop_frames=(7, 8))
    assert "missing-angles" in found(examination, "cured")
    trusted = examination.measurement.trusted.flatten(1).any(dim=1)
    assert trusted.logical_not().nonzero().flatten().tolist() == [7, 8]


def test_uneven_angles_are_refused():
    measured = replace(curve(), angles_rad=torch.tensor(np.radians(0.01 * np.arange(32.0) ** 1.4)))
    assert "uneven-angles" in found(examine(measured), "refused")


def test_frames_of_one_angle_are_refused():
    measured = replace(curve(), angles_rad=torch.full((32,), 0.1, dtype=torch.float64))
    assert "same-angle" in found(examine(measured), "refused")
    assert "would be refused" in " ".join(inspect(measured).suspicious)


def test_an_empty_curve_is_examined_and_refused_later():
    measured = replace(curve(), patterns=torch.zeros(32, 40, 48))
    assert examine(measured).findings == ()
    assert inspect(measured).peak_counts == 0


@pytest.mark.parametrize("factor", [180 / math.pi, math.pi / 180 / 10])
def test_angles_in_the_wrong_unit_are_refused(factor):
    measured = curve(step_deg=0.03)
    wrong = replace(measured, angles_rad=measured.angles_rad * factor)
    assert "unit" in found(examine(wrong), "refused")["angle-unit"].line


def test_dark_frames_in_the_midst_of_light_float():
    frames = curve().frames(slice(None)).clone()
    frames[15] = 0
    examination = examine(replace(curve(), patterns=frames))
    assert found(examination, "cured")["empty-frames"].message.endswith("15")
    assert not bool(examination.measurement.trusted[15].any())
    assert bool(examine(replace(curve(), patterns=frames), keep_frames=(15,)).measurement.trusted[15].all())


def test_frames_are_scaled_by_a_monitor_that_varied():
    counts = pattern(crystal())
    beam = np.linspace(0.8, 1.2, len(counts))
    measured = replace(
        curve(counts * beam[:, None, None], seed=None), monitor=torch.tensor(1e4 * beam, dtype=torch.float32)
    )
    examination = examine(measured)
    assert "varying-beam" in found(examination, "cured")
    torch.testing.assert_close(
        volume(examination.measurement), torch.tensor(counts, dtype=torch.float32), rtol=1e-4, atol=1e-4
    )
    wild = replace(measured, monitor=torch.cat([torch.tensor([1.0]), torch.full((31,), 100.0)]))
    assert "wild-monitor" in found(examine(wild), "warned")


def test_hot_pixels_gaps_and_cosmic_rays_float():
    frames = curve(background=0.5).frames(slice(None)).clone()
    frames[:, 7, 9] = 5000.0
    frames[:, 30:32] = 0
    frames[4, 12, 40] = 3000.0
    examination = examine(replace(curve(), patterns=frames))
    assert {"hot-pixels", "gaps", "wild-voxels"} <= set(found(examination, "cured")) | {
        "hot-pixels" if name == "stuck-pixels" else name for name in found(examination, "cured")
    }
    trusted = examination.measurement.trusted
    assert not bool(trusted[:, 7, 9].any() | trusted[:, 30:32].any() | trusted[4, 12, 40])
    assert bool(trusted[5, 12, 40])


def test_the_peak_comes_to_the_middle_with_its_scattering_vector():
    measured = curve(np.roll(pattern(crystal((40, 48, 48), (11.0, 13.0, 12.0))), (5, -6, 7), (0, 1, 2)))
    old = (25, 18, 31)
    examination = examine(measured)
    assert "cut-around-peak" in found(examination, "cured")
    counts = volume(examination.measurement)
    middle = [n // 2 for n in counts.shape]
    assert peak_voxel(counts, examination.measurement.trusted) == tuple(middle)
    np.testing.assert_allclose(q_of(examination.measurement, middle), q_of(measured, old), rtol=1e-12, atol=1e-3)


def test_large_arrays_are_cut_to_the_pattern(monkeypatch):
    monkeypatch.setattr(rocking, "SMALL", 2**16)
    monkeypatch.setattr(rocking, "USUAL", 2**17)
    inner = pattern(crystal((32, 40, 48)), 1e6)
    outer = np.pad(inner, ((20, 13), (50, 31), (22, 41)))
    examination = examine(curve(outer))
    counts = volume(examination.measurement)
    assert counts.numel() < 1.3 * inner.size
    assert all(n % 2 == 0 for n in counts.shape)
    assert float(counts.sum()) > 0.998 * float(volume(curve(outer)).sum())
    assert peak_voxel(counts, examination.measurement.trusted) == tuple(n // 2 for n in counts.shape)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_peak_at_the_edge_is_refused(axis):
    counts = pattern(crystal((48, 48, 48), (10.0, 12.0, 11.0)))
    kept = [slice(None)] * 3
    kept[axis] = slice(23, None)
    assert "peak-at-edge" in found(examine(curve(counts[tuple(kept)])), "refused")


def test_a_rocking_curve_shorter_than_the_peak_is_refused():
    counts = pattern(crystal((64, 40, 48), (6.0, 10.0, 12.0)))
    assert "peak-cut-off" in found(examine(curve(counts[28:37])), "refused")


def test_a_curve_without_its_outer_fringes_is_warned_of():
    counts = pattern(crystal((64, 40, 48), (6.0, 10.0, 12.0), form="box"))
    assert "cut-short" in found(examine(curve(counts[25:40])), "warned")


def test_a_second_crystal_as_strong_is_refused():
    counts = pattern(crystal((48, 64, 64), (14.0, 16.0, 16.0)))
    second = np.roll(counts, (14, -20, 19), (0, 1, 2)) * 0.6
    assert "two-peaks" in found(examine(curve(counts + second)), "refused")


def test_a_saturated_peak_is_refused_with_a_level_that_helps():
    expected = pattern(crystal((48, 56, 56), (8.0, 9.0, 9.0)), 3e7)
    full = np.minimum(curve(expected).frames(slice(None)).numpy(), 0.4 * expected.max())
    measured = curve(full, seed=None)
    refusal = found(examine(measured), "refused")["saturated-peak"]
    assert refusal.options[1].startswith("mask_saturated=")
    from exitwave.data.prepare.steps import prepared

    helped = prepared(measured, (refusal.options[1],))
    assert "saturated-peak" not in found(examine(helped), "refused")


@pytest.mark.parametrize(("size", "action"), [(18.5, "warned"), (27.0, "refused")])
def test_fringes_sampled_too_coarsely_are_named(size, action):
    measured = curve(pattern(crystal((32, 40, 48), (size, 10.0, 12.0), form="box")))
    assert "frames" in found(examine(measured), action)["undersampled"].message


def test_options_of_rocking_curves_are_refused_for_other_kinds():
    with pytest.raises(InputError, match="noise_threshold and keep_aliens"):
        examine(made_pattern(1e5), noise_threshold=3, keep_aliens=True)
    with pytest.raises(InputError, match="keep_aliens"):
        examined(made_pattern(1e5), Setup(keep_aliens=True, as_is=True))
    with pytest.raises(InputError, match="noise_threshold"):
        examined(cured(curve()), Setup(noise_threshold=2))


def test_info_tells_peak_sampling_and_lattice():
    measured = curve()
    told = inspect(measured)
    assert isinstance(told, RockingInspection)
    assert told.peak == (16, 20, 24)
    assert told.sampled == oversampling(volume(measured), measured.trusted)
    assert math.isclose(told.spacing_m * told.q_per_m, 2 * math.pi)
    assert told.suspicious == ()
    assert math.isclose(math.degrees(told.range_rad), 0.31, rel_tol=1e-6)
    assert "lattice planes" in repr(told)


def test_info_describes_what_would_be_refused():
    few = curve().some(torch.arange(13, 19))
    assert any("would be refused" in line for line in inspect(few).suspicious)


MEASURED = Path(__file__).parents[4] / "shared" / "data" / "bcdi_au_34idc_S0054.h5"


@pytest.mark.skipif(not MEASURED.exists(), reason="the measured rocking curve is not there")
def test_the_one_alien_of_a_measured_crystal_is_found():
    # One blob of another crystal, which a person sees in the maximum over all columns, far from every streak.
    with h5py.File(MEASURED) as file:
        counts = torch.from_numpy(file["intensity"][40:, 30:226, 60:196].astype(np.float32))
        light = torch.from_numpy(file["whitefield"][30:226, 60:196])
    measured = replace(curve(), patterns=counts, angles_rad=torch.arange(161) * 1e-4, mask=light > 0.5 * light.median())
    places = [each.place for each in aliens(measured)]
    assert len(places) == 1
    assert np.abs(np.subtract(places[0], (124, 32, 42))).max() <= 3
