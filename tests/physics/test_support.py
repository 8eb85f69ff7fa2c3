"""Supports: what the autocorrelation tells, and what shrink-wrap makes of an object; two axes and three."""

import pytest
import torch

from exitwave.physics.fourier import fft2, to_corner
from exitwave.physics.support import autocorrelation, extent_px, shrink_wrap, soft


def box(shape, size):
    made = torch.zeros(shape)
    made[tuple(slice(n // 2, n // 2 + s) for n, s in zip(shape, size, strict=True))] = 1
    return made


def test_the_autocorrelation_of_a_box_is_twice_as_wide_less_one_pixel():
    pattern = fft2(box((48, 64), (9, 14)).to(torch.complex64)).abs().square()
    found = autocorrelation(pattern)
    assert list(extent_px(found > 1e-4)) == [17, 27]
    assert float(found[24, 32]) == pytest.approx(1)
    assert float(found[24, 32 + 7]) == pytest.approx(0.5, abs=1e-5)


def test_the_order_of_the_detector_does_not_matter_to_the_autocorrelation():
    pattern = torch.rand(16, 20)
    assert torch.allclose(autocorrelation(pattern), autocorrelation(to_corner(pattern)), atol=1e-6)


@pytest.mark.parametrize("shape", [(32, 40), (16, 18, 20)])
def test_blurring_keeps_the_sum_and_spreads_a_point_to_its_sigma(shape):
    point = torch.zeros(shape)
    centre = tuple(n // 2 for n in shape)
    point[centre] = 1
    blurred = soft(point, 1.5)
    distance = torch.arange(shape[0]) - shape[0] // 2
    profile = blurred.sum(dim=tuple(range(1, len(shape))))
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-5)
    assert float((profile * distance.square()).sum()) == pytest.approx(1.5**2, rel=1e-3)


@pytest.mark.parametrize(("shape", "size"), [((32, 40), (9, 12)), ((20, 20, 20), (7, 8, 9))])
def test_shrink_wrap_finds_the_object_among_weak_noise(shape, size):
    obj = torch.polar(box(shape, size) + 0.05 * torch.rand(shape), torch.rand(shape))
    found = shrink_wrap(obj, 1.0, 0.5)
    true = box(shape, size) > 0
    # Half the amplitude is at the edge, but for the corners.
    assert float((found != true).sum()) < 0.15 * float(true.sum())
    assert extent_px(found) == extent_px(true)


def test_a_lower_threshold_or_a_wider_blur_gives_a_larger_support():
    obj = box((32, 32), (10, 10)).to(torch.complex64)
    sizes = [int(shrink_wrap(obj, sigma, level).sum()) for sigma, level in ((1.0, 0.3), (1.0, 0.1), (2.0, 0.1))]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3
