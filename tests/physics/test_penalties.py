"""Penalties on the object: their gradients, and what they leave alone."""

import pytest
import torch

from exitwave.physics.penalties import sparsity, total_variation


def obj(seed: int = 0) -> torch.Tensor:
    return 1 + 0.5 * torch.randn(2, 7, 9, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


PENALTIES = {
    "isotropic": lambda x: total_variation(x, isotropic=True),
    "anisotropic": lambda x: total_variation(x, isotropic=False),
    "l1": sparsity,
}


@pytest.mark.parametrize("name", PENALTIES)
def test_the_direction_is_the_negative_gradient_of_the_value(name):
    x = obj().requires_grad_()
    value, descent = PENALTIES[name](x)
    value.backward()
    assert torch.allclose(descent.detach(), -x.grad / 2)


def test_total_variation_of_an_edge_is_its_length_times_its_height():
    x = torch.ones(1, 20, 30, dtype=torch.complex128)
    x[:, :, 15:] = 0.6j
    height = abs(1 - 0.6j)
    for isotropic in (True, False):
        value, _ = total_variation(x, isotropic=isotropic)
        assert float(value) == pytest.approx(20 * height, rel=2e-3)


def test_slices_do_not_mix():
    x = obj()
    both, _ = total_variation(x)
    assert float(both) == pytest.approx(sum(float(total_variation(part[None])[0]) for part in x))


def test_vacuum_costs_nothing():
    empty = torch.ones(1, 6, 6, dtype=torch.complex64)
    for penalty in PENALTIES.values():
        value, descent = penalty(empty)
        assert float(value) == pytest.approx(0, abs=1e-5)
        assert float(descent.abs().max()) == 0
