import pytest
import torch

from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.solvers.neural.training_data import TrainingScan
from scans import known_scan


def make_lesson(*, photons=None, step=8.0, side=5, whole=True, seed=0, brighter=1.0, jitter=0.2):
    """A scan with known probe and object: noise-free unless photons are given; `brighter` data and probe."""
    known = known_scan(side=side, step=step, photons=photons, whole=whole, seed=seed, jitter=jitter)
    scan = known.scan
    if brighter != 1.0:
        scan = replaced_patterns(scan, brighter)
    problem = PtychographyProblem.of(scan, seed=seed, margin_px=4)
    height, width = problem.object_shape
    truth = known.truth.object[:, :height, :width].clone()
    probe = known.truth.probe * brighter**0.5
    x = PtychoEstimate(object=torch.ones_like(truth), probe=probe, positions_px=problem.positions_px)
    return TrainingScan(problem=problem, x=x, label=truth)


def replaced_patterns(scan, factor):
    from dataclasses import replace

    from exitwave.data.patterns import ArrayPatterns

    return replace(scan, patterns=ArrayPatterns(scan.frames(torch.arange(len(scan))) * factor))


@pytest.fixture
def lesson():
    return make_lesson()


@pytest.fixture
def lesson_like():
    return make_lesson
