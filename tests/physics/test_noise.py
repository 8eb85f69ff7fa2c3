"""Every noise model's pull is the gradient of its loss; their limits."""

import pytest
import torch

from exitwave.physics.noise import Amplitude, Gaussian, Poisson, SmoothL1

MODELS = [Poisson(), Poisson(floor=0.5), Gaussian(sigma=3.0), Amplitude(), SmoothL1(), SmoothL1(bend=0.2)]


def waves(seed: int, modes: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(4, modes, 6, 7, dtype=torch.complex128, generator=generator)


def counts() -> torch.Tensor:
    return torch.poisson(torch.full((4, 6, 7), 8.0), generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("noise", MODELS, ids=str)
def test_pull_times_the_wave_is_the_descent_direction_of_the_loss(noise):
    trusted = torch.ones(6, 7, dtype=torch.float64)
    trusted[2, 3] = 0
    at_detector = waves(0).requires_grad_()
    pixels = 4 * trusted.sum()
    loss = pixels * noise.loss(at_detector.abs().square().sum(dim=1), counts(), trusted)
    loss.backward()
    intensity = at_detector.detach().abs().square().sum(dim=1)
    factor, _ = noise.pull(intensity, counts().sqrt(), trusted)
    # Torch's gradient of a real loss is twice d loss / d conj(F).
    assert torch.allclose(factor[:, None] * at_detector.detach(), -at_detector.grad / 2, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("noise", MODELS, ids=str)
def test_loss_of_each_frame_adds_up_to_the_mean_loss(noise):
    trusted = torch.ones(6, 7, dtype=torch.float64)
    trusted[0, :3] = 0
    means, sums = [], []
    for seed in (0, 1):
        intensity = waves(seed).abs().square().sum(dim=1)
        means.append(noise.loss(intensity, counts(), trusted) * 4 * trusted.sum())
        sums.append(noise.pull(intensity, counts().sqrt(), trusted)[1].sum())
    # Up to a constant.
    assert float(sums[1] - sums[0]) == pytest.approx(float(means[1] - means[0]), rel=1e-6)


@pytest.mark.parametrize("noise", MODELS, ids=str)
def test_a_perfect_fit_is_not_pulled_and_has_no_loss(noise):
    measured = counts() + 1
    factor, loss = noise.pull(measured, measured.sqrt(), torch.ones(6, 7, dtype=torch.float64))
    assert float(factor.abs().max()) < 1e-9
    assert float(loss.abs().max()) < 1e-9


def test_smooth_l1_with_a_wide_bend_is_the_amplitude_model():
    trusted = torch.ones(6, 7, dtype=torch.float64)
    intensity = waves(0).abs().square().sum(dim=1)
    wide, plain = (n.pull(intensity, counts().sqrt(), trusted) for n in (SmoothL1(bend=1e6), Amplitude()))
    assert torch.allclose(wide[0], plain[0])
    assert torch.allclose(wide[1], plain[1])


def test_a_hot_pixel_pulls_smooth_l1_no_more_than_its_bend_does():
    hot, expected = torch.full((1, 1, 1), 1e4), torch.full((1, 1, 1), 25.0)
    factor, _ = SmoothL1(bend=1.0).pull(expected, hot, torch.ones(1, 1))
    assert float(factor * expected.sqrt()) == pytest.approx(2.0)
