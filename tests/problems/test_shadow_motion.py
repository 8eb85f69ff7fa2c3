"""The motion of the sample's shadow: its direction and magnification are those of the optics that made the frames."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from exitwave.data import prepare
from exitwave.data.geometry import Geometry
from exitwave.data.scan import Scan
from exitwave.data.statistics import scan_statistics
from exitwave.problems.shadow_correlations import Correlations, search
from exitwave.problems.shadow_motion import ShadowMotion, shadow_motion
from exitwave.simulation.detection import Detection
from exitwave.simulation.measure import simulate


def near(**options):
    made = {"frames": 49, "frame_px": 64, "probe_name": "gaussian", "focus_distance_m": 0.03, "photons_per_frame": 1e5}
    return simulate("natural", **made | options).scan


def motion(scan: Scan) -> ShadowMotion:
    found = shadow_motion(scan, scan_statistics(scan).mean_pattern)
    assert found is not None
    return found


def magnification(scan: Scan) -> float:
    return scan.geometry.detector_pixel_m[0] / motion(scan).metres_per_px


@pytest.mark.parametrize("trajectory", ["raster", "jittered", "fermat"])
def test_the_magnification_is_that_of_the_cone_beam(trajectory):
    scan = near(trajectory=trajectory)
    assert motion(scan).clear
    assert magnification(scan) == pytest.approx(scan.geometry.magnification, rel=0.05)


def test_a_shadow_moves_against_the_probe():
    scan = near()
    expected = -1 / np.array(scan.object_pixel_m)
    assert np.diag(motion(scan).px_per_m) == pytest.approx(expected, rel=0.06)


def test_low_dose_fly_scans_and_stripes_still_tell():
    assert motion(near(photons_per_frame=3000, frames=100)).clear
    assert motion(near(detection=Detection(exposure_px=(0.0, 5.0)), photons_per_frame=None)).clear
    scan = near()
    gaps = scan.mask.clone()
    gaps[20:26] = False
    assert motion(replace(scan, mask=gaps)).clear


def test_frames_binned_and_turned_turn_the_motion_with_them():
    scan = near()
    plain, turned = np.array(motion(scan).px_per_m), np.array(motion(prepare.orient(scan, "rot90_cw")).px_per_m)
    # (y, x) -> (x, -y)
    assert turned == pytest.approx(np.array([[0, 1], [-1, 0]]) @ plain, rel=0.05, abs=0.03 * abs(plain).max())
    wide = near(frame_px=240, diameter_px=200, overlap=0.8)
    assert magnification(wide) == pytest.approx(wide.geometry.magnification, rel=0.05)


def test_a_wild_frame_does_not_matter():
    scan = near()
    frames = scan.frames(slice(None)).clone()
    frames[7] = 40 * frames[3]
    frames[20] = 5.0
    assert motion(replace(scan, patterns=frames)).clear


@pytest.mark.parametrize("probe", ["airy", "gaussian", "kb"])
def test_in_the_far_field_of_a_focused_probe_nothing_moves(probe):
    assert not motion(simulate("natural", frames=49, frame_px=64, probe_name=probe).scan).clear


def test_in_the_far_field_of_a_defocused_probe_the_shadow_moves_within_the_aperture():
    scan = simulate("natural", frames=64, frame_px=64, probe_name="multilayer_laue").scan
    found = motion(scan)
    geometry = scan.geometry
    window_m = geometry.wavelength_m * geometry.distance_m / geometry.detector_pixel_m[0]
    # The beam on the sample is about half the window, as it was made.
    assert found.clear
    assert 0.3 < found.beam_px * found.metres_per_px / window_m < 0.8


def test_noise_and_single_frames_tell_nothing():
    noise = torch.poisson(torch.full((30, 32, 32), 100.0), generator=torch.Generator().manual_seed(0))
    grid = torch.cartesian_prod(torch.arange(5.0), torch.arange(6.0)).double() * 1e-6
    geometry = Geometry.from_energy(8000.0, 2.0, (75e-6, 75e-6))
    scan = Scan(patterns=noise, positions_m=grid, geometry=geometry)
    found = shadow_motion(scan, scan_statistics(scan).mean_pattern)
    assert found is None or not found.clear
    few = prepare.select(scan, slice(0, 3))
    assert shadow_motion(few, scan_statistics(few).mean_pattern) is None
    dark = replace(scan, patterns=torch.zeros(30, 32, 32))
    assert shadow_motion(dark, scan_statistics(dark).mean_pattern) is None
    still = replace(scan, positions_m=torch.zeros(30, 2))
    assert shadow_motion(still, scan_statistics(still).mean_pattern) is None
    assert math.isfinite(0.0 if found is None else found.certainty)


def test_the_search_counts_the_agreement_of_pairs_as_it_is_defined():
    draw = np.random.default_rng(0)
    maps, steps = draw.normal(0, 5, (20, 24, 30)), draw.normal(size=(20, 2))
    overlap = np.exp(-0.02 * np.add.outer(np.fft.fftfreq(24, 1 / 24) ** 2, np.fft.fftfreq(30, 1 / 30) ** 2))
    seen = Correlations(maps, overlap, steps, (10.0, 12.0))
    found, matrix = search(seen)
    assert matrix is not None
    assert found == pytest.approx(float(seen.of_map(matrix)), rel=1e-12)
