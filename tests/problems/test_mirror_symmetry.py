"""A real object's pattern is known by its mirror symmetry, whatever hides parts of it, and where its centre is."""

import pytest
import torch

from exitwave.problems.cdi import SupportProblem, pattern_problem
from exitwave.problems.mirror_symmetry import mirror_symmetry, opposite
from exitwave.simulation.detection import Detection
from exitwave.simulation.isolated import simulate_pattern
from scans import known_particle, known_print


def symmetry(pattern):
    return mirror_symmetry(pattern.frames(slice(None))[0], pattern.mask)


@pytest.mark.parametrize("shape", [(6, 8), (7, 9), (4, 5, 6)])
def test_the_opposite_pixel_is_the_one_at_the_negative_frequency(shape):
    values = torch.rand(shape)
    spectrum = torch.fft.fftn(torch.rand(shape)).abs()
    centred = torch.fft.fftshift(spectrum)
    assert torch.allclose(opposite(centred, (0.0,) * len(shape)), centred, atol=1e-5)
    middle = tuple(n // 2 for n in shape)
    other = tuple(m - 1 for m in middle)
    assert opposite(values, (0.0,) * len(shape))[other] == values[tuple(m + 1 for m in middle)]


@pytest.mark.parametrize("photons", [1e6, 1e8])
def test_a_binary_object_is_real_and_one_with_phases_is_not(photons):
    assert symmetry(known_print(photons=photons).pattern).real
    assert not symmetry(known_print(photons=photons, phase=3.0).pattern).real
    for seed in range(3):
        made = simulate_pattern(frame_px=64, seed=seed, detection=Detection(photons_per_frame=photons))
        assert not symmetry(made.scan).real
    volume = known_particle((24, 26, 28))
    assert not SupportProblem.from_intensity(volume.pattern, volume.intensity).symmetry.real


@pytest.mark.parametrize("centre_px", [(0.0, 0.0), (0.4, -1.3), (2.0, 0.5)])
def test_the_centre_is_found_to_a_tenth_of_a_pixel(centre_px):
    found = symmetry(known_print(centre_px=centre_px).pattern)
    assert found.centre_px == pytest.approx(centre_px, abs=0.1)


def test_a_symmetrised_pattern_is_told_from_one_that_is_symmetric():
    assert symmetry(known_print(symmetrised=True).pattern).exact
    assert not symmetry(known_print().pattern).exact


def test_what_is_held_out_of_a_symmetric_pattern_is_not_told_by_the_opposite_pixel():
    problem = pattern_problem(known_print().pattern)
    held = torch.fft.fftshift(problem.held_out)
    seen = torch.fft.fftshift(problem.trusted) > 0
    assert 0.01 < float(held.float().mean()) < 0.12
    assert not bool((opposite(held, (0.0, 0.0)) & seen).any())


def test_the_truth_fits_a_pattern_whose_centre_lies_between_pixels():
    made = known_print(centre_px=(0.4, -1.3))
    problem = pattern_problem(made.pattern)
    scale = problem.amplitudes.norm() / (problem.seen(made.object) * (problem.trusted + problem.held_out)).norm()
    x = problem.estimate(made.object * scale, made.object.abs() > 0)
    assert problem.residual(x) < 0.01
    centred = SupportProblem.from_intensity(made.pattern, made.pattern.frames(slice(None))[0], made.pattern.mask)
    assert centred.symmetry.centre_px == problem.symmetry.centre_px
