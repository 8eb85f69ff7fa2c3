"""Losses of networks for crystals: none at the true crystal, gradients that lead there, and no dead crystals."""

import pytest
import torch

from exitwave.solvers.neural.crystal_losses import LOSSES, crystals_of, fit, support_threshold


def images(seed=0, level=1.0):
    """Amplitude and phase of two crystals in the middle of 12 voxels."""
    drawn = torch.Generator().manual_seed(seed)
    found = torch.zeros(2, 2, 12, 12, 12)
    found[:, 0, 4:8, 4:8, 4:8] = level * (0.5 + 0.5 * torch.rand(2, 4, 4, 4, generator=drawn))
    found[:, 1, 4:8, 4:8, 4:8] = torch.randn(2, 4, 4, 4, generator=drawn)
    return found


def pattern(found, factor=1.0):
    return factor * torch.fft.fftn(crystals_of(found, 0.1), dim=(1, 2, 3), norm="ortho").abs()


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("factor", [1e-2, 1.0, 1e4])
def test_no_loss_at_the_truth_whatever_the_photons_and_some_elsewhere(name, factor) -> None:
    measured, crystals = pattern(images(), factor), crystals_of(images(), 0.1)
    assert LOSSES[name](fit(crystals, measured)).abs().max() < 2e-3
    assert LOSSES[name](fit(crystals_of(images(1), 0.1), measured)).min() > 0.05


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_loss_is_the_mean_of_its_crystals_and_does_not_grow_with_their_number(name) -> None:
    found, measured = images(1), pattern(images())
    both = LOSSES[name](fit(crystals_of(found, 0.1), measured))
    for number in range(2):
        alone = LOSSES[name](fit(crystals_of(found[number : number + 1], 0.1), measured[number : number + 1]))
        assert both[number] == pytest.approx(float(alone), rel=1e-4)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_gradient_of_a_loss_is_its_slope(name) -> None:
    found, measured = images(1).double().requires_grad_(), pattern(images())

    def value(at):
        return LOSSES[name](fit(torch.polar(at[:, 0], at[:, 1]), measured.double())).sum()

    (gradient,) = torch.autograd.grad(value(found), found)
    way = torch.zeros_like(gradient)
    way[:, :, 4:8, 4:8, 4:8] = torch.randn(2, 2, 4, 4, 4, generator=torch.Generator().manual_seed(2))
    slope = (value(found.detach() + 1e-5 * way) - value(found.detach() - 1e-5 * way)) / 2e-5
    assert float((gradient * way).sum()) == pytest.approx(float(slope), rel=1e-3, abs=1e-6)


def test_the_published_loss_is_the_mean_of_misfit_and_lost_correlation() -> None:
    found = fit(crystals_of(images(1), 0.1), pattern(images()))
    expected = (found.chi2.sqrt() + 1 - found.correlation) / 2
    assert torch.allclose(LOSSES["comb2"](found), expected, atol=1e-4)


def test_the_support_is_where_the_amplitude_is_above_a_share_of_its_largest() -> None:
    found = images()
    found[:, 0, 4, 4, 4] = 0.05
    for level in (1.0, 1e-3):
        found[:, 0] *= level
        inside = crystals_of(found, 0.1) != 0
        # However faint, none is lost as a whole.
        assert int(inside.sum()) == 2 * (4**3 - 1)


def test_the_threshold_rises_from_first_to_last() -> None:
    values = [support_threshold(0.07, 0.1, done) for done in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert values == sorted(values)
    assert (values[0], values[-1]) == pytest.approx((0.07, 0.1))
