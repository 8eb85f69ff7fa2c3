"""What the report shows of frames: patterns beside each other, how far they were moved, and numbers that users count."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from exitwave.data.frame_fits import FrameFits
from exitwave.data.geometry import Geometry
from exitwave.reports.frame_numbers import frame_numbers
from exitwave.reports.page import render
from exitwave.reports.patterns import pattern_extent
from exitwave.reports.shifts import position_shifts


def with_fits(result, frames=(4, 17, 35), **options):
    measured = torch.rand(len(frames), 32, 32, generator=torch.Generator().manual_seed(1)) * 100
    measured[:, 3, 4] = torch.nan
    fits = FrameFits(frames=frames, measured=measured, calculated=measured.nan_to_num() + 1, **options)
    return replace(result, frame_fits=fits)


def test_best_median_and_worst_frame_are_shown_beside_what_was_calculated(make_result):
    text = render(with_fits(make_result()))
    for name, number in (("best", 4), ("median", 17), ("worst", 35)):
        assert re.search(rf"{name} frame: number {number}, residual 0\.00\d+", text, re.IGNORECASE)
        for kind in ("measured", "calculated", "difference"):
            assert f"Diffraction pattern of {name} frame, {kind}" in text
    assert "Measured and calculated patterns" not in render(make_result())


@pytest.mark.parametrize("factor", [1e-4, 1.0, 1e5])
def test_patterns_of_any_brightness_are_drawn(make_result, factor):
    result = with_fits(make_result())
    fits = result.frame_fits
    fits = replace(fits, measured=fits.measured * factor, calculated=fits.calculated * factor)
    assert not re.search(r"\bnan\b", render(replace(result, frame_fits=fits)).lower())
    dark = replace(fits, measured=fits.measured * 0, calculated=fits.calculated * 0)
    assert "Median frame" in render(replace(result, frame_fits=dark))


def test_a_pattern_spans_the_angles_that_its_object_pixel_tells(make_result):
    result = with_fits(make_result())
    left, right, bottom, top = pattern_extent(result, (32, 32), 1)
    assert right - left == pytest.approx(result.geometry.wavelength_m / result.object_pixel_m[1])
    assert bottom - top == pytest.approx(32 * result.geometry.detector_pixel_m[0] / result.geometry.distance_m)
    assert (left + right) / 2 == pytest.approx(-0.5 * (right - left) / 32)
    near = replace(result, geometry=Geometry.from_energy(8e3, 1.0, (5e-6, 5e-6), focus_distance_m=0.1))
    assert pattern_extent(near, (16, 16), 2)[1] == pytest.approx(15.5 * 5e-6)


def test_of_electrons_everything_is_told_in_their_units(make_result):
    geometry = Geometry.from_voltage(300e3, 1.0, (1.2e-3, 1.2e-3))
    result = with_fits(replace(make_result(), geometry=geometry, object_pixel_m=geometry.object_pixel_m((32, 32))))
    text = render(replace(result, provenance={"counts_per_frame": 9992.0}))
    for words in ("300 kV", "1.97 pm", "1.2 mrad", "9992 electrons per frame", "Å"):
        assert words in text
    for words in ("photons", "sample to detector"):
        assert words not in text


def test_numbers_of_frames_are_those_of_the_scan(make_result):
    left_out = {"scan": {"frames_left_out": [0, 3], "frames_before": 39}, "outliers": {"frames": [1]}}
    result = replace(with_fits(make_result()), provenance=left_out)
    # 39 frames, of which 0 and 3 went first, then the second of those that stayed, which is frame 2.
    assert frame_numbers(result) == [1, *range(4, 39)]
    assert "number 7," in render(result)
    assert frame_numbers(replace(result, provenance={"scan": {"frames_left_out": [0], "frames_before": 2}})) == [
        *range(36)
    ]


def moved_by(make_result, shifts: np.ndarray):
    result = make_result()
    recorded = result.estimate.positions_px - torch.from_numpy(shifts)
    return replace(result, recorded_positions_px=recorded)


def test_shifts_of_positions_are_told_without_their_mean(make_result):
    shifts = np.random.default_rng(0).normal(size=(36, 2))
    found = position_shifts(moved_by(make_result, shifts + 50))
    assert found is not None
    expected = float(np.sqrt(np.square(shifts - shifts.mean(axis=0)).sum(axis=1).mean()))
    assert found.rms_px == pytest.approx(expected)
    assert found.rms_m == pytest.approx(expected * found.pixel_m[1])
    text = render(moved_by(make_result, shifts))
    assert "Shifts of the positions from where they were recorded" in text
    assert f"{expected:.3g} px" in text


def test_a_turn_and_a_stretch_of_the_whole_scan_are_no_shifts_of_single_frames(make_result):
    positions = make_result().estimate.positions_px.numpy()
    found = position_shifts(moved_by(make_result, positions @ np.array([[0.01, 0.02], [-0.02, 0.03]])))
    assert found is not None
    assert found.rms_px > 0.1
    assert found.own_rms_px < 0.04 * found.rms_px


def test_positions_that_stayed_are_not_mapped(make_result):
    assert "Shifts" not in render(moved_by(make_result, np.zeros((36, 2)) + 3))
    assert "positions moved" not in render(make_result())


def test_one_epoch_makes_no_curve(make_result):
    assert "Residual over" not in render(replace(make_result(), history=(0.1,)))
    assert "Residual over 2 epochs" in render(replace(make_result(), history=(0.1, 0.05)))
