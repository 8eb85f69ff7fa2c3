"""The samples are what a microscopist expects, and fit to be scanned."""

import socket

import numpy as np
import pytest
import torch
from skimage import data

from exitwave.data.errors import InputError
from exitwave.simulation import objects, textures
from exitwave.simulation.objects import OBJECTS

SHAPE = (96, 131)
NAMES = sorted(OBJECTS)


def amplitude_and_phase(obj: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    return obj.abs().numpy(), obj.angle().numpy()


@pytest.mark.parametrize("name", NAMES)
def test_every_object_is_a_transmission_function_with_contrast(name: str):
    obj = OBJECTS[name](SHAPE, seed=3)
    amplitude, phase = amplitude_and_phase(obj)
    assert tuple(obj.shape) == SHAPE
    assert obj.dtype == torch.complex64
    assert np.isfinite(amplitude).all()
    assert amplitude.max() <= 1 + 1e-6
    assert amplitude.std() > 0.03
    assert (phase.std() > 0.1) != (name == "lines")


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_draws_the_same_object_and_another_seed_another(name: str):
    assert torch.equal(OBJECTS[name](SHAPE, seed=5), OBJECTS[name](SHAPE, seed=5))
    assert not torch.equal(OBJECTS[name](SHAPE, seed=5), OBJECTS[name](SHAPE, seed=6))


@pytest.mark.parametrize("name", NAMES)
def test_no_quarter_of_an_object_is_empty(name: str):
    obj = OBJECTS[name]((200, 200), seed=0)
    for rows in (slice(0, 100), slice(100, 200)):
        for columns in (slice(0, 100), slice(100, 200)):
            assert obj[rows, columns].abs().std() > 0.02


def test_objects_too_small_to_hold_anything_are_refused():
    with pytest.raises(InputError, match="at least 16 pixels"):
        objects.siemens_star((8, 100))


@pytest.mark.parametrize("spokes", [24, 36])
def test_a_circle_on_the_siemens_star_crosses_every_spoke_once(spokes: int):
    amplitude, _ = amplitude_and_phase(objects.siemens_star((400, 400), spokes=spokes))
    angle = np.linspace(0, 2 * np.pi, 3000, endpoint=False)
    radius = 0.4 * 0.47 * 400
    metal = amplitude[(200.5 + radius * np.sin(angle)).astype(int), (200.5 + radius * np.cos(angle)).astype(int)] < 0.85
    assert np.count_nonzero(metal & ~np.roll(metal, 1)) == spokes


@pytest.mark.parametrize(
    ("name", "amplitude_1", "phase_1"), [("siemens", 0.7, -1.2), ("features", 0.75, -1.2), ("circuit", 0.7, -1.2)]
)
def test_phase_and_absorption_of_one_material_go_together(name: str, amplitude_1: float, phase_1: float):
    amplitude, phase = amplitude_and_phase(OBJECTS[name](SHAPE))
    np.testing.assert_allclose(np.log(amplitude) / np.log(amplitude_1), phase / phase_1, atol=1e-4)


def test_blood_cells_have_pale_centres_and_leave_glass_free():
    amplitude, phase = amplitude_and_phase(objects.blood_smear((300, 300), seed=1))
    assert amplitude.min() > 0.5
    assert phase.min() >= 0
    assert phase.max() < 2.05
    assert np.mean(phase < 0.2) > 0.3
    # A single cell: its thickest part is a ring, its centre is pale.
    thickness = objects.blood_smear((100, 100), coverage=1e-9, seed=0).angle().numpy() - 0.15
    y, x = (round(float(axis.mean())) for axis in np.nonzero(thickness > 0.6))
    assert thickness.max() > 1.0
    assert thickness[y, x] < 0.6 * thickness.max()


def test_the_textured_object_keeps_to_its_ranges():
    amplitude, phase = amplitude_and_phase(objects.textured((256, 200)))
    assert amplitude.min() == pytest.approx(0.5, abs=1e-5)
    assert amplitude.max() == pytest.approx(1.0, abs=1e-5)
    assert phase.min() == pytest.approx(-1.0, abs=1e-5)
    assert phase.max() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("exponent", [0.4, 2.4])
def test_random_fields_have_the_power_law_asked_for(exponent: float):
    field = textures.power_law_field((512, 512), exponent, np.random.default_rng(0))
    power = np.abs(np.fft.fft2(field)) ** 2
    frequency = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.fftfreq(512)[None, :])
    band = (frequency > 0.02) & (frequency < 0.4)
    slope = np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.05)


def test_natural_images_are_two_different_photographs_without_any_download(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for seed in range(len(objects.NATURAL_PAIRS)):
        amplitude, phase = amplitude_and_phase(objects.natural_image((128, 96), seed=seed))
        assert abs(np.corrcoef(amplitude.ravel(), phase.ravel())[0, 1]) < 0.6
    camera = objects.natural_image((512, 512), seed=0).abs().numpy()
    assert np.corrcoef(camera.ravel(), data.camera().ravel())[0, 1] > 0.99


def test_crossing_lines_do_not_add_and_keep_their_width():
    drawn = textures.draw_segments((41, 41), [(20, 2, 20, 38), (2, 20, 38, 20)], 4.0)
    assert drawn.max() == 1.0
    assert drawn[:, 10].sum() == pytest.approx(4.0, abs=0.5)
