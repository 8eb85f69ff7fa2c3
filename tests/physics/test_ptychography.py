"""The forward model against an index-shift oracle, limits and derivatives."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.geometry import Geometry
from exitwave.physics.noise import Amplitude, Gaussian, Poisson
from exitwave.physics.propagation import free_space
from exitwave.physics.ptychography import Ptychography

GEOMETRY = Geometry.from_energy(8000, 2.0, (75e-6, 60e-6))
SHAPE = (12, 16)


def estimate(slices: int = 1, modes: int = 1, fraction: float = 0.0) -> PtychoEstimate:
    g = torch.Generator().manual_seed(3)
    positions = torch.tensor([[2.0, 3.0], [5.0, 9.0], [7.0, 1.0]], dtype=torch.float64) + fraction
    return PtychoEstimate(
        object=torch.polar(torch.rand(slices, 24, 30, generator=g) + 0.5, torch.rand(slices, 24, 30, generator=g)),
        probe=torch.randn(modes, *SHAPE, dtype=torch.complex64, generator=g),
        positions_px=positions,
    )


def test_intensity_agrees_with_cropping_and_numpy_transforms():
    x = estimate(modes=2)
    seen = Ptychography.of(GEOMETRY, SHAPE).intensity(x, torch.tensor([2, 0]))
    for frame, (row, column) in zip(seen.numpy(), [(7, 1), (2, 3)], strict=True):
        patch = x.object[0].numpy()[row : row + 12, column : column + 16]
        oracle = sum(np.abs(np.fft.fft2(p * patch, norm="ortho")) ** 2 for p in x.probe.numpy())
        assert np.allclose(frame, oracle, rtol=1e-4, atol=1e-4)


def test_a_feature_at_larger_y_enters_frames_at_larger_positions():
    x = estimate()
    obj = torch.zeros(1, 24, 30, dtype=torch.complex64)
    obj[0, 18, 5] = 1
    flat = PtychoEstimate(object=obj, probe=torch.ones(1, *SHAPE, dtype=torch.complex64), positions_px=x.positions_px)
    photons = Ptychography.of(GEOMETRY, SHAPE).intensity(flat, torch.arange(3)).sum(dim=(1, 2))
    assert photons.tolist() == [0, 0, pytest.approx(1)]


def test_frame_photons_are_the_photons_that_the_probe_brings_through_the_sample():
    x = estimate(fraction=0.3)
    clear = PtychoEstimate(object=torch.ones_like(x.object), probe=x.probe, positions_px=x.positions_px)
    seen = Ptychography.of(GEOMETRY, SHAPE).intensity(clear, torch.arange(3))
    assert torch.allclose(seen.sum(dim=(1, 2)), x.probe.abs().square().sum(), rtol=1e-4)


def test_sub_pixel_position_equals_a_shifted_probe():
    size = 32
    rows, columns = torch.arange(size)[:, None] - 16.0, torch.arange(size)[None, :] - 16.0

    def probe(y: float, x: float) -> torch.Tensor:
        return torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 18).to(torch.complex64)[None]

    obj = torch.polar(torch.ones(1, 40, 40), torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(0)))
    model = Ptychography.of(GEOMETRY, (size, size))
    moved = PtychoEstimate(object=obj, probe=probe(0, 0), positions_px=torch.tensor([[3.25, 4.6]], dtype=torch.float64))
    still = PtychoEstimate(
        object=obj, probe=probe(0.25, -0.4), positions_px=torch.tensor([[3.0, 5.0]], dtype=torch.float64)
    )
    one, other = (model.intensity(x, torch.tensor([0])) for x in (moved, still))
    assert torch.allclose(one, other, atol=1e-5)


def test_a_clear_second_slice_changes_nothing_but_propagation():
    x = estimate()
    gap = torch.tensor([2e-6], dtype=torch.float64)
    thick = replace(x, object=torch.cat([x.object, torch.ones_like(x.object)]), slice_spacing_m=gap)
    model = Ptychography.of(GEOMETRY, SHAPE)
    frames = torch.arange(3)
    expected = free_space(model.exit_waves(x, frames), GEOMETRY.object_pixel_m(SHAPE), GEOMETRY.wavelength_m, 2e-6)
    assert torch.allclose(model.exit_waves(thick, frames), expected, atol=1e-5)


def test_slices_without_spacing_multiply():
    x = estimate(slices=2)
    merged = PtychoEstimate(object=x.object.prod(dim=0, keepdim=True), probe=x.probe, positions_px=x.positions_px)
    frames = torch.arange(3)
    touching = replace(x, slice_spacing_m=torch.tensor([1e-15], dtype=torch.float64))
    stacked = Ptychography.of(GEOMETRY, SHAPE).exit_waves(touching, frames)
    assert torch.allclose(stacked, Ptychography.of(GEOMETRY, SHAPE).exit_waves(merged, frames), atol=1e-4)


def test_wrong_number_of_slices_is_refused():
    with pytest.raises(InputError, match="2 slices"):
        Ptychography.of(GEOMETRY, SHAPE).exit_waves(estimate(slices=2), torch.arange(3))
    with pytest.raises(InputError, match="2 slices but 2 spacings"):
        replace(estimate(slices=2), slice_spacing_m=torch.tensor([1e-6, 1e-6], dtype=torch.float64))


@pytest.mark.parametrize("noise", [Poisson(), Gaussian(sigma=2.0), Amplitude()])
def test_likelihoods_are_least_where_expected_equals_measured(noise):
    measured = torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(0)) * 20 + 1
    trusted = torch.ones(5, 6)
    expected = measured.clone().requires_grad_()
    best = noise.loss(expected, measured, trusted)
    best.backward()
    assert float(expected.grad.abs().max()) < 1e-6
    assert float(best.detach()) < float(noise.loss(measured * 1.1, measured, trusted))
    trusted[0, 0] = 0
    spoiled = measured.clone()
    spoiled[:, 0, 0] = 1e9
    assert torch.allclose(noise.loss(measured * 1.1, spoiled, trusted), noise.loss(measured * 1.1, measured, trusted))


def test_poisson_deviance_of_true_expectation_is_about_half_a_nat_a_pixel():
    g = torch.Generator().manual_seed(0)
    expected = torch.rand(20, 16, 16, generator=g) * 50 + 10
    counts = torch.poisson(expected, generator=g)
    trusted = torch.ones(16, 16)
    excess = Poisson().loss(expected, counts, trusted) - Poisson().loss(counts, counts, trusted)
    assert float(excess) == pytest.approx(0.5, abs=0.03)


def test_amplitude_loss_gradient_is_the_modulus_constraint():
    x = estimate()
    model = Ptychography.of(GEOMETRY, SHAPE)
    frames = torch.arange(3)
    measured = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(1)) * 3
    waves = model.exit_waves(x, frames).detach().requires_grad_()
    at_detector = model.propagate(waves)
    loss = (at_detector.abs().square().sum(dim=1).sqrt() - measured.sqrt()).square().sum()
    loss.backward()
    from exitwave.physics.kernels import reference

    change = model.propagate(waves.detach())
    reference.impose_modulus_(change, measured.sqrt(), torch.arange(3), torch.ones(SHAPE), torch.zeros(SHAPE))
    # Steepest descent with step 1/2 is exactly the projection on the measured modulus.
    assert torch.allclose(-waves.grad / 2, model.backpropagate(change), atol=1e-4)


def test_gradients_of_the_whole_model_agree_with_differences():
    base = estimate(modes=2, fraction=0.3)
    x = PtychoEstimate(
        object=base.object.to(torch.complex128), probe=base.probe.to(torch.complex128), positions_px=base.positions_px
    )
    model = Ptychography.of(GEOMETRY, SHAPE)
    frames = torch.arange(3)

    def loss(obj: torch.Tensor) -> torch.Tensor:
        return (
            model.intensity(PtychoEstimate(object=obj, probe=x.probe, positions_px=x.positions_px), frames).sqrt().sum()
        )

    obj = x.object.clone().requires_grad_()
    loss(obj).backward()
    direction = torch.randn(1, 24, 30, dtype=torch.complex128, generator=torch.Generator().manual_seed(5))
    numeric = (loss(x.object + 1e-4 * direction) - loss(x.object - 1e-4 * direction)) / 2e-4
    analytic = (obj.grad.conj() * direction).real.sum()
    assert float(analytic) == pytest.approx(float(numeric), rel=1e-3)
