"""The three verbs: gather and scatter are adjoint, the modulus is imposed exactly."""

import pytest
import torch

from exitwave.physics.kernels import reference

CORNERS = [[0, 0], [3, 2], [4, 5], [3, 2]]
SHAPE = (4, 5)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def test_scatter_is_the_adjoint_of_gather():
    canvas, patches = random(2, 9, 11), random(4, 2, *SHAPE, seed=1)
    spread = torch.zeros_like(canvas)
    reference.scatter_add_(spread, patches, CORNERS)
    gathered = reference.gather(canvas, CORNERS, SHAPE)
    assert torch.allclose(
        torch.vdot(gathered.flatten(), patches.flatten()), torch.vdot(canvas.flatten(), spread.flatten()), rtol=1e-5
    )


def test_gather_cuts_the_window_that_the_corner_names():
    canvas = torch.arange(99.0).reshape(1, 9, 11)
    assert torch.equal(reference.gather(canvas, CORNERS, SHAPE)[1, 0], canvas[0, 3:7, 2:7])


def test_gradients_through_gather_and_through_its_gradient_are_exact():
    canvas = torch.randn(1, 9, 11, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: reference.gather(c, CORNERS, SHAPE), canvas)
    assert torch.autograd.gradgradcheck(lambda c: reference.gather(c, CORNERS, SHAPE).abs().square(), canvas)


def test_modulus_change_gives_the_measured_modulus_and_keeps_phases_and_mode_shares():
    waves = random(3, 2, 4, 5)
    amplitudes = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(1))
    change = waves.clone()
    misfit = reference.impose_modulus_(change, amplitudes, torch.ones(4, 5))
    revised = waves + change
    assert torch.allclose(reference.intensity(revised).sqrt(), amplitudes, atol=1e-5)
    ratio = revised / waves
    assert float(ratio.imag.abs().max()) < 1e-4
    assert torch.allclose(ratio[:, 0].real, ratio[:, 1].real, atol=1e-4)
    expected = (reference.intensity(waves).sqrt() - amplitudes).square().sum(dim=(1, 2))
    assert torch.allclose(misfit, expected, rtol=1e-5)


def test_untrusted_pixels_do_not_change_and_do_not_count():
    waves = random(1, 1, 4, 5)
    trusted = torch.ones(4, 5)
    trusted[1, 2] = 0
    amplitudes = torch.full((1, 4, 5), 1e6)
    change = waves.clone()
    lone = reference.impose_modulus_(change, amplitudes, trusted)
    assert change[0, 0, 1, 2] == 0
    assert float(lone) < float(reference.impose_modulus_(waves.clone(), amplitudes, torch.ones(4, 5)))


def test_zero_waves_and_zero_counts_stay_finite():
    waves = torch.zeros(1, 1, 4, 4, dtype=torch.complex64)
    misfit = reference.impose_modulus_(waves, torch.ones(1, 4, 4), torch.ones(4, 4))
    assert bool(torch.isfinite(torch.view_as_real(waves)).all())
    assert float(misfit) == pytest.approx(16)


@pytest.mark.parametrize("modes", [1, 3])
def test_intensity_adds_modes_and_agrees_with_its_differentiable_form(modes):
    waves = random(2, modes, 4, 5)
    fast = reference.intensity(waves)
    slow = reference.intensity(waves.clone().requires_grad_())
    assert torch.allclose(fast, waves.abs().square().sum(dim=1), rtol=1e-5)
    assert torch.allclose(fast, slow.detach(), rtol=1e-6)
