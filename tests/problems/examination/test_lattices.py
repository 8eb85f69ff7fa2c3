"""Samples that repeat themselves: patterns that are all alike are said to be so, and no lattice is taken for a near-field scan."""

import math

import numpy as np
import pytest
import torch

from exitwave.data.finding import Finding
from exitwave.data.scan import Scan
from exitwave.physics.probe_forming import formed_probe, round_aperture
from exitwave.problems.examination import examine
from exitwave.problems.examination.alike import changing_share
from exitwave.problems.inspection import ScanInspection, inspect
from exitwave.simulation.detection import Detection
from exitwave.simulation.measure import MARGIN_PX, measure, simulate
from exitwave.simulation.stem import Microscope
from exitwave.simulation.trajectories import raster

PERIOD_PM = 390.0


def crystal(step_pm: float, *, defocus_nm: float = 20.0, depth_rad: float = 0.3, electrons: float = 1e4) -> Scan:
    """A square lattice that shifts the phase, under a defocused electron probe."""
    microscope = Microscope(step_pm=step_pm, defocus_nm=defocus_nm)
    geometry, shape = microscope.geometry, (64, 64)
    probe = formed_probe(round_aperture(20e-3, geometry, shape), microscope.optics, geometry)
    pixel_pm = 1e12 * geometry.object_pixel_m(shape)[0]
    positions = raster((15, 15), step_pm / pixel_pm) + MARGIN_PX
    size = math.ceil(float(positions.max())) + 64 + MARGIN_PX
    wave = torch.from_numpy(np.cos(2 * np.pi * (np.arange(size) * pixel_pm / PERIOD_PM - 0.2)))
    phase = depth_rad * torch.outer(0.5 + 0.5 * wave, 0.5 + 0.5 * wave)
    crystal = torch.polar(torch.ones_like(phase), phase).to(torch.complex64)[None]
    return measure(crystal, probe, positions, geometry, detection=Detection(photons_per_frame=electrons), seed=2).scan


def told(scan: Scan) -> dict[str, Finding]:
    return {found.name: found for found in examine(scan).findings}


@pytest.mark.parametrize(
    "scan", [{"step_pm": PERIOD_PM}, {"step_pm": 2 * PERIOD_PM}, {"step_pm": 80.0, "depth_rad": 0.0}]
)
def test_patterns_that_are_all_alike_are_said_to_be_so(scan: dict[str, float]):
    found = told(crystal(**scan))
    assert "regime" not in found
    assert found["alike-patterns"].action == "warned"
    assert "period of the sample" in found["alike-patterns"].cure
    assert found["alike-patterns"].options == ()


@pytest.mark.parametrize("step_pm", [80.0, 195.0, 500.0])
def test_patterns_that_differ_are_not_alike(step_pm: float):
    assert "alike-patterns" not in told(crystal(step_pm))


def test_of_too_few_counts_nothing_is_told():
    assert "alike-patterns" not in told(crystal(80.0, electrons=200.0))


@pytest.mark.parametrize("step_pm", [500.0, 585.0, 600.0])
def test_a_lattice_in_long_steps_is_not_refused_as_near_field(step_pm: float):
    scan = crystal(step_pm, defocus_nm=40.0)
    found = told(scan)
    assert "regime" not in found
    assert found["repeating-sample"].action == "warned"
    looked = inspect(scan)
    assert isinstance(looked, ScanInspection)
    assert looked.shadow_defocus_m is None
    assert looked.cures == ()


def test_the_defocus_of_a_lattice_in_short_steps_is_told():
    looked = inspect(crystal(80.0))
    assert isinstance(looked, ScanInspection)
    assert looked.shadow_defocus_m == pytest.approx(20e-9, rel=0.3)


@pytest.mark.parametrize("photons", [1e3, 1e6])
def test_the_share_of_the_light_that_changes_is_that_of_exact_patterns(photons: float):
    exact = simulate("natural", frames=60, frame_px=48, photons_per_frame=1e6, detection=None, seed=1).scan
    patterns = exact.frames(slice(None)) * (photons / 1e6)
    expected, _ = changing_share(patterns + 1e-3, exact.mask) or (0.0, 0.0)
    counted = torch.poisson(patterns, generator=torch.Generator().manual_seed(3))
    share, _ = changing_share(counted, exact.mask) or (0.0, 0.0)
    # Dark pixels count less where counts are few.
    assert 0.3 * expected < share < 1.05 * expected
    still = torch.poisson(patterns.mean(dim=0).expand(60, -1, -1), generator=torch.Generator().manual_seed(4))
    nothing, deviation = changing_share(still, exact.mask) or (1.0, 0.0)
    assert abs(nothing) < 4 * deviation
    flickers = patterns.mean(dim=0) * torch.linspace(0.5, 2, 60)[:, None, None]
    drawn = torch.poisson(flickers, generator=torch.Generator().manual_seed(5))
    nothing, deviation = changing_share(drawn, exact.mask) or (1.0, 0.0)
    assert abs(nothing) < 4 * deviation
