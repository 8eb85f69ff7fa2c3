"""The scanned region, and two canvases laid onto each other."""

import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.evaluation.region import common_region, inscribed_rectangle, scanned_region


def raster(side: int, step: float) -> torch.Tensor:
    steps = torch.arange(side, dtype=torch.float64) * step
    return torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)


def test_the_scanned_region_is_the_summed_probe_intensity_above_a_threshold():
    generator = torch.Generator().manual_seed(0)
    probe = torch.randn(2, 8, 6, generator=generator, dtype=torch.complex64)
    positions = torch.rand(30, 2, generator=generator, dtype=torch.float64) * torch.tensor([20.0, 30.0])
    coverage = torch.zeros(30, 40, dtype=torch.float64)
    for y, x in positions.round().int().tolist():
        coverage[y : y + 8, x : x + 6] += probe.abs().double().square().sum(0)
    expected = coverage > 0.05 * coverage.max()
    assert torch.equal(scanned_region(probe, positions, (30, 40)), expected)


def test_a_higher_threshold_gives_a_smaller_region():
    probe = torch.exp(-((torch.arange(16) - 8.0) ** 2) / 20)[None, :, None].expand(1, 16, 16).to(torch.complex64)
    sizes = [int(scanned_region(probe, raster(4, 5), (40, 40), t).sum()) for t in (0.01, 0.05, 0.5)]
    assert sizes[0] > sizes[1] > sizes[2] > 0


@pytest.mark.parametrize("offset", [(0.0, 0.0), (7.0, -3.0), (2.3, 5.6)])
def test_canvases_of_other_size_and_origin_are_cut_to_one_grid(offset):
    world = torch.arange(80 * 90, dtype=torch.float64).reshape(80, 90)
    probe, positions = torch.ones(1, 8, 8, dtype=torch.complex64), raster(6, 6.0)
    truth = PtychoEstimate(object=world[None] + 0j, probe=probe, positions_px=positions + 20)
    top, left = (round(o) for o in offset)
    cut = world[10 + top : 75 + top, 10 + left : 70 + left]
    shifted = positions + 20 - 10 - torch.tensor(offset, dtype=torch.float64)
    common = common_region(PtychoEstimate(object=cut[None] + 0j, probe=probe, positions_px=shifted), truth)
    torch.testing.assert_close(common.estimate, common.truth)
    assert common.start_shift_px == pytest.approx((offset[0] - top, offset[1] - left))
    assert int(common.scanned_in_both().sum()) > 30 * 30


def test_slices_are_multiplied_into_one_transmission():
    slices = torch.full((3, 20, 20), 0.5 + 0.5j)
    probe, positions = torch.ones(1, 8, 8, dtype=torch.complex64), raster(3, 5.0)
    estimate = PtychoEstimate(object=slices, probe=probe, positions_px=positions)
    assert complex(common_region(estimate, estimate).truth[5, 5]) == pytest.approx((0.5 + 0.5j) ** 3)


def test_estimates_of_other_frames_are_refused():
    probe, image = torch.ones(1, 8, 8, dtype=torch.complex64), torch.ones(1, 40, 40, dtype=torch.complex64)
    few = PtychoEstimate(object=image, probe=probe, positions_px=raster(3, 5.0))
    many = PtychoEstimate(object=image, probe=probe, positions_px=raster(4, 5.0))
    with pytest.raises(InputError, match="9 positions, the truth 16"):
        common_region(few, many)


def test_the_rectangle_lies_inside_a_disc_and_fills_a_box():
    rows = torch.arange(100)[:, None] - 50
    disc = rows**2 + rows.T**2 < 40**2
    down, across = inscribed_rectangle(disc)
    assert float(disc[down, across].double().mean()) > 0.98
    assert 50 <= down.stop - down.start <= 62
    box = torch.zeros(60, 80, dtype=torch.bool)
    box[7:50, 20:71] = True
    box[30, 40] = False
    assert inscribed_rectangle(box) == (slice(7, 50), slice(20, 71))


def test_a_region_of_separate_spots_counts_as_what_it_surrounds():
    spots = torch.zeros(90, 90, dtype=torch.bool)
    spots[10:80:6, 10:80:6] = True
    down, across = inscribed_rectangle(spots)
    assert down.stop - down.start >= 50
    assert across.stop - across.start >= 50


def test_a_region_of_a_few_pixels_is_refused():
    with pytest.raises(InputError, match="too small"):
        inscribed_rectangle(torch.eye(5, dtype=torch.bool))
