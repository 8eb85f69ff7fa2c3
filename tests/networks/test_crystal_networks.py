"""Networks for crystals: as published, slim, alive, and with nothing outside the middle of the grid."""

import math

import pytest
import torch

from exitwave.networks.crystal_networks import AutoPhaseNet, SlimCrystalNet

SMALL = {"channels": (8, 8, 16)}


def patterns(features=1, grid_px=32, count=2):
    return torch.rand(count, features, *(grid_px,) * 3, generator=torch.Generator().manual_seed(1))


def parameters(network):
    return sum(values.numel() for values in network.parameters())


def test_the_published_network_has_the_published_number_of_parameters() -> None:
    assert parameters(AutoPhaseNet(grid_px=64)) == pytest.approx(24.7e6, rel=2e-3)


def test_the_slim_network_fits_into_a_package() -> None:
    assert 4 * parameters(SlimCrystalNet(features=5, channels=(16, 48, 96))) < 6e6


@pytest.mark.parametrize("network", [AutoPhaseNet(grid_px=32, width=0.0625), SlimCrystalNet(**SMALL)])
def test_crystals_have_amplitudes_to_one_and_phases_to_pi_and_begin_alive(network) -> None:
    found = network.eval()(patterns())
    assert found.shape == (2, 2, 32, 32, 32)
    amplitude, phase = found[:, 0], found[:, 1]
    assert float(amplitude.detach().min()) >= 0
    assert float(amplitude.detach().max()) <= 1
    assert float(phase.detach().abs().max()) <= math.pi
    middle = amplitude[:, 8:24, 8:24, 8:24]
    assert float(middle.detach().median()) > 0.4


def test_the_slim_network_gives_exactly_nothing_outside_the_middle_half() -> None:
    found = SlimCrystalNet(**SMALL)(patterns())
    outside = torch.ones(32, 32, 32, dtype=torch.bool)
    outside[8:24, 8:24, 8:24] = False
    assert float(found[:, :, outside].abs().max()) == 0


def test_a_crystal_of_the_slim_network_does_not_depend_on_the_others_in_its_batch() -> None:
    network, shown = SlimCrystalNet(**SMALL), patterns(count=3)
    assert torch.allclose(network(shown)[1], network(shown[1:2])[0], atol=1e-4)


@pytest.mark.parametrize("cls", [AutoPhaseNet, SlimCrystalNet])
def test_the_same_seed_gives_the_same_weights(cls) -> None:
    options = SMALL if cls is SlimCrystalNet else {"width": 0.0625}
    one, again, other = (cls(grid_px=32, seed=seed, **options).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    assert not all(torch.equal(value, other[name]) for name, value in one.items())


def test_every_weight_has_a_part_in_the_answer() -> None:
    for network in (AutoPhaseNet(grid_px=32, width=0.0625), SlimCrystalNet(**SMALL)):
        network(patterns()).square().mean().backward()
        assert all(value.grad is not None and value.grad.abs().max() > 0 for value in network.parameters())


def test_patterns_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="this network takes 1 on grids of 32"):
        SlimCrystalNet(**SMALL)(patterns(features=2))
    with pytest.raises(ValueError, match="cannot be halved 4 times"):
        AutoPhaseNet(grid_px=40)
