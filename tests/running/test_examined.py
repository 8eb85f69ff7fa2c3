"""Every way to run passes the same examination, keeps what it found, and can be told to take the data as they are."""

import warnings
from dataclasses import replace

import pytest
import torch

from exitwave.data.errors import ExaminedWarning, InputError
from exitwave.data.finding import findings_of
from exitwave.data.prepare import select
from exitwave.live.local_stream import LocalStream
from exitwave.problems.inspection import inspect
from exitwave.problems.setup import Setup, frame_numbers
from exitwave.reports.page import render
from exitwave.running.compare import compare
from exitwave.running.reconstruct import iterate, reconstruct
from exitwave.running.split_half import reconstruct_halves
from exitwave.running.train import TrainingRun, training_data
from exitwave.solvers.neural.ptychonn import PtychoNN
from exitwave.solvers.neural.training_examples import TrainingExample
from exitwave.solvers.ptychography.pie import RPIE
from made_measurements import spoilt
from scans import known_scan

KNOWN = known_scan(side=6, photons=1e5)
SOLVER = RPIE(epochs=2)


@pytest.fixture
def scan():
    """A pixel without data, a frame without light."""

    def spoil(frames):
        frames[:, 3, 4] = 2.0**32
        frames[11] = 0

    return spoilt(KNOWN.scan, spoil)


def names(result_or_scan):
    return [finding.name for finding in findings_of(result_or_scan.provenance)]


def test_what_was_cured_is_told_and_kept_with_the_result(scan):
    with pytest.warns(ExaminedWarning) as told:
        result = reconstruct(scan, SOLVER)
    assert names(result) == ["sentinel-pixels", "bad-frames"]
    assert "1 pixel masked, 4294967295" in str(told[0].message)
    assert "1 frame left out: 11 (empty)" in str(told[1].message)
    assert result.provenance["scan"]["frames_left_out"] == [11]
    assert len(result.estimate.positions_px) == 35
    assert result.residual < 0.2
    assert "Before the run: 1 pixel masked, 4294967295" in render(result)


def test_a_healthy_scan_is_told_nothing_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExaminedWarning)
        assert names(reconstruct(KNOWN.scan, SOLVER)) == []


def test_info_finds_what_a_run_does(scan):
    with pytest.warns(ExaminedWarning):
        result = reconstruct(scan, SOLVER)
    assert inspect(scan).findings == findings_of(result.provenance)


def test_as_it_is_the_fault_comes_through(scan):
    with pytest.raises(InputError, match="1 of 36 frames are empty"):
        reconstruct(scan, SOLVER, setup=Setup(as_is=True))
    lit = select(scan, [n for n in range(36) if n != 11])
    result = reconstruct(lit, SOLVER, setup=Setup(as_is=True, robust=False))
    assert "examination" not in result.provenance
    assert result.residual < 1e-3  # a pixel that explains everything


def test_frames_are_dropped_and_kept(scan):
    with pytest.warns(ExaminedWarning):
        dropped = reconstruct(scan, SOLVER, setup=Setup(drop_frames="2,5-7"))
    assert dropped.provenance["scan"]["frames_left_out"] == [2, 5, 6, 7, 11]
    assert reconstruct(KNOWN.scan, SOLVER, setup=Setup(as_is=True, drop_frames=[1, 2])).frame_residual.shape == (34,)
    bright = spoilt(KNOWN.scan, lambda frames: frames[11].mul_(40))
    with pytest.warns(ExaminedWarning, match="--keep-frames 11"):
        assert len(next(iter(iterate(bright, SOLVER))).estimate.positions_px) == 35
    assert len(next(iter(iterate(bright, SOLVER, setup=Setup(keep_frames=11)))).estimate.positions_px) == 36


@pytest.mark.parametrize("text", ["-1", "1-", "7-5", "a", "1,,2"])
def test_words_that_are_no_frame_numbers_are_refused(text):
    with pytest.raises(ValueError, match="is no frame number; write 60,61 or 10-19"):
        Setup(drop_frames=text)


def test_frame_numbers_are_read_as_written():
    assert frame_numbers("60,61") == (60, 61)
    assert frame_numbers("10-12,3") == (10, 11, 12, 3)
    assert frame_numbers(None) == ()


def test_what_has_no_safe_cure_stops_every_run(scan):
    corner = spoilt(KNOWN.scan, lambda frames: frames.copy_(torch.fft.ifftshift(frames, dim=(1, 2))))
    for run in (
        lambda: reconstruct(corner, SOLVER),
        lambda: next(iter(iterate(corner, SOLVER))),
        lambda: compare(corner, ["rpie"]),
        lambda: training_data(PtychoNN(epochs=1), [TrainingExample(scan=corner, label=KNOWN.truth)]),
    ):
        with pytest.raises(InputError, match=r"corners of the frame.*--prepare unshift \(--as-is"):
            run()


def test_a_start_of_all_frames_goes_on_with_those_left(scan):
    with pytest.warns(ExaminedWarning):
        result = reconstruct(scan, SOLVER, start=KNOWN.truth)
    assert len(result.estimate.positions_px) == 35


def test_a_comparison_keeps_what_was_found_once(scan):
    with pytest.warns(ExaminedWarning) as told:
        found = compare(scan, [SOLVER, RPIE(epochs=1)], truth=KNOWN.truth, split_half=True)
    assert len(told) == 2
    assert names(found) == ["sentinel-pixels", "bad-frames"]
    assert all(not entry.remark and entry.evaluation is not None for entry in found.entries)


def test_halves_are_of_the_frames_that_are_left(scan):
    with pytest.warns(ExaminedWarning):
        result = reconstruct(scan, SOLVER)
    with pytest.warns(ExaminedWarning):
        first, second = reconstruct_halves(scan, SOLVER, result)
    assert len(first.estimate.positions_px) + len(second.estimate.positions_px) == 35


def test_a_training_passes_it_too(scan):
    example = TrainingExample(scan=scan, label=KNOWN.truth)
    with pytest.warns(ExaminedWarning):
        (lesson,) = training_data(PtychoNN(epochs=1), [example])
    assert len(lesson.problem) == 35
    with pytest.raises(InputError, match="are empty"):
        training_data(PtychoNN(epochs=1), [example], TrainingRun(as_is=True))


def test_a_stream_masks_what_its_first_frames_show(scan):
    numbers = torch.arange(8)
    healthy = replace(
        KNOWN.scan, mask=KNOWN.scan.mask.clone().index_put((torch.tensor(3), torch.tensor(4)), torch.tensor(False))
    )
    streams = [
        LocalStream(s.positions_m, s.geometry, KNOWN.truth.probe, mask=s.mask, in_order=False) for s in (scan, healthy)
    ]
    with pytest.warns(ExaminedWarning, match="1 pixel masked, 4294967295"):
        streams[0].absorb(numbers, scan.frames(numbers))
    streams[1].absorb(numbers, healthy.frames(numbers))
    assert [finding.name for finding in streams[0].findings] == ["sentinel-pixels"]
    assert streams[1].findings == ()
    for stream in streams:
        stream.finish()
    assert torch.equal(streams[0].estimate().object, streams[1].estimate().object)
