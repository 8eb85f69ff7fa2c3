"""Laws of the Fourier layer."""

import pytest
import torch

from exitwave.physics import fourier

SHAPES = [(8, 8), (7, 9), (8, 11)]


def waves(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
def test_transform_conserves_energy_and_is_undone_by_its_adjoint(shape):
    x, y = waves(3, *shape), waves(3, *shape, seed=1)
    assert torch.allclose(fourier.fft2(x).abs().square().sum(), x.abs().square().sum(), rtol=1e-5)
    assert torch.allclose(fourier.ifft2(fourier.fft2(x)), x, atol=1e-5)
    assert torch.allclose(
        torch.vdot(fourier.fft2(x).flatten(), y.flatten()), torch.vdot(x.flatten(), fourier.ifft2(y).flatten())
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_corner_and_centre_are_inverse_for_odd_sizes_too(shape):
    x = waves(*shape)
    assert torch.equal(fourier.to_centre(fourier.to_corner(x)), x)
    centred = torch.zeros(shape)
    centred[shape[0] // 2, shape[1] // 2] = 1
    assert fourier.to_corner(centred)[0, 0] == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_whole_pixel_shift_equals_roll(shape):
    x = waves(1, *shape)
    moved = fourier.fourier_shift(x, torch.tensor([[2.0, -3.0]]))
    assert torch.allclose(moved[0], x[0].roll((2, -3), dims=(0, 1)), atol=1e-5)


def test_shift_moves_a_gaussian_to_its_closed_form():
    rows = torch.arange(32.0)[:, None]
    columns = torch.arange(40.0)[None, :]

    def spot(y: float, x: float) -> torch.Tensor:
        return torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 8).to(torch.complex64)

    moved = fourier.fourier_shift(spot(15, 20)[None], torch.tensor([[0.3, -1.7]]))[0]
    assert torch.allclose(moved, spot(15.3, 18.3), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_shift_there_and_back_returns_and_is_adjoint_to_itself_reversed(shape):
    x, y = waves(2, *shape), waves(2, *shape, seed=1)
    shift = torch.tensor([[0.4, -0.2], [1.3, 2.6]])
    assert torch.allclose(fourier.fourier_shift(fourier.fourier_shift(x, shift), -shift), x, atol=1e-5)
    forward = torch.vdot(fourier.fourier_shift(x, shift).flatten(), y.flatten())
    assert torch.allclose(forward, torch.vdot(x.flatten(), fourier.fourier_shift(y, -shift).flatten()), rtol=1e-4)


def test_shift_gradient_with_respect_to_the_shift_agrees_with_differences():
    x, y = waves(1, 8, 8), waves(1, 8, 8, seed=1)

    def overlap(shift: torch.Tensor) -> torch.Tensor:
        return (fourier.fourier_shift(x, shift) * y.conj()).real.sum()

    shift = torch.tensor([[0.3, -0.4]], dtype=torch.float64, requires_grad=True)
    overlap(shift).backward()
    step = torch.tensor([[1e-3, 0.0]], dtype=torch.float64)
    numeric = (overlap(shift.detach() + step) - overlap(shift.detach() - step)) / 2e-3
    assert shift.grad is not None
    assert float(shift.grad[0, 0]) == pytest.approx(float(numeric), rel=2e-2)


@pytest.mark.parametrize("shape", [(8, 9), (7, 6), (5, 6, 8)])
def test_the_twin_has_the_same_pattern_keeps_the_centre_and_is_its_own_inverse(shape):
    image = torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    twin, centre = fourier.conjugate_inverse(image), tuple(n // 2 for n in shape)
    assert torch.allclose(torch.fft.fftn(twin).abs(), torch.fft.fftn(image).abs(), atol=1e-3)
    assert twin[centre] == image[centre].conj()
    assert torch.equal(fourier.conjugate_inverse(twin), image)
