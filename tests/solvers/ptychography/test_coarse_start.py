"""The start from coarse frames: the same wave and the same places, asked for beams of flat phase alone, and worth it."""

from dataclasses import replace

import torch

import exitwave as ew
from exitwave.data.estimate import PtychoEstimate
from exitwave.evaluation.ptychography import aligned
from exitwave.evaluation.region import common_region
from exitwave.physics.fourier import fft2, to_centre, to_corner
from exitwave.problems.initial_guess import first_estimate
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.simulation.probes import gaussian
from exitwave.solvers.ptychography.coarse_start import coarse_start, finer_object, resized_probe, wants_coarse_start
from scans import known_scan


def detected(probe):
    return to_centre(fft2(to_corner(probe)))


def test_a_cut_and_padded_probe_is_the_same_wave_in_the_middle_of_the_detector():
    probe = torch.randn(2, 24, 30, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    cut = resized_probe(probe, (16, 20))
    assert torch.allclose(detected(cut), detected(probe)[:, 4:20, 5:25], atol=1e-5)
    padded = detected(resized_probe(cut, (24, 30)))
    assert torch.allclose(padded[:, 4:20, 5:25], detected(cut), atol=1e-5)
    assert float(padded[:, :4].abs().max()) < 1e-5


def test_a_coarse_object_keeps_its_place_when_it_gets_finer():
    def sample(y, x):
        return torch.exp(1j * (torch.sin(0.2 * y)[:, None] + torch.cos(0.15 * x)[None, :]))

    fine_at, scale = torch.tensor([[9.3, 4.0], [20.0, 17.5]], dtype=torch.float64), 1.5
    # Places are those of the finer canvas; the middle of a window is pixel 12 of 24, or 8 of 16.
    coarse_at = (fine_at + 12 - 3) / scale - 8
    rows = torch.arange(50, dtype=torch.float64)
    probes = [torch.ones(1, size, size, dtype=torch.complex64) for size in (16, 24)]
    canvas = sample(scale * rows + 3, scale * rows + 3)[None].to(torch.complex64)
    coarse = PtychoEstimate(object=canvas, probe=probes[0], positions_px=coarse_at)
    x = PtychoEstimate(object=torch.ones(1, 60, 56, dtype=torch.complex64), probe=probes[1], positions_px=fine_at)
    expected = sample(torch.arange(60.0), torch.arange(56.0))[5:, 5:]
    assert torch.allclose(finer_object(coarse, x)[0, 5:, 5:], expected.to(torch.complex64), atol=1e-2)


def test_only_an_empty_object_under_a_beam_of_flat_phase_begins_from_coarse_frames():
    known = known_scan()
    problem = PtychographyProblem.of(known.scan)
    x = first_estimate(problem)
    flat = replace(x, probe=gaussian((32, 32), diameter_px=14.0)[None])
    y = torch.arange(32.0) - 16
    curved = torch.polar(flat.probe.abs(), 0.05 * (y[:, None].square() + y.square()))
    assert wants_coarse_start(problem, flat)
    assert not wants_coarse_start(problem, replace(flat, probe=curved))
    assert not wants_coarse_start(problem, replace(flat, object=known.truth.object))


def test_coarse_frames_find_the_sample_behind_a_pinhole():
    made = ew.simulate(
        "textured", probe_name="disc", frame_px=48, frames=49, overlap=0.7, photons_per_frame=1e6, seed=2
    )
    problem = PtychographyProblem.of(made.scan)
    x = coarse_start(problem, first_estimate(problem), epochs=80)
    common = common_region(x, made.truth)
    laid = aligned(common)
    region = common.scanned_in_both(laid.shift_px)
    found, true = (image[region] - image[region].mean() for image in (laid.image, common.truth))
    # From an empty object newton ends at 0.6.
    assert float(torch.vdot(found, true).abs() / (found.norm() * true.norm())) > 0.9
