"""What photon counting leaves of a perfect fit."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from exitwave.physics.photon_noise import BRIGHT, amplitude_variance, offset_amplitudes, offset_variance


def test_bright_pixels_leave_a_quarter_and_dark_ones_twice_their_light():
    assert float(amplitude_variance(torch.tensor([1e6]))) == pytest.approx(0.25, rel=1e-5)
    assert float(amplitude_variance(torch.tensor([0.0]))) == 0
    assert float(amplitude_variance(torch.tensor([1e-4]))) == pytest.approx(2e-4, rel=0.02)


@pytest.mark.parametrize("mean", [0.02, 0.3, 1.0, 3.7, 12.0, 29.0, 31.0, 200.0])
def test_it_is_what_drawn_counts_scatter_by(mean: float):
    counts = np.random.default_rng(0).poisson(mean, 400_000)
    drawn = np.square(np.sqrt(counts) - np.sqrt(mean)).mean()
    assert float(amplitude_variance(torch.tensor([mean]))) == pytest.approx(drawn, rel=0.02)


@pytest.mark.parametrize("mean", [0.02, 0.3, 1.0, 3.7, 12.0, 29.0, 31.0, 200.0])
def test_with_a_photon_added_too(mean: float):
    counts = torch.from_numpy(np.random.default_rng(0).poisson(mean, 400_000)).double()
    drawn = (offset_amplitudes(counts.sqrt(), 1.0) - (mean + 1) ** 0.5).square().mean()
    assert float(offset_variance(torch.tensor([mean]))) == pytest.approx(float(drawn), rel=0.02)


@pytest.mark.parametrize(("variance", "within"), [(amplitude_variance, 1e-4), (offset_variance, 3e-3)])
def test_table_and_series_meet(variance: Callable[[Tensor], Tensor], within: float):
    below, above = (float(variance(torch.tensor([BRIGHT + step]))) for step in (-1e-3, 1e-3))
    assert below == pytest.approx(above, rel=within)


@pytest.mark.parametrize("mean", [0.0, 0.01, 0.1, 0.5, 2.0, 10.0, 100.0])
def test_with_a_photon_added_the_mean_root_is_the_root_of_the_mean(mean: float):
    counts = torch.arange(400, dtype=torch.float64)
    chance = torch.from_numpy(stats.poisson.pmf(counts.numpy(), mean))
    told = float(chance @ offset_amplitudes(counts.sqrt(), 1.0)) ** 2 - 1
    assert told == pytest.approx(mean, rel=0.03)
