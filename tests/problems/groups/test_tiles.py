"""The overlap constraint map against index shifts, closed forms and its adjoint."""

import math

import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.problems.groups.tiles import Kind, _moves, merge

KINDS = ["bilinear", "bicubic", "fourier"]
FRAME, CANVAS = 24, (32, 36)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def band_limited(side: int, highest: float, seed: int = 0) -> torch.Tensor:
    """A periodic random image without ripples above so many cycles per pixel, float64."""
    k = torch.fft.fftfreq(side, dtype=torch.float64)
    passed = torch.hypot(k[:, None], k[None]) < highest
    return torch.fft.ifft2(torch.fft.fft2(random(side, side, seed=seed, dtype=torch.complex128)) * passed)


def cut(image: torch.Tensor, corner: torch.Tensor, side: int) -> torch.Tensor:
    """The window of a periodic image at a sub-pixel corner, exactly."""
    k = torch.fft.fftfreq(len(image), dtype=torch.float64)
    ramp = torch.exp(2j * torch.pi * (corner[0] * k[:, None] + corner[1] * k[None]))
    return torch.fft.ifft2(torch.fft.fft2(image) * ramp)[:side, :side]


def translate(images: torch.Tensor, shift_px: torch.Tensor, kind: Kind) -> torch.Tensor:
    """Images moved by their shifts, as `merge` moves tiles; what comes in at the edge is zero."""
    rows, columns = (_moves(n, n, shift_px[:, i], kind).to(images.real.dtype) for i, n in enumerate(images.shape[-2:]))
    return torch.complex(rows @ images.real @ columns.mT, rows @ images.imag @ columns.mT)


def tapered(side: int) -> torch.Tensor:
    window = torch.hann_window(side + 2, periodic=False, dtype=torch.float64)[1:-1]
    return (window[:, None] * window)[None, None]


@pytest.mark.parametrize("kind", KINDS)
def test_whole_pixel_translation_moves_indices_down_and_right_and_fills_with_zeros(kind):
    image = random(2, 9, 12)
    moved = translate(image, torch.tensor([[2.0, -3.0], [0.0, 4.0]]), kind)
    expected = torch.zeros_like(image)
    expected[0, 2:, :-3] = image[0, :-2, 3:]
    expected[1, :, 4:] = image[1, :, :-4]
    assert torch.allclose(moved, expected, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_translation_back_is_the_adjoint(kind):
    x, y = random(3, 10, 11, dtype=torch.complex128), random(3, 10, 11, seed=1, dtype=torch.complex128)
    shift = torch.tensor([[0.3, -1.6], [2.5, 0.5], [-0.2, 0.9]])
    forth, back = translate(x, shift, kind), translate(y, -shift, kind)
    assert torch.allclose(torch.vdot(y.flatten(), forth.flatten()), torch.vdot(back.flatten(), x.flatten()))


@pytest.mark.parametrize(
    ("kind", "passed"),
    [
        ("bilinear", lambda k: math.cos(math.pi * k)),
        ("bicubic", lambda k: 9 / 8 * math.cos(math.pi * k) - 1 / 8 * math.cos(3 * math.pi * k)),
        ("fourier", lambda k: 1.0),
    ],
)
@pytest.mark.parametrize("k", [0.05, 0.125, 0.25])
def test_half_a_pixel_passes_ripples_as_the_closed_form_says(kind, passed, k):
    """At half Nyquist (k = 1/4) bilinear passes 71 %, bicubic 88 %, Fourier 100 %."""
    x = torch.arange(256)
    taper = torch.exp(-(((x - 128) / 25.0) ** 2))
    ripple = (taper * torch.exp(2j * torch.pi * k * x)).expand(1, 4, -1)
    moved = translate(ripple, torch.tensor([[0.0, 0.5]]), kind)
    assert float(moved[0, 0].abs().max()) == pytest.approx(passed(k), rel=2e-3)


@pytest.mark.parametrize(("kind", "error"), [("bilinear", 0.05), ("bicubic", 5e-3), ("fourier", 1e-3)])
def test_there_and_back_again_is_where_it_was(kind, error):
    image = (band_limited(64, 0.1) * tapered(64)[0, 0])[None]
    shift = torch.tensor([[0.4, -0.7]])
    back = translate(translate(image, shift, kind), -shift, kind)
    assert float((back - image).norm() / image.norm()) < error
    # The wrong way, two shifts add up.
    assert float((translate(translate(image, shift, kind), shift, kind) - image).norm() / image.norm()) > 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", [12, 13, 24])
def test_true_tiles_at_whole_pixels_are_merged_into_the_truth(kind, side):
    truth = random(*CANVAS)
    places = torch.tensor([[[0, 0], [3, 1], [8, 12], [5, 7]]])
    inner = FRAME // 2 - side // 2
    expected, tiles = torch.zeros_like(truth), []
    for row, column in places[0].tolist():
        window = (slice(row + inner, row + inner + side), slice(column + inner, column + inner + side))
        tiles.append(truth[window])
        expected[window] = truth[window]
    merged = merge(torch.stack(tiles)[None], places.float(), frame_px=FRAME, canvas_shape=CANVAS, kind=kind)
    assert torch.allclose(merged[0], expected, atol=1e-5)
    assert torch.equal(merged[0] == 0, expected == 0)


@pytest.mark.parametrize("kind", KINDS)
def test_overlapping_tiles_are_averaged_with_their_weights_group_by_group(kind):
    tiles = torch.tensor([[1.0, 4.0], [2j, 8j]])[:, :, None, None].expand(2, 2, 4, 4).to(torch.complex64)
    weights = torch.tensor([1.0, 3.0])[None, :, None, None].expand(1, 2, 4, 4)
    places = torch.tensor([[[0.0, 0.0], [2.0, 0.0]], [[0.0, 1.0], [0.0, 3.0]]])
    merged = merge(tiles, places, frame_px=4, canvas_shape=(6, 8), kind=kind, weights=weights)
    first, second = torch.zeros(6, 8, dtype=torch.complex64), torch.zeros(6, 8, dtype=torch.complex64)
    first[:2, :4], first[2:4, :4], first[4:, :4] = 1, 3.25, 4
    second[:4, 1:3], second[:4, 3:5], second[:4, 5:7] = 2j, 6.5j, 8j
    assert torch.allclose(merged, torch.stack([first, second]), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "weighted", "error"),
    [("bilinear", False, 0.02), ("bicubic", False, 0.002), ("bicubic", True, 0.002), ("fourier", True, 2e-4)],
)
def test_true_tiles_at_sub_pixel_places_are_merged_into_the_smooth_truth(kind, weighted, error):
    """Half-pixel offsets, the worst; an asymmetric object at asymmetric places, so that no flip or sign goes unseen."""
    truth, side = band_limited(128, 0.08), 32
    places = torch.tensor([[[3.5, 2.25], [9.0, 4.5], [2.75, 10.5], [8.3, 9.9]]], dtype=torch.float64)
    tiles = torch.stack([cut(truth, place + 16, side) for place in places[0]])[None]
    weights = tapered(side) if weighted else None
    merged = merge(tiles, places, frame_px=64, canvas_shape=(76, 78), kind=kind, weights=weights)[0]
    seen = (slice(28, 46), slice(28, 46))
    assert float((merged[seen] - truth[seen]).norm() / truth[seen].norm()) < error


def test_beside_the_tiles_there_is_nothing_and_no_pixel_explodes():
    for kind in KINDS:
        tiles = torch.full((1, 1, 12, 12), 1 + 1j)
        merged = merge(tiles, torch.tensor([[[3.5, 4.25]]]), frame_px=FRAME, canvas_shape=CANVAS, kind=kind)
        # A constant stays one wherever it is seen.
        assert torch.allclose(merged[merged != 0], torch.tensor(1 + 1j), atol=1e-4)
        # A tile of 12 pixels half a pixel off covers 13 rows, a quarter off 12 columns and a little of one more.
        assert 12 * 12 - 4 <= int((merged != 0).sum()) <= 13 * 13


@pytest.mark.parametrize("kind", KINDS)
def test_merging_is_differentiable_in_tiles_and_places(kind):
    tiles = random(2, 2, 4, 4, dtype=torch.complex128).requires_grad_()
    places = torch.tensor([[[0.2, 0.7], [1.6, 0.4]], [[0.6, 1.3], [0.4, 0.3]]], dtype=torch.float64)

    def merged(tiles, places):
        return merge(tiles, places, frame_px=6, canvas_shape=(9, 10), kind=kind)

    assert torch.autograd.gradcheck(merged, (tiles, places.requires_grad_()))


@pytest.mark.parametrize("shape", [(1, 4, 2), (2, 1, 2), (2, 4), (2, 4, 4, 2), (4, 2, 2)])
def test_places_that_are_not_one_for_each_tile_are_refused(shape):
    with pytest.raises(Exception, match=r"each tile needs its own|Type-check error"):
        merge(random(2, 4, 12, 12), torch.zeros(shape), frame_px=FRAME, canvas_shape=CANVAS)


def test_frames_off_their_canvas_are_refused():
    tiles = random(1, 1, 12, 12)
    for place in ([-1.0, 0.0], [0.0, 13.0], [9.0, 0.0]):
        with pytest.raises(InputError, match="leave their canvas"):
            merge(tiles, torch.tensor([[place]]), frame_px=FRAME, canvas_shape=CANVAS)
    with pytest.raises(InputError, match="larger than their frames"):
        merge(random(1, 1, 25, 25), torch.zeros(1, 1, 2), frame_px=FRAME, canvas_shape=CANVAS)
