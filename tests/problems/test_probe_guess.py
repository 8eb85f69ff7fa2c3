"""The first probe: size and sign of its defocus, from any frames, in little time."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from exitwave.data import prepare
from exitwave.data.geometry import Geometry
from exitwave.data.scan import Scan
from exitwave.data.statistics import scan_statistics
from exitwave.problems.probe_guess import guess_probe
from exitwave.simulation.measure import measure
from exitwave.simulation.objects import OBJECTS
from exitwave.simulation.trajectories import TRAJECTORIES

GEOMETRY = Geometry.from_energy(8000, 2.0, (75e-6, 75e-6))


def annular(size: int, reach_px: float) -> torch.Tensor:
    """An annular aperture's focus, its outermost rays moved by `reach_px` pixels by defocus."""
    axis = torch.fft.fftfreq(size, dtype=torch.float64)
    square = axis[:, None].square() + axis.square()
    aperture = ((square < 0.25**2) & (square > 0.06**2)).double()
    return torch.fft.fftshift(torch.fft.ifft2(torch.polar(aperture, math.pi * reach_px / 0.25 * square))).cfloat()


def made(probe: torch.Tensor, step: float = 9.0, geometry: Geometry = GEOMETRY) -> Scan:
    positions = TRAJECTORIES["jittered"](64, step, seed=3) + 4
    extent = int(positions.max()) + len(probe) + 6
    return measure(OBJECTS["textured"]((extent, extent), seed=2), probe, positions, geometry, seed=1).scan


def guessed(scan: Scan) -> torch.Tensor:
    return guess_probe(scan, scan_statistics(scan).mean_pattern)


def likeness(a: torch.Tensor, b: torch.Tensor) -> float:
    """Correlation after the best shift."""
    return float(torch.fft.ifft2(torch.fft.fft2(a).conj() * torch.fft.fft2(b)).abs().max() / (a.norm() * b.norm()))


@pytest.mark.parametrize("sign", [1, -1])
def test_size_and_sign_of_the_defocus_are_found(sign):
    true = annular(64, sign * 14.0)
    assert likeness(guessed(made(true)), true) > 0.9


def test_frames_larger_than_trials_are_binned_for_them_and_give_the_same_probe():
    # An aperture of 80 of 160 pixels: trials on 120 pixels would be slow.
    true = annular(160, 30.0)
    scan = made(true, 16.0)
    assert likeness(guessed(scan), true) > 0.85


def test_oblong_frames_of_slow_sizes_take_no_longer_and_have_a_round_defocus():
    true = annular(64, 14.0)
    square = made(true)
    oblong = prepare.cut_around_beam(square, (103, 206), (32, 32))
    # The margin was not measured but is dark.
    oblong = replace(oblong, mask=torch.ones_like(oblong.mask))
    began = time.process_time()
    probe = guessed(oblong)
    assert time.process_time() - began < 20
    # On the detector the wave must be that of the square frames.
    wave = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(probe)))[51 - 32 : 51 + 32, 103 - 32 : 103 + 32]
    assert likeness(torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(wave))), true) > 0.9


def test_the_guess_of_the_near_field_is_the_empty_beam():
    geometry = Geometry(wavelength_m=1e-10, distance_m=0.1, detector_pixel_m=(1e-6, 1e-6), focus_distance_m=np.inf)
    positions = torch.tensor([[0.0, 0.0], [5e-6, 1e-6], [2e-6, 6e-6]])
    scan = Scan(patterns=torch.full((3, 24, 24), 9.0), positions_m=positions, geometry=geometry)
    assert torch.allclose(guessed(scan).abs(), torch.full((24, 24), 3.0), atol=1e-4)


@pytest.mark.parametrize("magnification", [1.2, 0.85])
def test_a_curved_beam_in_the_near_field_is_known_by_the_shadows_it_magnifies(magnification):
    geometry = Geometry(wavelength_m=1e-10, distance_m=0.1, detector_pixel_m=(1e-6, 1e-6), focus_distance_m=np.inf)
    axis = torch.arange(48, dtype=torch.float64) - 24
    square = axis[:, None].square() + axis.square()
    # Over wavelength x distance / pixel^2 = 10, rays of this slope move outwards by so much.
    curvature = (magnification - 1) / 10
    true = torch.polar(torch.exp(-square / 12**2), math.pi * curvature * square).cfloat()
    scan = made(true, 7.0, geometry)
    assert likeness(guessed(scan), true) > 0.95
