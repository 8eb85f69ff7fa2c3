"""Frames of a full detector are cut around the beam, small ones of a friendly size stay exactly as they are."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from exitwave.data import prepare
from exitwave.data.beam import is_quick
from exitwave.data.scan import Scan
from exitwave.problems.examination import examine
from exitwave.problems.setup import Setup
from exitwave.running.reconstruct import reconstruct
from exitwave.simulation.measure import simulate
from exitwave.solvers.ptychography.pie import RPIE

LIT_PX = 96


def on_detector(
    shape: tuple[int, int], at: tuple[int, int], *, background: float = 0.0, photons: float = 1e5, frames: int = 16
) -> Scan:
    """A small scan on a large detector, the beam at (row, column)."""
    small = simulate("siemens", frames=frames, frame_px=LIT_PX, photons_per_frame=photons, seed=3).scan
    counts = np.random.default_rng(0).poisson(background, (frames, *shape)).astype(np.float32)
    top, left = at[0] - LIT_PX // 2, at[1] - LIT_PX // 2
    counts[:, top : top + LIT_PX, left : left + LIT_PX] += small.frames(slice(None)).numpy()
    return replace(small, patterns=counts, mask=torch.ones(shape, dtype=torch.bool))


def cut(scan: Scan) -> Scan:
    found = examine(scan).measurement
    assert isinstance(found, Scan)
    return found


@pytest.mark.parametrize(("shape", "at"), [((514, 515), (200, 330)), ((257, 129), (130, 64)), ((640, 640), (320, 320))])
@pytest.mark.parametrize("background", [0.0, 2e-3])
def test_full_detectors_are_cut_to_a_quick_square_around_the_beam(shape, at, background):
    found = cut(on_detector(shape, at, background=background))
    height, width = found.frame_shape
    assert height == width <= 128
    assert is_quick(height)
    light = found.frames(slice(None)).mean(dim=0)
    rows = torch.arange(height) - height // 2
    assert abs(float((light.sum(dim=1) * rows).sum() / light.sum())) < 1
    assert abs(float((light.sum(dim=0) * rows).sum() / light.sum())) < 1


def test_nearly_all_light_is_kept():
    scan = on_detector((514, 515), (200, 330))
    assert float(cut(scan).frames(slice(None)).sum()) > 0.999 * float(scan.frames(slice(None)).sum())


@pytest.mark.parametrize("frame_px", [64, 96, 100, 103])
def test_small_frames_stay_the_very_same(frame_px):
    scan = simulate("siemens", frames=16, frame_px=frame_px, seed=3).scan
    found = cut(scan)
    assert found.frame_shape == scan.frame_shape
    assert torch.equal(found.frames(slice(None)), scan.frames(slice(None)))


def test_large_frames_of_a_quick_size_that_are_full_of_light_stay():
    scan = on_detector((128, 96), (64, 48))
    assert cut(scan).frame_shape == (128, 96)


def test_pixels_without_data_and_hot_ones_do_not_move_the_cut():
    scan = on_detector((514, 515), (200, 330), photons=3e3)
    counts = scan.frames(slice(None)).clone()
    counts[:, 400:412] = 2.0**32
    counts[:, 20, 30] = 1e6
    found = cut(replace(scan, patterns=counts))
    assert "(200, 330)" in str(found.provenance["preparation"][-1])
    assert max(found.frame_shape) <= 128


def test_it_is_told_kept_and_undone():
    scan = on_detector((257, 129), (130, 64))
    found = examine(scan)
    assert any("257 x 129 pixels cut to" in each.line and each.action == "cured" for each in found.findings)
    assert examine(scan, as_is=True).measurement.frame_shape == (257, 129)
    result = reconstruct(scan, RPIE(epochs=1), setup=Setup(device="cpu"))
    assert max(result.estimate.probe.shape[-2:]) <= 128
    assert any("cut around the beam" in step for step in result.provenance["scan"]["preparation"])


def test_frames_whose_size_the_user_chose_stay():
    scan = prepare.crop(on_detector((257, 200), (130, 100)), (206, 166))
    assert cut(scan).frame_shape == (206, 166)


def test_near_field_frames_only_lose_what_makes_them_slow():
    scan = on_detector((257, 130), (128, 64))
    scan = replace(scan, geometry=replace(scan.geometry, focus_distance_m=0.03))
    assert cut(scan).frame_shape == (256, 128)


def test_a_given_size_is_cut_or_padded_around_the_beam():
    scan = on_detector((200, 220), (90, 120))
    small, large = prepare.cut_around_beam(scan, 64), prepare.cut_around_beam(scan, (256, 240))
    assert (small.frame_shape, large.frame_shape) == ((64, 64), (256, 240))
    whole = scan.frames(slice(None))
    assert torch.equal(small.frames(slice(None)), whole[:, 90 - 32 : 90 + 32, 120 - 32 : 120 + 32])
    assert torch.equal(large.frames(slice(None))[:, 128 - 90 : 128 + 110, 120 - 120 : 120 + 100], whole[:, :, :220])
    assert int(large.mask.sum()) == 200 * 220
