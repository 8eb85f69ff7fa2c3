import numpy as np
import pytest

from exitwave.io.colour import mean_ramp
from exitwave.reports.views import MOST_PIXELS, averaged, contrast, lit_regions, object_views, view

PIXEL_M = (1e-8, 1e-8)


def smooth_image(size: int = 80) -> np.ndarray:
    y, x = np.mgrid[:size, :size] / size
    return (0.8 + 0.2 * np.cos(6 * x)) * np.exp(1j * np.sin(5 * y) * np.cos(4 * x))


def ramp(size: int, down: float, across: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return np.exp(1j * (down * y + across * x))


def test_a_ramp_and_a_global_phase_change_nothing_that_is_shown():
    image, region = smooth_image(), np.ones((80, 80), dtype=bool)
    plain = view(image, region, PIXEL_M)
    tilted = view(image * ramp(80, 0.9, -0.4) * np.exp(2j), region, PIXEL_M)
    np.testing.assert_allclose(tilted.phase, plain.phase, atol=1e-9)
    np.testing.assert_allclose(tilted.image, plain.image, atol=1e-9)
    np.testing.assert_allclose(np.subtract(tilted.ramp_rad_px, plain.ramp_rad_px), (0.9, -0.4), atol=1e-12)


def test_a_pure_ramp_is_measured_exactly_and_shown_flat():
    image = ramp(40, 2.5, -3.0)
    np.testing.assert_allclose(mean_ramp(image), (2.5, -3.0), atol=1e-12)
    shown = view(image, np.ones((40, 40), dtype=bool), PIXEL_M)
    np.testing.assert_allclose(shown.phase, 0, atol=1e-9)


def test_a_smooth_phase_of_many_turns_is_unwrapped():
    y, x = np.mgrid[:100, :100] / 50 - 1
    phase = 15 * np.exp(-3 * (y**2 + x**2))
    shown = view(np.exp(1j * phase), np.ones((100, 100), dtype=bool), PIXEL_M)
    assert not shown.wrapped
    difference = np.exp(1j * (shown.phase - phase)) * ramp(100, *shown.ramp_rad_px)
    assert np.ptp(shown.phase) == pytest.approx(np.ptp(phase), abs=0.2)
    np.testing.assert_allclose(difference, difference[0, 0], atol=1e-9)


def test_a_phase_with_vortices_is_shown_wrapped():
    noise = np.random.default_rng(1).uniform(-np.pi, np.pi, (60, 60))
    shown = view(np.exp(1j * noise), np.ones((60, 60), dtype=bool), PIXEL_M)
    assert shown.wrapped
    assert np.abs(shown.phase).max() <= np.pi


def test_only_the_scanned_region_is_shown(make_result):
    result = make_result()
    region = lit_regions(result.estimate)[0]
    _, shown = object_views(result)[0]
    rows = np.flatnonzero(region.any(axis=1))
    pixel = result.object_pixel_m[0]
    assert shown.corner_m[0] == pytest.approx(rows[0] * pixel)
    assert shown.size_m[0] == pytest.approx((rows[-1] - rows[0] + 1) * pixel)
    assert 0 < region.mean() < 1
    assert np.isfinite(shown.amplitude).sum() == region.sum()
    assert np.isnan(shown.amplitude[0, 0])


def test_pixels_that_are_not_square_keep_their_lengths(make_result):
    tall = make_result(squeeze=0.5)
    pixel_y, pixel_x = tall.object_pixel_m
    assert pixel_y == pytest.approx(2 * pixel_x)
    _, shown = object_views(tall)[0]
    assert shown.size_m[0] == pytest.approx(shown.image.shape[0] * pixel_y)
    assert shown.size_m[1] == pytest.approx(shown.image.shape[1] * pixel_x)


def test_large_images_are_averaged_to_the_size_of_a_screen():
    size = 3 * MOST_PIXELS - 1
    shown = view(np.ones((size, 100), dtype=complex), np.ones((size, 100), dtype=bool), (1e-9, 1e-9))
    assert shown.image.shape == (size // 3, 33)
    assert shown.size_m == pytest.approx((size // 3 * 3e-9, 99e-9))
    np.testing.assert_allclose(shown.amplitude, 1)


def test_averaged_images_have_no_dark_rim():
    region = np.zeros((2 * MOST_PIXELS, 100), dtype=bool)
    region[:, 3:98] = True
    region[1::2, 2] = True
    shown = view(np.ones(region.shape, dtype=complex), region, (1e-9, 1e-9))
    np.testing.assert_allclose(shown.amplitude[np.isfinite(shown.amplitude)], 1)


def test_averages_are_means_of_blocks():
    np.testing.assert_allclose(averaged(np.arange(20.0).reshape(4, 5), 2), [[3, 5], [13, 15]])


def test_contrast_never_collapses():
    for values in (np.full(5, 3.0), np.zeros(5), np.full(5, np.nan)):
        low, high = contrast(values)
        assert low < high
