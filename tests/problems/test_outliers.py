"""One wild frame or pixel must not spoil an image, and nothing may be left out of a healthy scan."""

from dataclasses import replace

import pytest
import torch

from exitwave.data.patterns import ArrayPatterns
from exitwave.data.scan import Scan
from exitwave.problems.outliers import Outliers
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.setup import Setup
from exitwave.running.pose import in_flight, pose
from exitwave.simulation.measure import measure, simulate
from scans import known_scan

GOOD = known_scan(frame=32, side=11, step=6.0, photons=1e5).scan


def changed(scan: Scan, frames: torch.Tensor) -> Scan:
    return replace(scan, patterns=ArrayPatterns(frames))


def wild(bright: int = 60, flat: int = 17) -> Scan:
    frames = GOOD.frames(slice(None)).clone()
    frames[bright] *= 40
    frames[flat] = frames[flat].mean()
    return changed(GOOD, frames)


def test_a_scan_with_wild_frames_is_posed_as_the_scan_without_them_bit_for_bit() -> None:
    kept = torch.tensor([n for n in range(121) if n not in (17, 60)])
    spoilt, clean = PtychographyProblem.of(wild()), PtychographyProblem.of(GOOD.some(kept))
    assert spoilt.left_out == Outliers(frames=(17, 60))
    assert len(spoilt) == 119
    frames = torch.arange(119)
    assert torch.equal(spoilt.amplitudes(frames), clean.amplitudes(frames))
    assert torch.equal(spoilt.positions_px, clean.positions_px)
    assert spoilt.power == clean.power
    guesses = [problem.initial(None, Setup()).probe for problem in (spoilt, clean)]
    assert torch.equal(*guesses)


def test_frames_that_are_streamed_are_left_out_too() -> None:
    problem = pose(wild(), Setup(memory="60 MB", device="cpu"))
    assert isinstance(problem, PtychographyProblem)
    assert problem.left_out.frames == (17, 60)
    assert problem.amplitudes(torch.tensor([17])).sum() == GOOD.frames(slice(18, 19)).clamp(min=0).sqrt().sum()


def test_nothing_is_left_out_when_it_is_not_wanted() -> None:
    problem = pose(wild(), Setup(robust=False))
    assert isinstance(problem, PtychographyProblem)
    assert not problem.left_out
    assert len(problem) == 121


@pytest.mark.parametrize("sample", ["siemens", "cells", "circuit", "textured"])
@pytest.mark.parametrize(("probe", "photons"), [("zone_plate", 1e6), ("disc", 300.0), ("gaussian", 1e4)])
@pytest.mark.parametrize("focus_distance_m", [None, 0.05])
def test_a_healthy_scan_keeps_all_frames_and_pixels(
    sample: str, probe: str, photons: float, focus_distance_m: float | None
) -> None:
    scan = simulate(
        sample,
        probe_name=probe,
        frames=64,
        frame_px=32,
        photons_per_frame=photons,
        focus_distance_m=focus_distance_m,
        seed=4,
    ).scan
    assert not PtychographyProblem.of(scan).left_out


def test_a_sample_that_most_frames_miss_is_no_outlier() -> None:
    """Nor is the edge of an opaque one: frames beside each other agree that it is there."""
    truth = known_scan(frame=32, side=11, step=6.0).truth
    rows, columns = (torch.arange(size) for size in truth.object.shape[1:])
    radius = torch.hypot(rows[:, None] - 46.0, columns[None, :] - 50.0)
    for sample in (
        torch.where(radius < 6, torch.exp(torch.tensor(2.5j)), 1.0),
        torch.where(radius < 14, 0.05, 1.0 + 0j),
        torch.where(columns[None, :].expand_as(radius) < 50, 0.03, 1.0 + 0j),
    ):
        scan = measure(sample.to(torch.complex64), truth.probe, truth.positions_px, GOOD.geometry, seed=1).scan
        assert not PtychographyProblem.of(scan).left_out


def test_stuck_pixels_are_not_shown_and_a_wild_frame_hides_none() -> None:
    frames = GOOD.frames(slice(None)).clone()
    frames[:, 3, 28] = 1e5
    frames[60] *= 40
    problem = PtychographyProblem.of(changed(GOOD, frames))
    assert problem.left_out == Outliers(frames=(60,), pixels=((3, 28),))
    assert float(problem.trusted.sum()) == 32 * 32 - 1
    assert not bool(problem.scan.mask[3, 28])


def test_a_particle_s_hit_in_one_pixel_of_one_frame_spoils_nothing() -> None:
    frames = GOOD.frames(slice(None)).clone()
    frames[40, 5, 5] += frames[40].sum()
    left_out = PtychographyProblem.of(changed(GOOD, frames)).left_out
    assert left_out in (Outliers(frames=(40,)), Outliers(pixels=((5, 5),)))


def test_a_dark_frame_among_bright_ones_is_left_out() -> None:
    frames = GOOD.frames(slice(None)).clone()
    frames[61] = (frames[61] / 100).round()
    assert PtychographyProblem.of(changed(GOOD, frames)).left_out.frames == (61,)


def test_what_moves_during_an_exposure_stays_with_its_frame() -> None:
    still = PtychographyProblem.of(GOOD).model
    model = in_flight(still, 121, (0.0, 4 * still.pixel_m[1]), 3)
    assert model.exposure_px is not None
    moving = replace(model, exposure_px=model.exposure_px * torch.arange(121)[:, None, None])
    posed = PtychographyProblem.of(wild(), model=moving)
    assert posed.model.exposure_px is not None
    assert moving.exposure_px is not None
    assert torch.equal(posed.model.exposure_px[17], moving.exposure_px[18])


def test_outliers_found_one_after_another_have_the_numbers_of_the_scan() -> None:
    first = Outliers(frames=(2, 5))
    assert first.then(Outliers(frames=(2, 4), pixels=((0, 1),)), 8) == Outliers((2, 3, 5, 6), ((0, 1),))
    assert Outliers.stored({"outliers": first.described()}) == first
    assert not Outliers.stored({})


def test_a_start_from_all_frames_serves_those_that_are_left() -> None:
    whole = PtychographyProblem.of(GOOD).initial(None, Setup())
    marked = replace(whole, brightness=torch.arange(121, dtype=torch.float64))
    start = PtychographyProblem.of(wild()).initial(marked, Setup())
    assert start.brightness is not None
    assert 17.0 not in start.brightness.tolist()
    assert len(start.positions_px) == 119
