import numpy as np
import torch
from skimage.color import deltaE_ciede2000, rgb2lab

from exitwave.io.colour import colour_wheel, complex_to_rgb, cyclic_colours


def lab_of_cycle() -> np.ndarray:
    return rgb2lab(cyclic_colours()[None])[0]


def test_phase_colours_are_equal_visible_steps_around_the_whole_cycle():
    lab = lab_of_cycle()
    steps = deltaE_ciede2000(lab, np.roll(lab, -1, axis=0))
    assert lab.shape == (256, 3)
    assert steps.max() / steps.min() < 1.05


def test_phase_colours_share_one_lightness():
    lightness = lab_of_cycle()[:, 0]
    assert np.ptp(lightness) < 0.1


def test_opposite_phases_look_different():
    lab = lab_of_cycle()
    assert deltaE_ciede2000(lab, np.roll(lab, 128, axis=0)).min() > 30


def test_phases_a_turn_apart_have_the_same_colour():
    phase = np.linspace(-np.pi, np.pi, 101)
    waves = np.exp(1j * phase)
    np.testing.assert_array_equal(complex_to_rgb(waves), complex_to_rgb(waves * np.exp(2j * np.pi)))
    np.testing.assert_array_equal(complex_to_rgb(np.exp([0j, 2j * np.pi]))[0], complex_to_rgb(np.exp([0j]))[0])
    seam = complex_to_rgb(np.exp(1j * np.array([np.pi - 1e-4, -np.pi + 1e-4]))).astype(int)
    assert np.abs(seam[0] - seam[1]).max() <= 1


def test_brightness_is_proportional_to_amplitude_up_to_the_brightest():
    rgb = complex_to_rgb(np.array([0.0, 0.5, 1.0, 2.0]) * np.exp(0.7j), brightest=1.0).astype(int)
    assert rgb[0].max() == 0
    assert np.abs(2 * rgb[1] - rgb[2]).max() <= 1
    np.testing.assert_array_equal(rgb[2], rgb[3])


def test_tensors_and_stacks_are_coloured_like_arrays():
    image = np.random.default_rng(0).normal(size=(2, 3, 4)) + 1j
    rgb = complex_to_rgb(torch.from_numpy(image))
    assert rgb.shape == (2, 3, 4, 3)
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb, complex_to_rgb(image))


def test_values_that_are_not_finite_and_empty_images_are_black():
    assert complex_to_rgb(np.zeros((2, 2), dtype=complex)).max() == 0
    rgb = complex_to_rgb(np.array([[np.nan + 0j, 1.0, complex(np.inf, 0)]]))
    assert rgb[0, 0].max() == rgb[0, 2].max() == 0
    np.testing.assert_array_equal(rgb[0, 1], complex_to_rgb(np.ones((1, 1), dtype=complex))[0, 0])


def test_the_wheel_shows_phase_zero_on_the_right_and_a_quarter_turn_on_top():
    wheel = colour_wheel(101)
    right, top = wheel[50, 97, :3].astype(int), wheel[3, 50, :3].astype(int)
    scale = 47 / 50.5
    expected = complex_to_rgb(np.array([scale, 1j * scale]), brightest=1.0).astype(int)
    assert np.abs(right - expected[0]).max() <= 1
    assert np.abs(top - expected[1]).max() <= 1
    assert wheel[0, 0, 3] == 0
    assert wheel[50, 50, 3] == 255
