"""Measured beside calculated patterns: they are those of the frames named, in their place, and tell the same residual."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import exitwave as ew
from exitwave.problems.frame_fits import (
    MOST_PIXELS,
    best_median_worst,
    fits_of_frames,
    frame_fits,
    recorded_positions_px,
)
from scans import known_scan


def residuals(measured: torch.Tensor, calculated: torch.Tensor) -> list[float]:
    deviation = (calculated.sqrt() - measured.sqrt()).square()
    return (deviation.nansum(dim=(1, 2)) / measured.nansum(dim=(1, 2))).tolist()


def test_patterns_shown_have_the_residuals_of_their_frames():
    known = known_scan(photons=1e5)
    problem = ew.PtychographyProblem.of(known.scan)
    x = replace(known.truth, object=known.truth.object * torch.linspace(0.9, 1.1, known.truth.object.shape[-1]))
    each = problem.frame_residual(x)
    fits = frame_fits(problem, x, each)
    assert fits is not None
    assert residuals(fits.measured, fits.calculated) == pytest.approx(each[list(fits.frames)].tolist(), rel=1e-3)
    assert each[fits.frames[0]] == each.min()
    assert each[fits.frames[2]] == each.max()
    assert (each < each[fits.frames[1]]).sum() == len(each) // 2


def test_patterns_lie_as_the_detector_has_them_with_untrusted_pixels_unknown():
    known = known_scan(frame=31, photons=1e5)
    mask = torch.ones(31, 31, dtype=torch.bool)
    mask[3, 20:] = False
    fits = fits_of_frames(ew.PtychographyProblem.of(replace(known.scan, mask=mask)), known.truth, (5, 0))
    expected = known.scan.frames(slice(5, 6))[0]
    assert torch.equal(fits.measured[0].isnan(), ~mask)
    assert torch.equal(fits.measured[0][mask], expected[mask])
    assert np.corrcoef(fits.calculated[0][mask], expected[mask])[0, 1] > 0.99


def test_large_patterns_are_averaged_over_trusted_pixels():
    side = 2 * MOST_PIXELS
    known = known_scan(frame=side, side=2)
    mask = torch.ones(side, side, dtype=torch.bool)
    mask[10, 10], mask[20:22, 20:22] = False, False
    fits = fits_of_frames(ew.PtychographyProblem.of(replace(known.scan, mask=mask)), known.truth, (0,))
    counts = known.scan.frames(slice(0, 1))[0]
    assert fits.binned == 2
    assert fits.measured.shape == (1, MOST_PIXELS, MOST_PIXELS)
    assert fits.measured[0, 5, 5] == pytest.approx(float((counts[10:12, 10:12].sum() - counts[10, 10]) / 3))
    assert bool(fits.measured[0, 10, 10].isnan())
    assert float(fits.calculated.mean() * side**2) == pytest.approx(float(counts.sum()), rel=0.01)


@pytest.mark.parametrize(
    ("values", "expected"), [([0.3], (0,)), ([0.3, 0.1], (1, 0)), ([3.0, 1.0, 2.0, 5.0, 4.0], (1, 0, 3))]
)
def test_each_frame_is_shown_once(values, expected):
    assert best_median_worst(torch.tensor(values)) == expected


def test_one_pattern_is_shown_with_its_centre_in_the_middle():
    made = ew.simulate_pattern(frame_px=64)
    result = ew.reconstruct(made.scan, ew.HIO(epochs=5))
    fits = result.frame_fits
    assert fits is not None
    assert fits.names == ("the pattern",)
    assert residuals(fits.measured, fits.calculated) == pytest.approx([result.residual], rel=1e-3)
    assert divmod(int(fits.measured[0].nan_to_num().argmax()), 64) == pytest.approx((32, 32), abs=3)


def test_positions_are_kept_where_frames_were_moved_from_them():
    known = known_scan()
    problem = ew.PtychographyProblem.of(known.scan)
    x = problem.initial(None, ew.Setup())
    assert recorded_positions_px(problem, x) is None
    recorded = recorded_positions_px(problem, replace(x, positions_px=x.positions_px + 1))
    assert recorded is not None
    assert torch.equal(recorded, problem.positions_px)
