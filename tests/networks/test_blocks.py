import pytest
import torch

from exitwave.networks.blocks import Convolution, Downsample, initialise
from exitwave.networks.patch_cnn import PatchCNN
from exitwave.networks.unet import UNet

MAKERS = [lambda seed: UNet(features=2, width=8, seed=seed), lambda seed: PatchCNN(frame_px=16, views=2, seed=seed)]


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([values.flatten() for values in network.parameters()]).detach()


@pytest.mark.parametrize("make", MAKERS)
def test_weights_depend_on_the_seed_alone(make):
    torch.manual_seed(1)
    first = weights(make(5))
    torch.manual_seed(2)
    assert torch.equal(first, weights(make(5)))
    assert not torch.equal(first, weights(make(6)))


@pytest.mark.parametrize("make", MAKERS)
def test_making_a_network_leaves_the_global_generator_alone(make):
    before = torch.random.get_rng_state()
    make(0)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("make", MAKERS)
def test_weights_drawn_anew_are_those_of_a_new_network(make):
    network = make(0)
    initialise(network, 7)
    assert torch.equal(weights(network), weights(make(7)))


@pytest.mark.parametrize("make", MAKERS)
def test_all_layers_with_weights_are_drawn(make):
    for name, values in make(0).named_parameters():
        assert bool((values == 0).all()) == name.endswith("bias"), name


@pytest.mark.parametrize(("layer", "fans"), [(Convolution(20, 30), 9 * 50), (Downsample(20, 40), 4 * 60)])
def test_weights_are_uniform_with_glorots_variance(layer, fans):
    initialise(layer, 0)
    bound = (6 / fans) ** 0.5
    assert float(layer.weight.detach().abs().max()) == pytest.approx(bound, rel=0.01)
    assert float(layer.weight.detach().var()) == pytest.approx(bound**2 / 3, rel=0.05)
    assert not bool(layer.bias.any())


def test_gain_scales_the_weights():
    plain, small = Convolution(8, 8), Convolution(8, 8, gain=0.1)
    initialise(plain, 0)
    initialise(small, 0)
    assert torch.allclose(small.weight, 0.1 * plain.weight)
