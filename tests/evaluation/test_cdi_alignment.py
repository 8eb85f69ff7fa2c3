"""Reconstructions of one pattern laid onto one another: shift, twin and phase are found and removed."""

import pytest
import torch

from exitwave.evaluation.cdi_alignment import register_twin, shifted
from exitwave.physics.fourier import conjugate_inverse


def blob(shape, seed=0):
    """A smooth complex object without symmetry, far from the edges."""
    generator = torch.Generator().manual_seed(seed)
    rulers = torch.meshgrid(*(torch.arange(n) - n // 2.0 for n in shape), indexing="ij")
    made = torch.zeros(shape, dtype=torch.complex64)
    for _ in range(6):
        centre = [(torch.rand(1, generator=generator).item() - 0.5) * n / 4 for n in shape]
        squared = sum((r - c) ** 2 for r, c in zip(rulers, centre, strict=True))
        turn = torch.rand(1, generator=generator) * 6
        made += torch.polar(torch.ones(1), turn) * torch.exp(-squared / 2 / (min(shape) / 16) ** 2)
    return made


@pytest.mark.parametrize("shape", [(48, 48), (47, 50), (24, 25, 26)])
@pytest.mark.parametrize("turned", [False, True])
def test_shift_twin_and_phase_are_removed(shape, turned):
    reference = blob(shape)
    shift = (3.3, -5.62, 2.5)[: len(shape)]
    image = shifted(reference * torch.polar(torch.ones(1), torch.tensor(1.1)), shift)
    laid = register_twin(conjugate_inverse(image) if turned else image, reference)
    assert laid.twin == turned
    assert laid.correlation > 0.9999
    assert float((laid.image - reference).norm() / reference.norm()) < 0.02


@pytest.mark.parametrize("shape", [(16, 16), (15, 18), (8, 9, 10)])
def test_the_twin_of_the_twin_is_the_object_and_gives_the_same_pattern(shape):
    obj = blob(shape)
    twin = conjugate_inverse(obj)
    assert torch.equal(conjugate_inverse(twin), obj)
    assert torch.allclose(torch.fft.fftn(twin).abs(), torch.fft.fftn(obj).abs(), atol=1e-4)


def test_what_lies_over_a_reconstruction_comes_along():
    reference = blob((40, 40))
    image = conjugate_inverse(torch.roll(reference, (4, -3), (0, 1)))
    laid = register_twin(image, reference)
    over = (image.abs() > 0.3).float()
    assert torch.equal(laid.moved(over).abs() > 0.5, reference.abs() > 0.3)


def test_different_objects_do_not_correlate():
    speckle = [torch.randn(40, 40, dtype=torch.complex64, generator=torch.Generator().manual_seed(i)) for i in (1, 2)]
    assert register_twin(*speckle).correlation < 0.2
