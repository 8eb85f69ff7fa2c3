"""Each metric against its definition, computed another way."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from exitwave.evaluation import metrics as f
from exitwave.evaluation.metrics import METRICS, Metric, metric_values


def noisy(image: torch.Tensor, level: float = 0.05, seed: int = 3) -> torch.Tensor:
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.complex128)
    return image + level * noise


@pytest.fixture
def pair(picture) -> tuple[torch.Tensor, torch.Tensor]:
    """An estimate with errors and the truth, phases well inside (-pi, pi]."""
    truth = picture((48, 48), phase_rad=0.3).view()
    return noisy(truth), truth


def test_identical_images_are_perfect_in_every_metric(picture):
    truth = picture((48, 48), phase_rad=0.3).view()
    values = {
        k: v for m in (f.psnr_255, f.mean_absolute_error, f.nrmse, f.nrmse_bands) for k, v in m(truth, truth).items()
    }
    assert all(v > 250 for k, v in values.items() if "PSNR" in k)
    assert all(v == pytest.approx(0, abs=1e-12) for k, v in values.items() if "PSNR" not in k)
    similar = f.structural_similarity_inr(truth, truth) | f.structural_similarity_magnitude(truth, truth)
    assert all(value == pytest.approx(1.0) for value in similar.values())
    assert f.frc_half(truth, truth) == {"M-FRChalf": 1.0}
    shells = len(
        np.bincount(
            np.rint(np.hypot(*np.meshgrid(np.fft.fftfreq(48) * 48, np.fft.fftfreq(48) * 48))).astype(int).ravel()
        )
    )
    assert f.frc_50(truth, truth) == {"M-FRC50-amplitude": shells, "M-FRC50-phase": shells}


def test_psnr_255_is_the_psnr_of_peak_one_plus_48_decibel(pair):
    estimate, truth = pair
    amplitude = estimate.abs() * truth.abs().mean() / estimate.abs().mean()
    peak_one = -10 * math.log10(float((amplitude - truth.abs()).square().mean()))
    assert f.psnr_255(estimate, truth)["M-PSNR255-amplitude"] == pytest.approx(peak_one + 48.13, abs=0.01)


def test_scale_and_constant_phase_change_no_pinn_metric(pair):
    estimate, truth = pair
    turned = 3.0 * complex(math.cos(0.2), math.sin(0.2)) * estimate
    for metric in (f.psnr_255, f.mean_absolute_error, f.frc_50):
        assert metric(turned, truth) == pytest.approx(metric(estimate, truth), rel=1e-9)


def test_a_phase_ramp_changes_the_2023_metric_and_not_the_revised_one(pair):
    estimate, truth = pair
    ramp = torch.exp(1j * 0.01 * (torch.arange(48, dtype=torch.float64)[:, None] - 2 * torch.arange(48)[None, :]))
    before, after = (f.mean_absolute_error(image, truth)["M-MAE-phase"] for image in (estimate, estimate * ramp))
    assert after > 2 * before
    before, after = (f.mean_absolute_error(i, truth, revised=True)["M-MAE-phase"] for i in (estimate, estimate * ramp))
    assert after == pytest.approx(before, rel=1e-9)


def test_the_plane_removed_is_the_least_squares_plane():
    phase = np.random.default_rng(0).standard_normal((20, 31))
    y, x = np.mgrid[:20, :31]
    design = np.stack([np.ones(phase.size), y.ravel(), x.ravel()], axis=1)
    fit = design @ np.linalg.lstsq(design, phase.ravel(), rcond=None)[0]
    np.testing.assert_allclose(f._without_plane(phase), phase - fit.reshape(phase.shape), atol=1e-12)


def test_frc_50_counts_shells_of_the_field_of_view():
    # Amplitudes that agree up to shell 10 and are independent beyond; 64 px, so the corner lies in shell 45.
    generator = torch.Generator().manual_seed(0)
    index = torch.fft.fftfreq(64) * 64
    shell = torch.hypot(index[:, None], index[None, :]).round()
    common, *own = (torch.fft.fft2(torch.randn(64, 64, generator=generator, dtype=torch.float64)) for _ in range(3))
    a, b = (torch.fft.ifft2(torch.where(shell <= 10, common, other)).real * 0.01 + 1 for other in own)
    flat = torch.zeros(64, 64, dtype=torch.float64)
    a, b = torch.polar(a, flat), torch.polar(b, flat)
    assert f.frc_50(a, b)["M-FRC50-amplitude"] == 11
    assert 10 < f.frc_50(a, b, revised=True)["M-FRC50-amplitude"] < 11
    assert f.frc_50(a, a)["M-FRC50-amplitude"] == 46
    assert (
        f.frc_50(a[:, :40], b[:, :40])["M-FRC50-amplitude"]
        == f.frc_50(a[12:52, :40], b[12:52, :40])["M-FRC50-amplitude"]
    )


def test_psnr_max_finds_the_global_phase_of_the_brute_force_search():
    generator = np.random.default_rng(1)
    phase, target = generator.uniform(-np.pi, np.pi, (2, 9, 9))
    angles = 2 * np.pi * np.arange(2000) / 2000
    wrapped = np.angle(np.exp(1j * (phase[..., None] + angles)))
    brute = angles[np.argmin(((wrapped - target[..., None]) ** 2).mean((0, 1)))]
    assert f._best_global_phase(phase, target, steps=2000) == pytest.approx(brute)


def test_psnr_max_undoes_phase_and_scale_and_clips_the_amplitude(pair):
    _, truth = pair
    turned = 0.3 * complex(math.cos(2.1), math.sin(2.1)) * truth
    values = f.psnr_max(turned, truth.clamp_max(1) if not truth.is_complex() else truth / truth.abs().clamp(min=1.0))
    assert values["M-PSNRmax-amplitude"] > 200
    assert values["M-PSNRmax-phase"] > 90
    bright = torch.ones(8, 8, dtype=torch.complex128)
    bright[0, 0] = 5
    assert f.psnr_max(bright, torch.ones_like(bright))["M-PSNRmax-amplitude"] == math.inf


def test_psnr_max_of_a_probe_ignores_its_photons(pair):
    estimate, truth = pair
    assert f.psnr_max_probe(1e3 * estimate, truth) == pytest.approx(f.psnr_max_probe(estimate, truth), rel=1e-6)
    assert set(f.psnr_max_probe(estimate, truth)) == {"M-PSNRmax-probe-amplitude", "M-PSNRmax-probe-phase"}


def test_structural_similarity_is_that_of_scikit_image(pair):
    estimate, truth = pair
    magnitude, true_magnitude = estimate.abs().numpy(), truth.abs().numpy()
    expected = structural_similarity(true_magnitude, magnitude, data_range=np.ptp(true_magnitude))
    assert f.structural_similarity_magnitude(estimate, truth)["M-SSIMabs"] == pytest.approx(expected)
    scaled = np.minimum(magnitude * np.median(true_magnitude) / np.median(magnitude), 1)
    expected = structural_similarity(true_magnitude, scaled, data_range=1.0)
    assert f.structural_similarity_inr(estimate, truth)["M-SSIM-amplitude"] == pytest.approx(expected)


def test_nrmse_is_the_minimum_over_all_complex_scales(pair):
    estimate, truth = (image[:12, :12] for image in pair)
    weights = torch.rand(12, 12, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    real, imaginary = torch.meshgrid(torch.linspace(0.8, 1.2, 201), torch.linspace(-0.2, 0.2, 201), indexing="ij")
    scales = torch.complex(real, imaginary).flatten().to(torch.complex128)
    error = (weights * (scales[:, None, None] * estimate - truth).abs().square()).sum((1, 2))
    brute = float((error.min() / (weights * truth.abs().square()).sum()).sqrt())
    value = f.nrmse(2j * estimate, truth, weights=weights)["M-NRMSE"]
    assert value <= brute
    assert value == pytest.approx(brute, rel=1e-3)


def test_nrmse_of_a_blank_estimate_is_one():
    assert f.nrmse(torch.zeros(4, 4, dtype=torch.complex64), torch.ones(4, 4, dtype=torch.complex64)) == {
        "M-NRMSE": 1.0
    }


def test_blur_is_a_high_frequency_error_and_a_slow_wave_a_low_one(picture):
    truth = picture((96, 96), phase_rad=0.3).view()
    radius = 2 * torch.hypot(torch.fft.fftfreq(96)[:, None], torch.fft.fftfreq(96)[None, :])
    blurred = f.nrmse_bands(torch.fft.ifft2(torch.fft.fft2(truth) * (radius < 0.31)), truth)
    assert blurred["NRMSE-high"] > 0.8
    assert blurred["NRMSE-low"] < 0.1
    wave = 0.2 * torch.sin(2 * torch.pi * 2 * torch.arange(96, dtype=torch.float64) / 96)[:, None]
    slow = f.nrmse_bands(truth + wave, truth)
    assert slow["NRMSE-low"] > 10 * slow["NRMSE-mid"]


def test_diffraction_metrics_on_numbers_done_by_hand():
    estimate, measured = torch.tensor([4.0, 9.0, 0.0]), torch.tensor([1.0, 16.0, 4.0])
    assert f.chi_squared(estimate, measured) == {"M-chi2": pytest.approx((1 + 1 + 4) / 21)}
    mask = torch.tensor([True, True, False])
    assert f.chi_squared(estimate, measured, mask=mask) == {"M-chi2": pytest.approx(2 / 17)}
    assert f.mean_amplitude_error(estimate, measured) == {"M-MAE3D": pytest.approx(4 / 3)}


def test_crystals_are_compared_wherever_they_lie_and_whatever_their_phase():
    crystal = torch.zeros(20, 20, 20, dtype=torch.complex64)
    crystal[5:12, 6:12, 4:13] = 0.7
    crystal[6, 7, 5] = 0.3
    other = torch.roll(crystal, (3, -2, 4), (0, 1, 2)) * 2j + 0.05
    assert f.structural_similarity_crystal(other, crystal)["M-SSIM3D"] > 0.98
    assert f.structural_similarity_crystal(crystal.transpose(0, 2), crystal)["M-SSIM3D"] < 0.95


def arrays_for(metric, pair):
    """A pair of arrays that the metric takes."""
    estimate, truth = pair
    if metric.dimensions == (3,):
        estimate = truth = truth[:10, :10].expand(10, 10, 10)
    return (truth.abs().square(),) * 2 if metric.subject == "diffraction" else (estimate, truth)


def test_every_metric_returns_values_under_its_own_id(pair):
    for name, metric in METRICS.items():
        values = metric.function(*arrays_for(metric, pair))
        assert values
        assert all(key == name or key.startswith(f"{name}-") for key in values)
        assert all(isinstance(value, float) for value in values.values())


def test_every_metric_is_taken_of_the_arrays_to_which_it_applies_and_of_no_others(pair):
    for name, metric in METRICS.items():
        arrays = arrays_for(metric, pair)
        for subject in ("object", "diffraction", "halves"):
            if subject == metric.subject:
                assert metric.function(*arrays).keys() <= metric_values(subject, *arrays).keys()
            else:
                assert not metric.applies(subject, arrays[1].ndim), name


def test_a_crystal_is_measured_by_the_metrics_of_volumes(pair):
    volume = pair[1][:10, :10].expand(10, 10, 10)
    assert metric_values("object", volume, volume) == {"M-NRMSE": pytest.approx(0), "M-SSIM3D": pytest.approx(1)}


def test_weighted_metrics_see_the_whole_and_the_others_the_box(pair):
    estimate, truth = pair
    box, weights = (slice(4, 20), slice(2, 22)), torch.rand(truth.shape, generator=torch.Generator().manual_seed(0))
    values = metric_values("object", estimate, truth, weights=weights, box=box)
    assert values["M-NRMSE"] == f.nrmse(estimate, truth, weights=weights)["M-NRMSE"]
    assert values["M-SSIMabs"] == f.structural_similarity_magnitude(estimate[box], truth[box])["M-SSIMabs"]


def test_a_metric_is_one_line_in_the_table(pair, monkeypatch):
    mine = Metric(lambda estimate, truth: {"M-mine": 0.5}, "mine", False)
    monkeypatch.setattr(f, "METRICS", {**METRICS, "M-mine": mine})
    assert metric_values("object", *pair)["M-mine"] == 0.5
