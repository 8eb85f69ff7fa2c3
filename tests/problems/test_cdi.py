"""One pattern of an isolated object: what is refused, what is posed, and where solvers start."""

from dataclasses import replace

import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.data.geometry import Geometry
from exitwave.data.pattern import Pattern
from exitwave.problems.cdi import SupportProblem, pattern_problem
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.setup import Setup
from exitwave.simulation.detection import Detection
from exitwave.simulation.isolated import simulate_pattern
from exitwave.solvers.cdi.phase_retrieval import HIO
from exitwave.solvers.requirements import require_solved
from scans import known_particle, known_scan


def pattern(**flaws):
    return simulate_pattern(frame_px=64, seed=3, detection=Detection(**flaws))


def begun(problem):
    return problem.initial(None, Setup())


def at_detector(problem, obj):
    """The wave of an object, zero frequency first, in the even beam of the problem."""
    return torch.fft.fftn(obj, norm="ortho") * problem.beam_photons**0.5


def changed(scan, frames):
    return replace(scan, patterns=frames)


@pytest.fixture(scope="module")
def made():
    return pattern(noise="none")


def test_the_truth_has_no_residual_and_is_not_changed_by_the_modulus(made):
    problem = pattern_problem(made.scan)
    x = problem.started(made.truth)
    fitting, misfit = problem.with_modulus(x.object)
    assert problem.residual(x) < 1e-10
    assert misfit < 1e-6 * problem.power
    assert torch.allclose(fitting, x.object, atol=1e-4)


def test_what_comes_back_has_the_measured_modulus_where_it_is_trusted(made):
    stopped = pattern(noise="none", beam_stop_radius_px=2)
    problem = pattern_problem(stopped.scan)
    x = begun(problem)
    before = at_detector(problem, x.object).abs()
    fitting, misfit = problem.with_modulus(x.object)
    after = at_detector(problem, fitting).abs()
    measured = problem.amplitudes
    trusted = problem.trusted > 0
    scale = float(measured.max())
    assert torch.allclose(after[trusted], measured[trusted], atol=1e-5 * scale)
    assert torch.allclose(after[~trusted], before[~trusted], atol=1e-5 * scale)
    assert misfit == pytest.approx(float((before - measured)[trusted].square().sum()), rel=1e-4)


def test_the_object_is_about_one_and_the_beam_carries_the_photons(made):
    problem = pattern_problem(made.scan)
    x = problem.started(made.truth)
    inside = x.object.abs()[made.truth.support]
    assert 0.5 < float(inside.square().mean().sqrt()) < 2
    photons = float((x.object.abs().square().double() * x.beam_photons).sum())
    assert photons == pytest.approx(1e6, rel=1e-3)


def test_the_first_support_holds_the_object_and_lies_in_the_middle_half(made):
    start = begun(pattern_problem(made.scan))
    assert bool((start.support | ~made.truth.support).all())
    assert int(start.support.sum()) <= 32 * 32
    assert not bool(start.object[~start.support].any())


def test_random_starts_follow_the_seed(made):
    one, again, other = (begun(pattern_problem(made.scan, seed=seed)).object for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_held_out_pixels_are_islands_outside_the_middle_that_no_solver_sees(made):
    problem = pattern_problem(made.scan, free_fraction=0.05)
    held = torch.fft.fftshift(problem.held_out)
    share = float(held.float().mean())
    assert 0.03 < share < 0.07
    assert not bool(held[30:35, 30:35].any())
    # A pixel inside an island has neighbours in it: single pixels would have a neighbour with the chance of the share.
    together = float((held[:, 1:] & held[:, :-1]).float().mean())
    assert together > 0.5 * share
    assert not bool((problem.trusted > 0)[problem.held_out].any())


def test_another_exposure_of_the_same_object_is_a_start(made):
    brighter = simulate_pattern(frame_px=64, seed=3, detection=Detection(photons_per_frame=4e6, noise="none"))
    problem = pattern_problem(made.scan)
    x = problem.started(replace(brighter.truth, object=brighter.truth.object / 2))
    assert problem.residual(x) < 1e-10


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("near", "near field"),
        ("dark", "nothing is counted in any trusted pixel"),
        ("nan", "not finite"),
        ("negative", "negative"),
        ("coarse", "sampled too coarsely"),
        ("flat", "sampled too coarsely"),
        ("stop", "speckles; at most 4"),
        ("mask", "trusts no pixel"),
    ],
)
def test_what_cannot_be_phased_is_refused_by_name(made, wrong, words):
    frames = made.scan.frames(slice(None)).clone()
    scan: Pattern = made.scan
    if wrong == "near":
        scan = replace(scan, geometry=Geometry.from_energy(8000.0, 2.0, (75e-6, 75e-6), 1.0))
    elif wrong == "dark":
        scan = changed(scan, torch.zeros_like(frames))
    elif wrong in ("nan", "negative"):
        frames[0, 3, 4] = float("nan") if wrong == "nan" else -1.0
        scan = changed(scan, frames)
    elif wrong == "coarse":
        scan = simulate_pattern(frame_px=64, diameter_px=58).scan
    elif wrong == "flat":
        # One photon: its autocorrelation is even all over.
        lone = torch.zeros_like(frames)
        lone[0, 20, 40] = 1
        scan = changed(scan, lone)
    elif wrong == "stop":
        scan = pattern(beam_stop_radius_px=12).scan
    else:
        scan = replace(scan, mask=torch.zeros_like(scan.mask))
    with pytest.raises(InputError, match=words):
        pattern_problem(scan)


def test_several_frames_are_no_pattern():
    scan = known_scan(side=4).scan
    with pytest.raises(InputError, match="there are 16 frames; take one"):
        Pattern(patterns=scan.patterns, geometry=scan.geometry)
    assert scan.pattern(3).frames(slice(None)).equal(scan.frames(slice(3, 4)))


def test_a_small_beam_stop_is_no_obstacle():
    assert not bool(pattern_problem(pattern(beam_stop_radius_px=3).scan).trusted.all())


def test_a_start_of_another_size_is_refused(made):
    small = simulate_pattern(frame_px=48, seed=3).truth
    with pytest.raises(InputError, match="expected the size of the pattern"):
        pattern_problem(made.scan).started(small)


def test_a_scan_is_no_isolated_object():
    known = known_scan(side=4)
    problem = PtychographyProblem.of(known.scan)
    for given, words in ((known.scan, "a ptychography scan of 16 frames"), (problem, "a ptychography scan")):
        with pytest.raises(InputError, match=f"hio is for one pattern of an isolated object, but this is {words}"):
            require_solved(HIO(), given)
    with pytest.raises(InputError, match="the start is an estimate of support, but this is a ptychography scan"):
        problem.initial(pattern(noise="none").truth, Setup())


def test_an_estimate_of_a_scan_is_no_start(made):
    with pytest.raises(InputError, match="the start is an estimate of ptychography, but this is one pattern"):
        pattern_problem(made.scan).initial(known_scan(side=4).truth, Setup())


@pytest.mark.parametrize("shape", [(24, 26, 28), (31, 24)])
def test_any_number_of_axes_is_posed_and_its_truth_has_no_residual(shape):
    known = known_particle(shape)
    problem = SupportProblem.from_intensity(known.pattern, known.intensity, free_fraction=0.05)
    x = problem.estimate(known.object, known.object.abs() > 0)
    off = at_detector(problem, x.object).abs().square().sum() / known.intensity.sum()
    x = replace(x, object=x.object / off.sqrt())
    assert problem.residual(x) < 1e-10
    assert problem.residual(x, held_out=True) < 1e-10
    assert problem.with_modulus(x.object)[1] < 1e-6 * problem.power
    start = begun(problem)
    assert start.object.shape == shape
    assert bool((start.support | ~x.support).all())
    assert 0.02 < float(problem.held_out.float().mean()) < 0.08
