"""One epoch beside its transforms: threads that share the voxels change nothing."""

import pytest
import torch

from exitwave.problems import support_step
from exitwave.problems.support_step import confined, impose_modulus_


def drawn(seed: int) -> torch.Tensor:
    return torch.randn(8, 9, 10, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def two_threads(monkeypatch):
    monkeypatch.setattr(support_step, "_parts", lambda pixels: 2)


def test_the_modulus_is_imposed_where_it_is_trusted(two_threads):
    wave, amplitudes = drawn(1), drawn(2).abs()
    trusted = (drawn(3).real > 0).float()
    change = wave.clone()
    misfit = impose_modulus_(change, amplitudes, trusted, torch.zeros_like(trusted))
    expected = torch.where(trusted > 0, amplitudes, wave.abs())
    assert torch.allclose((wave + change).abs(), expected, atol=1e-5)
    assert misfit == pytest.approx(float(((wave.abs() - amplitudes).square() * trusted).sum()), rel=1e-5)


@pytest.mark.parametrize(("kept", "returned"), [(0.0, 0.0), (1.0, -0.9)])
def test_outside_the_support_the_iterate_is_fed_back(two_threads, kept, returned):
    obj, change, support = drawn(1), drawn(2), drawn(3).real > 0
    fitting = obj + change
    after, inside = confined(obj, change, support, kept, returned)
    assert torch.equal(inside, torch.where(support, fitting, 0.0))
    assert torch.equal(after, torch.where(support, fitting, kept * obj + returned * fitting))
