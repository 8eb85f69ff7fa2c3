import pytest
import torch

from exitwave.networks.unet import UNet


def canvases(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("stem", [1, 2])
@pytest.mark.parametrize("levels", [0, 1, 3])
def test_canvases_keep_their_shape_whatever_it_is(stem, levels):
    network = UNet(features=3, width=4, levels=levels, stem=stem)
    assert network.multiple == stem * 2**levels
    for rows, columns in ((1, 2), (3, 1)):
        shape = (2, 3, 2 * rows * network.multiple, 2 * columns * network.multiple)
        assert network(canvases(*shape)).shape == (2, 2, *shape[2:])


@pytest.mark.parametrize("shape", [(1, 3, 20, 16), (1, 3, 16, 17)])
def test_canvases_that_do_not_halve_are_refused_with_what_would(shape):
    with pytest.raises(ValueError, match="multiples of 8"):
        UNet(features=3, width=4)(canvases(*shape))


def test_wrong_features_and_networks_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="takes 3"):
        UNet(features=3, width=4)(canvases(1, 2, 16, 16))
    for options in ({"width": 0}, {"levels": -1}, {"stem": 0}):
        with pytest.raises(ValueError, match="expected"):
            UNet(features=3, **options)


@pytest.mark.parametrize("stem", [1, 2])
def test_corrections_begin_small_and_differ_from_canvas_to_canvas(stem):
    out = UNet(features=4, width=16, stem=stem)(canvases(8, 4, 32, 32)).detach()
    assert 0.01 < float(out.square().mean().sqrt()) < 0.3
    assert float(out.var(dim=0).mean() / out.square().mean()) > 0.3


def test_every_weight_learns_from_the_first_step():
    network = UNet(features=2, width=8)
    network(canvases(2, 2, 16, 16)).square().sum().backward()
    for name, values in network.named_parameters():
        assert values.grad is not None, name
        assert float(values.grad.abs().max()) > 1e-6, name


@pytest.mark.parametrize("stem", [1, 2])
def test_moving_a_canvas_by_the_multiple_moves_the_correction(stem):
    network = UNet(features=1, width=6, levels=1, stem=stem)
    canvas = torch.zeros(1, 1, 96, 96)
    canvas[..., 44:52, 44:52] = canvases(1, 1, 8, 8)
    step = network.multiple
    out, moved = network(canvas), network(canvas.roll((step, -step), dims=(2, 3)))
    inner = (..., slice(40, 56), slice(40, 56))
    assert torch.allclose(moved.roll((-step, step), dims=(2, 3))[inner], out[inner], atol=1e-5)


def test_a_canvas_gives_the_same_in_any_company():
    network = UNet(features=2, width=8)
    batch = canvases(4, 2, 16, 24)
    assert torch.allclose(network(batch)[2:3], network(batch[2:3]), atol=1e-6)


def test_coarse_levels_see_further():
    def reach(levels: int) -> int:
        canvas = torch.zeros(1, 1, 128, 128, requires_grad=True)
        UNet(features=1, width=4, levels=levels)(canvas)[0, 0, 64, 64].backward()
        assert canvas.grad is not None
        return int((canvas.grad[0, 0].abs().sum(dim=1) > 0).sum())

    assert reach(0) < reach(1) < reach(3)
    assert reach(3) >= 64


def test_a_few_steps_of_training_lower_the_error():
    network = UNet(features=2, width=8, levels=2, stem=2)
    images = canvases(8, 2, 16, 16)
    wanted = images.roll(1, dims=3) * 0.3
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    errors = []
    for _ in range(100):
        error = (network(images) - wanted).square().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(float(error.detach()))
    assert errors[-1] < 0.3 * errors[0]
