import math

import pytest
import torch

from exitwave.data.bright_disc import disc_angle, disc_pixels


def pattern(radius_px: float, *, size: int = 64, centre: tuple[float, float] = (32.0, 32.0)) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(size) - centre[0], torch.arange(size) - centre[1], indexing="ij")
    return 100.0 * (torch.hypot(y, x) <= radius_px) + 0.5


def whole(image: torch.Tensor) -> torch.Tensor:
    return torch.ones(image.shape, dtype=torch.bool)


@pytest.mark.parametrize("radius_px", [5.0, 12.5, 24.0])
def test_its_radius_is_found_wherever_it_lies(radius_px: float) -> None:
    noisy = torch.poisson(pattern(radius_px, centre=(30.0, 35.0)), generator=torch.Generator().manual_seed(0))
    noisy[3, 3] = 1e4
    assert disc_angle(noisy, whole(noisy), (1e-3, 1e-3)) == pytest.approx(1e-3 * radius_px, rel=0.05)


def test_masked_pixels_do_not_count() -> None:
    image, mask = pattern(12.0), whole(pattern(12.0))
    image[:8], mask[:8] = 1e6, False
    assert disc_pixels(image, mask) == pytest.approx(math.pi * 144, rel=0.05)


def test_what_is_no_disc_has_no_radius() -> None:
    ring = pattern(20.0) - pattern(14.0)
    flat = torch.ones(64, 64)
    two = pattern(8.0, centre=(16.0, 16.0)) + pattern(8.0, centre=(48.0, 48.0))
    for image in (ring, flat, two, torch.zeros(64, 64)):
        assert disc_pixels(image, whole(image)) is None
