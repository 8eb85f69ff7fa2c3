import math
from itertools import pairwise

import pytest
import torch

from exitwave.networks.patch_cnn import PatchCNN


def parameters(**options) -> int:
    return sum(values.numel() for values in PatchCNN(**options).parameters())


def convolutions(*channels: int) -> int:
    """Weights and offsets of 3 x 3 convolutions from each number of channels to the next."""
    return sum(outputs * (9 * inputs + 1) for inputs, outputs in pairwise(channels))


@pytest.mark.parametrize(("width", "published"), [(1.0, 1.10), (2.0, 4.40)])
def test_ptychopinn_has_as_many_parameters_as_published(width, published):
    encoder = [int(width * n) for n in (32, 32, 64, 64, 128, 128)]
    decoder = [int(width * n) for n in (128, 128, 128, 64, 64)]
    expected = convolutions(4, *encoder) + convolutions(*decoder, 1) + convolutions(*decoder, 4)
    assert parameters(frame_px=64, views=4, width=width) == expected
    assert round(expected / 1e6, 2) == published


def test_ptychonn_has_as_many_parameters_as_published():
    expected = convolutions(1, 32, 32, 64, 64, 128, 128) + 2 * convolutions(128, 128, 128, 64, 64, 32, 32, 1)
    assert parameters(frame_px=64, views=1, width=1.0, full=True) == expected
    assert round(expected / 1e6, 2) == 1.15


@pytest.mark.parametrize(
    ("frame_px", "encoder", "decoder"),
    [(128, [16, 32, 64, 128], [128, 64, 32]), (256, [8, 16, 32, 64, 128], [256, 128, 64, 32])],
)
def test_larger_frames_have_the_published_widths(frame_px, encoder, decoder):
    inside = [n for n in encoder for _ in range(2)]
    outside = [encoder[-1]] + [n for n in decoder for _ in range(2)]
    expected = convolutions(2, *inside) + convolutions(*outside, 1) + convolutions(*outside, 2)
    assert parameters(frame_px=frame_px, views=2, width=1.0) == expected


@pytest.mark.parametrize("frame_px", [16, 32, 64, 96, 128, 256])
@pytest.mark.parametrize("full", [False, True])
def test_tiles_are_the_centre_or_all_of_the_frame(frame_px, full):
    network = PatchCNN(frame_px=frame_px, views=3, width=0.1, full=full)
    side = frame_px if full else frame_px // 2
    assert network.tile_px == side
    assert network(torch.rand(2, 3, frame_px, frame_px)).shape == (2, 2, 3, side, side)


def driven(offset: float, **options) -> torch.Tensor:
    """Output of a network whose heads are driven to their limits."""
    network = PatchCNN(frame_px=16, views=2, width=0.1, **options)
    with torch.no_grad():
        for decoder in network.decoders.values():
            decoder[-1].bias.fill_(offset)
        return network(torch.ones(1, 2, 16, 16))[0]


@pytest.mark.parametrize(
    ("options", "high", "low"),
    [({}, (1, math.pi), (0, -math.pi)), ({"amplitude": "softplus"}, (50, math.pi), (0, -math.pi))],
)
def test_heads_reach_all_phases_and_the_amplitudes_they_promise(options, high, low):
    for offset, (amplitude, phase) in ((50.0, high), (-50.0, low)):
        out = driven(offset, **options)
        assert torch.allclose(out[0], torch.tensor(float(amplitude)), atol=0.5 if amplitude == 50 else 1e-4)
        assert torch.allclose(out[1], torch.tensor(phase), atol=1e-4)


def test_heads_of_full_frames_are_linear():
    near, far = driven(0.0, full=True), driven(-50.0, full=True)
    assert torch.allclose(far, near - 50, atol=1e-4)


def test_views_share_one_amplitude_only_where_asked_to():
    patterns = torch.rand(1, 3, 16, 16)
    shared = PatchCNN(frame_px=16, views=3, width=0.5)(patterns)[0]
    apart = PatchCNN(frame_px=16, views=3, width=0.5, shared_amplitude=False)(patterns)[0]
    assert torch.equal(shared[0, 0], shared[0, 2])
    assert not torch.equal(apart[0, 0], apart[0, 2])
    assert not torch.equal(shared[1, 0], shared[1, 2])


def test_groups_do_not_see_each_other():
    network = PatchCNN(frame_px=16, views=2, width=0.5)
    patterns = torch.rand(4, 2, 16, 16)
    assert torch.allclose(network(patterns)[1:2], network(patterns[1:2]), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_px": 60, "views": 4}, "multiple of 8"),
        ({"frame_px": 130, "views": 4}, "multiple of 32"),
        ({"frame_px": 64, "views": 0}, "at least one view"),
        ({"frame_px": 64, "views": 1, "width": 0.0}, "positive width"),
        ({"frame_px": 64, "views": 1, "full": True, "amplitude": "softplus"}, "heads are linear"),
    ],
)
def test_networks_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PatchCNN(**options)


def test_patterns_of_another_shape_are_refused():
    network = PatchCNN(frame_px=16, views=2, width=0.1)
    for shape in ((1, 4, 16, 16), (1, 2, 32, 32)):
        with pytest.raises(ValueError, match="groups of 2 patterns of 16 x 16"):
            network(torch.rand(shape))
