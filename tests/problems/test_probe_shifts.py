"""Sums with an interpolated probe are those with an exactly shifted one, within the error that is allowed."""

from dataclasses import replace

import pytest
import torch

from exitwave.problems.probe_shifts import LARGEST_ERROR, ProbeShifts
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.sweep import Sweep
from scans import known_scan

MADE = known_scan(side=4, frame=32, step=5.0, whole=False, photons=1e5)
PROBLEM = PtychographyProblem.of(MADE.scan)


def sums(allowed: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("exitwave.problems.probe_shifts.LARGEST_ERROR", allowed)
    x = replace(MADE.truth, object=MADE.truth.object.roll(1, dims=-1))
    sweep = Sweep(PROBLEM, x)
    found = sweep.everything()
    assert sweep._shifts is not None
    return sweep._shifts.weights is None, found


def test_interpolation_changes_no_sum_by_more_than_its_error(monkeypatch):
    interpolates_not, exact = sums(0.0, monkeypatch)
    assert interpolates_not
    interpolates_not, found = sums(LARGEST_ERROR, monkeypatch)
    assert not interpolates_not
    assert found.misfit == pytest.approx(exact.misfit, rel=1e-3)
    for name in ("object_descent", "illumination", "probe_descent", "probe_weight"):
        one, other = getattr(found, name), getattr(exact, name)
        assert float((one - other).norm()) < LARGEST_ERROR * float(other.norm())


def test_bright_patterns_allow_less_error_than_dim_ones():
    shift = torch.zeros(len(PROBLEM), 2)
    dim = PtychographyProblem.of(known_scan(side=4, frame=32, step=5.0, photons=1e4).scan)
    bright = PtychographyProblem.of(known_scan(side=4, frame=32, step=5.0, photons=1e8).scan)
    assert ProbeShifts.of(bright, shift).tolerance < 0.02 * ProbeShifts.of(dim, shift).tolerance / 0.2
    assert ProbeShifts.of(dim, shift).tolerance <= LARGEST_ERROR


def test_a_probe_that_is_not_smooth_is_shifted_exactly():
    probe = torch.randn(1, 32, 32, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    shifts = ProbeShifts.of(PROBLEM, MADE.truth.positions_px - MADE.truth.positions_px.round())
    shifts.prepare(probe, len(PROBLEM))
    assert shifts.weights is None
    shifts.prepare(MADE.truth.probe, len(PROBLEM))
    assert shifts.weights is not None


def test_weights_follow_the_probe_from_epoch_to_epoch_and_not_within_one():
    shifts = ProbeShifts.of(PROBLEM, MADE.truth.positions_px - MADE.truth.positions_px.round())
    shifts.prepare(MADE.truth.probe, len(PROBLEM) // 2)
    first = shifts.weights
    shifts.prepare(MADE.truth.probe, len(PROBLEM) - len(PROBLEM) // 2)
    assert shifts.weights is first
    shifts.prepare(MADE.truth.probe, 1)
    assert shifts.weights is not first
