"""Alignment finds exactly what was done to an image, and nothing else."""

import time

import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.evaluation.align import align, move
from exitwave.evaluation.metrics import nrmse

GAUGES = [
    ((0.0, 0.0), (0.0, 0.0), 1.3 - 0.4j),
    ((3.0, -7.0), (0.0, 0.0), 1.0),
    ((0.37, -0.61), (0.0, 0.0), 1.0),
    ((0.0, 0.0), (0.21, -0.34), 0.2j),
    ((-9.6, 8.3), (-0.3, 0.12), 5.0 * (1 - 1j)),
    ((5.5, 5.5), (0.02, 0.0), -1.0),
]


@pytest.mark.parametrize(("shift", "ramp", "factor"), GAUGES)
@pytest.mark.parametrize("phase_rad", [0.05, 0.8, 2.5])
def test_every_gauge_freedom_is_found_and_removed(picture, inside, shift, ramp, factor, phase_rad):
    truth = picture(phase_rad=phase_rad)
    reference = truth.view()
    aligned = align(truth.view(shift=shift, ramp=ramp, factor=factor), reference, weights=inside(reference))
    assert nrmse(aligned.image, reference, weights=inside(reference))["M-NRMSE"] < 3e-3
    assert aligned.shift_px == pytest.approx(shift, abs=2e-3)
    assert aligned.ramp_rad_px == pytest.approx(ramp, abs=1e-4)
    assert aligned.scale == pytest.approx(abs(factor), rel=1e-3)
    assert not aligned.twin


@pytest.mark.parametrize("shape", [(64, 130), (101, 77)])
def test_images_need_be_neither_square_nor_even(picture, inside, shape):
    truth = picture(shape)
    estimate = truth.view(shift=(4.4, -6.7), ramp=(0.1, 0.25), factor=2.0)
    aligned = align(estimate, truth.view(), weights=inside(estimate))
    assert aligned.shift_px == pytest.approx((4.4, -6.7), abs=1e-3)
    assert nrmse(aligned.image, truth.view(), weights=inside(estimate))["M-NRMSE"] < 3e-3


def test_an_image_aligned_with_itself_stays_as_it_is(picture):
    image = picture().view()
    aligned = align(image, image)
    torch.testing.assert_close(aligned.image, image, atol=1e-6, rtol=0)
    assert aligned.shift_px == pytest.approx((0, 0), abs=1e-6)


def test_the_reported_values_rebuild_the_aligned_image(picture, inside):
    truth = picture()
    estimate = truth.view(shift=(2.3, -1.2), ramp=(0.2, -0.1), factor=0.5j)
    found = align(estimate, truth.view(), weights=inside(estimate))
    rows, columns = (torch.arange(n, dtype=torch.float64) - n // 2 for n in estimate.shape)
    ramp = torch.exp(1j * (found.ramp_rad_px[0] * rows[:, None] + found.ramp_rad_px[1] * columns[None, :]))
    factor = found.scale * complex(torch.polar(torch.tensor(1.0), torch.tensor(found.phase_rad)))
    torch.testing.assert_close(factor * move(estimate * ramp, found.shift_px), found.image, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(96, 96), (95, 97)])
def test_the_twin_is_detected_only_when_asked_for(picture, inside, shape):
    truth = picture(shape)
    reference = truth.view()
    straight = truth.view(shift=(-2.6, 3.1), factor=2.0)
    inverted = torch.roll(straight.flip(0, 1).conj(), [1 - n % 2 for n in shape], (0, 1))
    everything = ("phase", "scale", "ramp", "shift", "twin")
    found = align(inverted, reference, weights=inside(reference), remove=everything)
    assert found.twin
    assert nrmse(found.image, reference, weights=inside(reference))["M-NRMSE"] < 3e-3
    assert not align(straight, reference, weights=inside(reference), remove=everything).twin
    unasked = align(inverted, reference, weights=inside(reference))
    assert not unasked.twin
    assert nrmse(unasked.image, reference, weights=inside(reference))["M-NRMSE"] > 0.1


def test_only_the_named_freedoms_are_removed(picture, inside):
    truth = picture()
    reference, weights = truth.view(), inside(truth.view())
    estimate = truth.view(shift=(1.4, 0.3), factor=2.0 * complex(0.6, 0.8))
    nothing = align(estimate, reference, weights=weights, remove=())
    torch.testing.assert_close(nothing.image, estimate)
    phase = align(truth.view(factor=2.0 * complex(0.6, 0.8)), reference, weights=weights, remove=("phase",))
    assert phase.scale == pytest.approx(1.0)
    assert phase.phase_rad == pytest.approx(0.9273, abs=1e-3)
    scale = align(truth.view(factor=2.0), reference, weights=weights, remove=("scale",))
    assert (scale.scale, scale.phase_rad) == pytest.approx((2.0, 0.0))
    shift = align(truth.view(shift=(1.4, 0.3)), reference, weights=weights, remove=("shift",))
    assert shift.shift_px == pytest.approx((1.4, 0.3), abs=1e-3)
    assert (shift.scale, shift.phase_rad, shift.ramp_rad_px) == (1.0, 0.0, (0.0, 0.0))


def test_a_known_shift_is_applied_even_when_shifts_are_not_searched(picture, inside):
    truth = picture()
    estimate = truth.view(shift=(0.4, -0.3))
    aligned = align(estimate, truth.view(), weights=inside(estimate), remove=("phase",), start_shift_px=(0.4, -0.3))
    assert aligned.shift_px == (0.4, -0.3)
    assert nrmse(aligned.image, truth.view(), weights=inside(estimate))["M-NRMSE"] < 3e-3


def test_noise_as_strong_as_the_image_does_not_lock_the_shift_to_whole_pixels(picture, inside):
    truth = picture((128, 128))
    estimate = truth.view(shift=(2.5, -3.5), ramp=(0.1, 0.2))
    noise = torch.randn(estimate.shape, generator=torch.Generator().manual_seed(1), dtype=torch.complex128)
    aligned = align(estimate + 0.7 * noise, truth.view(), weights=inside(estimate))
    assert aligned.shift_px == pytest.approx((2.5, -3.5), abs=0.15)


def test_untrusted_surroundings_do_not_disturb_the_rest(picture):
    truth = picture((128, 128))
    rows = torch.arange(128)[:, None] - 64
    distance = torch.hypot(rows.double(), rows.T.double())
    estimate = truth.view(shift=(0.5, 1.5), ramp=(0.1, -0.2))
    noise = 3 * torch.randn(estimate.shape, generator=torch.Generator().manual_seed(2), dtype=torch.complex128)
    trusted = distance < 54
    aligned = align(torch.where(trusted, estimate, noise), truth.view(), weights=distance < 50, trusted=trusted)
    assert aligned.shift_px == pytest.approx((0.5, 1.5), abs=2e-3)
    assert nrmse(aligned.image, truth.view(), weights=distance < 50)["M-NRMSE"] < 0.02


def test_a_flat_estimate_is_not_an_error(picture):
    reference = picture().view()
    aligned = align(torch.ones_like(reference), reference, remove=("phase", "scale", "shift"))
    assert bool(torch.isfinite(aligned.image.abs()).all())


def test_a_large_object_is_aligned_in_under_two_seconds(picture, inside):
    truth = picture((600, 600))
    estimate, reference = truth.view(shift=(-7.3, 4.8), ramp=(0.05, -0.1), factor=1j), truth.view()
    began = time.process_time()
    aligned = align(estimate, reference, weights=inside(reference))
    assert time.process_time() - began < 2
    assert aligned.shift_px == pytest.approx((-7.3, 4.8), abs=1e-3)


@pytest.mark.parametrize(
    ("estimate", "reference", "options", "message"),
    [
        (torch.ones(4, 4), torch.ones(4, 5), {}, "same shape"),
        (torch.ones(4, 4), torch.ones(4, 4), {"remove": ("tilt",)}, "cannot remove"),
        (torch.full((4, 4), torch.nan), torch.ones(4, 4), {}, "not finite"),
        (torch.ones(4, 4), torch.zeros(4, 4), {}, "zero everywhere"),
        (torch.ones(4, 4), torch.ones(4, 4), {"weights": torch.zeros(4, 4)}, "some pixels"),
    ],
)
def test_what_cannot_be_aligned_is_refused_with_the_reason(estimate, reference, options, message):
    with pytest.raises(InputError, match=message):
        align(estimate.to(torch.complex64), reference.to(torch.complex64), **options)
