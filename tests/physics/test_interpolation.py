"""Sub-pixel shifts by a few weights: their error against the exact shift is the one that is stated."""

import pytest
import torch

from exitwave.physics.fourier import fft2, fourier_shift
from exitwave.physics.interpolation import Interpolation
from exitwave.physics.kernels import dispatch as kernels
from exitwave.simulation.probes import zone_plate

AXIS_PX = torch.linspace(-0.5, 0.5, 9, dtype=torch.float64)
SHIFTS_PX = torch.cartesian_prod(AXIS_PX, AXIS_PX[[0, 5, 8]] + torch.tensor([0, 0.01, 0]))


def lens(aperture: float, shape: tuple[int, int] = (64, 48)) -> torch.Tensor:
    """A probe with power up to `aperture` of the largest frequency; the more, the harder to interpolate."""
    return zone_plate(shape, diameter_px=24, aperture=aperture)[None].to(torch.complex64)


def errors(probe: torch.Tensor, found: Interpolation, shifts_px: torch.Tensor) -> torch.Tensor:
    moved = kernels.interpolate(probe, found.weights(shifts_px), torch.arange(len(shifts_px)))
    return (moved - fourier_shift(probe[None], shifts_px)).flatten(1).norm(dim=1) / probe.norm()


@pytest.mark.parametrize("aperture", [0.5, 0.7, 0.9])
def test_the_stated_error_is_that_of_the_worst_shift(aperture):
    probe = lens(aperture)
    found = Interpolation.of(fft2(probe))
    worst = float(errors(probe, found, SHIFTS_PX).max())
    assert 0.5 * found.error < worst < 1.1 * found.error


def test_a_probe_whose_light_stays_off_the_edge_of_the_frame_is_moved_within_a_ten_thousandth():
    found = Interpolation.of(fft2(lens(0.35)))
    assert found.error < 1e-4
    assert float(errors(lens(0.35), found, SHIFTS_PX).max()) < 1e-4
    assert Interpolation.of(fft2(lens(0.9))).error > 1e-2


def test_weights_fit_all_modes_together():
    modes = torch.cat([lens(0.5), 0.5 * lens(0.5).roll(5, dims=-1) * torch.linspace(0, 1, 48)])
    found = Interpolation.of(fft2(modes))
    assert float(errors(modes, found, SHIFTS_PX).max()) < 1.1 * found.error < 0.02


def test_shifts_between_those_that_were_fitted_are_as_good():
    probe = lens(0.5)
    found = Interpolation.of(fft2(probe))
    generator = torch.Generator().manual_seed(0)
    anywhere = torch.rand(40, 2, dtype=torch.float64, generator=generator) - 0.5
    assert float(errors(probe, found, anywhere).max()) < 1.1 * found.error + 1e-4
