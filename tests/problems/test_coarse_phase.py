"""Slow phase in far and near field: what waves cost, and how far frames tell them."""

import math
from dataclasses import replace

import pytest
import torch

import exitwave as ew
from exitwave.data.geometry import Geometry
from exitwave.data.patterns import ArrayPatterns
from exitwave.evaluation.align import PTYCHOGRAPHY_GAUGE
from exitwave.evaluation.evaluation import judge
from exitwave.problems.coarse_phase import SlowPhase, ramp_sensitivity, slope_noise
from exitwave.problems.frame_pulls import FramePulls
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.sweep import Sweep
from exitwave.simulation.objects import OBJECTS
from exitwave.simulation.probes import gaussian
from exitwave.simulation.trajectories import jittered_raster
from exitwave.solvers.base import Step
from exitwave.solvers.ptychography.quasi_newton import QuasiNewton
from scans import known_scan


def near_field_scan(side=8, photons=1e6, seed=0):
    """A broad textured beam on a textured sample, 0.1 m before the detector."""
    shape = (48, 48)
    probe = gaussian(shape, diameter_px=30) * OBJECTS["grf"](shape, seed=seed + 1)
    positions = jittered_raster((side, side), 8.0, jitter=0.15, seed=seed).round() + 6
    extent = int(positions.max()) + 60
    geometry = Geometry(wavelength_m=1e-10, distance_m=0.1, detector_pixel_m=(1e-6, 1e-6), focus_distance_m=math.inf)
    detection = ew.Detection(photons_per_frame=photons)
    sample = OBJECTS["textured"]((extent, extent), seed=seed)
    return ew.measure(sample, probe, positions, geometry, detection=detection, seed=seed)


def told(problem, x):
    """How far the frames tell each slow wave of an estimate."""
    slow, pulls = SlowPhase.of(problem, x, ramp_sensitivity(problem, x)), FramePulls(problem, x)
    misfit = Sweep(problem, x).everything(observer=pulls).misfit
    return slow.told(pulls, slope_noise(problem, x) * (misfit / len(problem)))[slow.slowness > 0]


def scans():
    return [known_scan(side=10, step=6.0, photons=1e5), near_field_scan()]


@pytest.mark.parametrize("made", scans(), ids=["far field", "near field"])
def test_slow_waves_cost_as_the_square_of_their_wave_number_and_no_step_is_too_long(made):
    problem = PtychographyProblem.of(replace(made.scan, patterns=ArrayPatterns(clean(made))))
    slow = SlowPhase.of(problem, made.truth, ramp_sensitivity(problem, made.truth))
    small, share = 1e-2, []
    for k in range(1, 6):
        bent = made.truth.object * torch.polar(torch.ones(()), small * slow.rows[:, k, None])
        cost = problem.residual(replace(made.truth, object=bent)) * problem.power / small**2
        share.append(cost * float(slow.steps[k, 0] / slow.slowness[k, 0]))
    assert max(share) < 1
    assert min(share) > 0.2
    assert max(share[2:]) < 1.3 * min(share[2:])


def clean(made):
    problem = PtychographyProblem.of(made.scan)
    patterns = problem.model.intensity(made.truth, torch.arange(len(problem)))
    return problem.model.to_detector_order(patterns)


@pytest.mark.parametrize("made", scans(), ids=["far field", "near field"])
def test_photon_noise_alone_leaves_slow_phase_told(made):
    assert told(PtychographyProblem.of(made.scan), made.truth).mean() > 0.7


@pytest.mark.parametrize("made", scans(), ids=["far field", "near field"])
def test_slopes_that_vary_by_more_than_photon_noise_tell_less(made):
    patterns = made.scan.frames(slice(None)).clone()
    for number, frame in enumerate(patterns):
        frame.copy_(frame.roll(1 if number % 3 else -2, dims=number % 2))
    moved = PtychographyProblem.of(replace(made.scan, patterns=ArrayPatterns(patterns)))
    assert told(moved, made.truth).mean() < 0.3


def test_pulls_of_near_field_frames_ask_for_the_phase_that_the_gradient_asks_for(monkeypatch):
    """Where frames see edges far better than slopes, so that pulls summed over blocks would say little of a slope."""
    made = near_field_scan()
    problem = PtychographyProblem.of(made.scan)
    slow, pulls = (
        SlowPhase.of(problem, made.truth, ramp_sensitivity(problem, made.truth)),
        FramePulls(problem, made.truth),
    )
    Sweep(problem, made.truth).everything(observer=pulls)
    down = Sweep(problem, made.truth).everything().object_descent
    slowest = torch.zeros_like(slow.steps)
    slowest[:3, :3] = 1
    slow = replace(slow, steps=slow.steps * slowest)
    from_gradient = (slow.of_gradient(made.truth.object, down) / (1j * made.truth.object)).real[0]
    monkeypatch.setattr("exitwave.problems.coarse_phase.SIGNIFICANCE", 0.0)
    assert (slow.of_frames(pulls) - from_gradient).norm() < 0.3 * from_gradient.norm()


def test_slow_phase_found_at_once_brings_a_near_field_image_nearer_the_truth():
    made = near_field_scan(side=6)
    problem = PtychographyProblem.of(made.scan)
    start = replace(made.truth, object=torch.ones_like(made.truth.object), probe=made.truth.probe.abs() + 0j)
    found, left = (
        judge(
            list(QuasiNewton(slow_gain=gain).solve(problem, Step(epoch=0, estimate=start)))[-1].estimate,
            made.truth,
            (1.0, 1.0),
            PTYCHOGRAPHY_GAUGE,
        ).metrics["M-NRMSE"]
        for gain in (1.0, 0.0)
    )
    assert found < 0.85 * left
