"""Made rocking curves: the law of diffraction at the angles as they are, photons, and what spoils them."""

import math

import numpy as np
import pytest
import torch

import exitwave as ew
from exitwave.simulation.rocking_flaws import blurred, diffracted

EXACT = ew.Detection(noise="none")
SIDE = 24


def made(seed: int = 1, detection: ew.Detection = EXACT, **told: object):
    usual = {"angles": SIDE, "peak_photons": 1e6}
    return ew.simulate_crystal(ew.RockingExperiment(**(usual | told)), frame_px=SIDE, detection=detection, seed=seed)


def frames(curve: ew.RockingCurve) -> torch.Tensor:
    return curve.frames(slice(None))


class TestLaw:
    def test_each_voxel_holds_what_the_crystal_scatters_there(self) -> None:
        """Summed over the crystal in the laboratory, with circles and detector where they stand: no basis, no FFT."""
        both = made(phase_span_rad=1.5)
        curve, truth = both.scan, both.truth
        index = truth.object.abs().nonzero().numpy()
        places_m = (index - SIDE // 2) @ truth.basis_m.numpy().T
        values = truth.object.numpy()[tuple(index.T)]
        posed, geometry = curve.diffraction, curve.geometry
        at_middle = posed.sample_rotation(float(curve.angles_rad[SIDE // 2]))
        incident = np.array([2 * math.pi / geometry.wavelength_m, 0.0, 0.0])
        patterns = frames(curve).numpy()
        random = np.random.default_rng(0)
        for frame, row, column in random.integers(SIDE // 2 - 5, SIDE // 2 + 6, (40, 3)):
            away = posed.scattered(geometry, np.array(row - SIDE // 2), np.array(column - SIDE // 2)) - incident
            turned = posed.sample_rotation(float(curve.angles_rad[frame])) @ at_middle.T
            q = turned.T @ away - truth.scattering_vector.numpy()
            wave = (values * np.exp(-1j * places_m @ q)).sum()
            photons = float(truth.beam_photons) * abs(wave) ** 2 / SIDE**3
            assert math.sqrt(patterns[frame, row, column]) == pytest.approx(math.sqrt(photons), abs=3.0)

    def test_the_truth_fits_exact_data(self) -> None:
        both = made()
        problem = ew.pose(both.scan)
        misfit, power = problem.misfits(both.truth)
        assert float(misfit.sum() / power.sum()) < 1e-8

    def test_without_strain_opposite_voxels_agree(self) -> None:
        pattern = frames(made(phase_span_rad=0.0).scan)[1:, 1:, 1:]
        torch.testing.assert_close(pattern, pattern.flip((0, 1, 2)), rtol=1e-3, atol=0.1)
        strained = frames(made(phase_span_rad=3.0).scan)[1:, 1:, 1:]
        assert float((strained - strained.flip((0, 1, 2))).abs().max()) > 0.01 * float(strained.max())

    def test_the_planes_are_those_of_gold(self) -> None:
        assert made().truth.spacing_m == pytest.approx(4.0782e-10 / math.sqrt(3))
        assert made(reflection=(2, 0, 0)).truth.spacing_m == pytest.approx(4.0782e-10 / 2)

    def test_compression_has_its_peak_at_larger_q(self) -> None:
        """A lattice compressed along Q by eps is displaced by -eps r, and reflects at |Q| (1 + eps)."""
        both = made(phase_span_rad=0.0)
        q, basis = both.truth.scattering_vector.numpy(), both.truth.basis_m.numpy()
        strain = 4e-4
        index = np.moveaxis(np.indices(both.truth.object.shape), 0, -1) - SIDE // 2
        displacement = -strain * (index @ basis.T)
        phase = torch.from_numpy(-(displacement @ q))
        pattern = diffracted(both.truth.object * torch.polar(torch.ones_like(phase), phase).to(torch.complex64))
        weights = pattern.numpy() / float(pattern.sum())
        centre = (weights[..., None] * index).reshape(-1, 3).sum(axis=0)
        moved = both.scan.reciprocal_basis @ centre
        assert moved @ q / (q @ q) == pytest.approx(strain, rel=0.1)


class TestSampling:
    def test_the_crystal_is_sampled_as_finely_as_asked_for(self) -> None:
        for oversampling in (2.5, 4.0):
            inside = made(oversampling=oversampling, seed=3).truth.object.abs() > 0.3
            widths = [int(inside.any(a).any(b).sum()) for a, b in ((2, 1), (2, 0), (1, 0))]
            assert widths[0] == pytest.approx(SIDE / oversampling, abs=1.5)
            assert max(widths[1:]) == pytest.approx(SIDE / oversampling, abs=1.5)

    def test_a_stated_size_is_kept(self) -> None:
        truth = made(size_m=250e-9, facets=8).truth
        inside = (truth.object.abs() > 0.3).nonzero().double() @ truth.basis_m.T
        widest = float(torch.cdist(inside, inside).max())
        assert widest == pytest.approx(250e-9, rel=0.2)

    def test_a_crystal_of_ones_own_is_measured(self) -> None:
        experiment = ew.RockingExperiment(angles=SIDE)
        geometry = ew.Geometry.from_energy(9000, 0.5, (55e-6, 55e-6))
        q = experiment.posed(geometry.wavelength_m).scattering_vector(geometry)
        own = ew.drawn_crystal(ew.CrystalSettings(facets=(6, 6)), np.random.default_rng(2), q).of_size(400e-9)
        both = ew.simulate_crystal(experiment, frame_px=SIDE, detection=EXACT, crystal=own)
        expected = own.sampled((SIDE,) * 3, both.truth.basis_m.numpy())
        torch.testing.assert_close(both.truth.object, expected)


class TestPhotons:
    def test_the_brightest_voxel_has_the_photons_asked_for(self) -> None:
        assert float(frames(made(peak_photons=2e5).scan).max()) == pytest.approx(2e5, rel=1e-5)

    def test_or_the_frames_have_them_in_the_mean(self) -> None:
        curve = made(peak_photons=None, detection=ew.Detection(noise="none", photons_per_frame=3e4)).scan
        assert float(frames(curve).sum(dim=(1, 2)).mean()) == pytest.approx(3e4, rel=1e-5)

    def test_intensities_are_counted_not_amplitudes(self) -> None:
        exact, counted = frames(made().scan), frames(made(detection=ew.Detection()).scan)
        bright = exact > 20
        spread = ((counted - exact).square() / exact)[bright]
        assert float(spread.mean()) == pytest.approx(1.0, abs=4 * math.sqrt(2 / int(bright.sum())))
        assert torch.equal(counted, counted.round())

    def test_a_beam_that_drifts_is_in_the_monitor(self) -> None:
        steady, drifting = made().scan, made(detection=ew.Detection(noise="none", drift=0.2)).scan
        assert drifting.monitor is not None
        assert float(drifting.monitor.max() - drifting.monitor.min()) > 0.1
        torch.testing.assert_close(frames(drifting), frames(steady) * drifting.monitor[:, None, None])


class TestFlaws:
    def test_partial_coherence_lowers_the_visibility_of_fringes(self) -> None:
        """A Gaussian of sigma voxels leaves exp(-2 (pi sigma / period)^2) of fringes of this period."""
        size, sigma = 40, 0.9
        for axis, period in ((0, 4), (1, 8), (2, 10)):
            row = [1, 1, 1]
            row[axis] = size
            fringes = 1 + torch.cos(2 * math.pi * torch.arange(size) / period).reshape(row).expand(size, size, size)
            widths = [0.0, 0.0, 0.0]
            assert torch.equal(blurred(fringes, (0.0, 0.0, 0.0)), fringes)
            widths[axis] = sigma
            found = blurred(fringes.contiguous(), (widths[0], widths[1], widths[2]))
            visibility = float((found.max() - found.min()) / (found.max() + found.min()))
            assert visibility == pytest.approx(math.exp(-2 * (math.pi * sigma / period) ** 2), rel=1e-3)

    def test_aliens_cross_the_detector_beside_the_peak(self) -> None:
        clean, spoilt = made(), made(aliens=2)
        added = frames(spoilt.scan) - frames(clean.scan)
        assert float(added.max()) > 0.01e6
        place = torch.unravel_index(added.argmax(), added.shape)
        assert max(abs(int(at) - SIDE // 2) for at in place) > 0.15 * SIDE
        assert int(frames(spoilt.scan).argmax()) == int(frames(clean.scan).argmax())
        assert torch.equal(spoilt.truth.object, clean.truth.object)

    def test_missing_angles_leave_the_others_as_they_were(self) -> None:
        whole, lacking = made().scan, made(missing_angles=3).scan
        assert len(lacking) == SIDE - 3
        kept = torch.isin(whole.angles_rad, lacking.angles_rad)
        assert int(kept.sum()) == SIDE - 3
        assert torch.equal(frames(lacking), frames(whole)[kept])

    def test_hot_pixels_are_not_masked_but_gaps_are(self) -> None:
        curve = made(hot_pixels=4, gap_px=2).scan
        hot = frames(curve).amin(dim=0) > 1e6
        assert int(hot.sum()) == 4
        assert int((~curve.mask).sum()) == 2 * 2 * SIDE - 4
        assert bool(curve.mask[SIDE // 2, SIDE // 2])

    def test_saturated_voxels_are_lost_in_their_frames_only(self) -> None:
        curve = made(detection=ew.Detection(noise="none", saturation=1e5)).scan
        assert curve.voxel_mask is not None
        assert bool(curve.mask.all())
        lost = ~curve.trusted
        assert torch.equal(lost, frames(curve) >= 1e5)
        assert 0 < int(lost.sum()) < 200

    def test_background_is_told(self) -> None:
        clean, foggy = made().scan, made(detection=ew.Detection(noise="none", background=2.0)).scan
        assert foggy.background is not None
        torch.testing.assert_close(frames(foggy) - foggy.background, frames(clean), atol=0.1, rtol=1e-4)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"aliens": -1}, "aliens is -1"),
        ({"coherence_px": (0.0, -1.0, 0.0)}, "coherence_px"),
        ({"angles": 10, "missing_angles": 5}, "at least 8 to remain"),
        ({"facets": 3}, "facets is 3"),
        ({"size_m": 0.0}, "size_m is 0"),
    ],
)
def test_experiments_that_cannot_be_are_refused(told: dict[str, object], said: str) -> None:
    with pytest.raises(ew.InputError, match=said):
        ew.RockingExperiment(**told)


def test_what_needs_a_scan_is_refused() -> None:
    with pytest.raises(ew.InputError, match="need a scan"):
        made(detection=ew.Detection(position_error_px=1.0))
    with pytest.raises(ew.InputError, match="does not reach"):
        ew.simulate_crystal(energy_ev=1000)
    with pytest.raises(ew.InputError, match="make it smaller"):
        made(size_m=3e-6)
