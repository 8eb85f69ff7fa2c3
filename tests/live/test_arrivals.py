"""Frames and pixels that go wrong while a scan is running: named, left out, masked, whatever the batches."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from exitwave.data.errors import ExaminedWarning, InputError
from exitwave.live.local_stream import LocalStream
from exitwave.solvers.ptychography.local import Local
from made_measurements import made_scan, spoilt
from scans import known_scan, object_error

KNOWN = known_scan(side=10, step=4, photons=1e6)
OPTIONS = Local(update_probe=False)


def followed(spoil: Callable[[Tensor], object], size: int, *, as_is: bool = False) -> tuple[LocalStream, list[str]]:
    """A stream of the spoilt scan in batches of this size, to its end, and what it warned of."""
    scan = spoilt(KNOWN.scan, spoil)
    stream = LocalStream(KNOWN.scan.positions_m, scan.geometry, KNOWN.truth.probe, options=OPTIONS, as_is=as_is)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ExaminedWarning)
        for numbers in torch.arange(len(scan)).split(size):
            stream.absorb(numbers, scan.frames(numbers))
        stream.finish()
    return stream, [str(each.message) for each in told if each.category is ExaminedWarning]


def wild(frames: Tensor) -> None:
    """No light, 20 times the light, no data, and light elsewhere: all of them after the first batch."""
    frames[40] = 0
    frames[53] *= 20
    frames[67, 4, 5] = torch.nan
    frames[71] = frames[71].roll((10, 10), (0, 1))


def error(stream: LocalStream) -> float:
    return object_error(stream.estimate(), KNOWN.truth)


@pytest.mark.parametrize("size", [1, 7, 25])
def test_bad_frames_of_any_batch_are_named_and_left_out_and_the_image_is_as_without_them(size: int) -> None:
    stream, told = followed(wild, size)
    assert stream.left_out == (40, 53, 67, 71)
    assert stream.frames_here == 96
    for number, reason in ((40, "empty"), (53, "wild"), (67, "without data"), (71, "unlike")):
        assert any(f"{number} (" in line and reason in line for line in told)
    assert {finding.name for finding in stream.findings} == {"bad-frames"}
    healthy = error(followed(lambda _: None, size)[0])
    assert error(stream) < 1.5 * healthy
    assert error(followed(lambda frames: frames[53].mul_(20), size, as_is=True)[0]) > 2 * healthy


@pytest.mark.parametrize("size", [1, 7, 25])
def test_a_pixel_that_becomes_hot_is_masked_soon_and_the_image_stays(size: int) -> None:
    def heat(frames: Tensor) -> None:
        frames[50:, 14, 20] = 1e5 + 300 * torch.randn(50, generator=torch.Generator().manual_seed(0))

    stream, told = followed(heat, size)
    assert any("1 pixel masked, hot" in line and "(14, 20)" in line for line in told)
    assert stream.left_out == ()
    assert error(stream) < 0.5 * error(followed(heat, size, as_is=True)[0])


@pytest.mark.parametrize(("size", "lost"), [(10, 0), (1, 16)])
def test_a_pixel_that_stops_counting_is_masked_as_soon_as_frames_agree_on_it(size: int, lost: int) -> None:
    stream, told = followed(lambda frames: frames[50:, 14, 20].fill_(2.0**32), size)
    assert sum("1 pixel masked, " in line for line in told) == 1
    assert any(("4294967295" if size == 10 else "without data in nearly all") in line for line in told)
    assert len(stream.left_out) <= lost


def test_the_same_pixel_without_data_in_a_few_frames_is_no_hot_one() -> None:
    def lose(frames: Tensor) -> None:
        frames[[50, 54, 58], 14, 20] = 2.0**32

    stream, told = followed(lose, 1)
    assert stream.left_out == (50, 54, 58)
    assert not any("masked" in line for line in told)


@pytest.mark.parametrize("size", [1, 16])
@pytest.mark.parametrize("sample", ["siemens", "lines", "cells", "natural"])
def test_healthy_frames_raise_no_alarm(sample: str, size: int) -> None:
    scan = made_scan(sample=sample, photons=2e4)
    probe = torch.ones(1, *scan.frame_shape, dtype=torch.complex64)
    stream = LocalStream(scan.positions_m, scan.geometry, probe, options=Local(update_probe=False, iterations=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExaminedWarning)
        for numbers in torch.arange(len(scan)).split(size):
            stream.absorb(numbers, scan.frames(numbers))
    assert stream.findings == ()


def test_frames_taken_as_they_are_must_hold_data() -> None:
    with pytest.raises(InputError, match="frame 67 holds 1 trusted pixels without data"):
        followed(wild, 25, as_is=True)
