"""Verdicts on single patterns: starts that found different objects have failed."""

from dataclasses import replace

import pytest
import torch

from exitwave.data.result import Result
from exitwave.data.verdict import Verdict
from exitwave.evaluation.verdict.cdi import evidence, other_starts, said
from exitwave.problems.cdi import SupportProblem
from exitwave.problems.setup import Setup
from exitwave.running.reconstruct import reconstruct
from exitwave.simulation.detection import Detection
from exitwave.simulation.isolated import simulate_pattern
from exitwave.solvers.cdi.multistart import CDI
from exitwave.solvers.cdi.phase_retrieval import ER

FEW = CDI(starts=2, cycles=1, hio=10, er=2, finish=2)


def drawn(seed: int) -> torch.Tensor:
    return torch.randn(32, 32, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def test_other_starts_are_compared_after_shift_and_twin():
    first, other = drawn(1), drawn(2)
    turned = first.roll((3, -2), (0, 1)).flip(0, 1).conj().resolve_conj() * 1j
    state = {"best_of.found.0.object": first, "best_of.found.1.object": turned, "best_of:iterate": other}
    residuals = torch.tensor([0.01, 0.02])
    (start,) = other_starts({**state, "best_of.found.residuals": residuals})
    assert start.correlation == pytest.approx(1.0, abs=1e-3)
    assert start.worse == pytest.approx(2.0)
    three = {**state, "best_of.found.2.object": other, "best_of.found.residuals": torch.tensor([0.01, 0.02, 0.5])}
    assert other_starts(three)[1].correlation < 0.3
    assert other_starts(three)[1].worse == pytest.approx(50.0)


FREE = {"free-residual": 0.0003, "free-noise": 0.0002, "free-ratio": 1.5}


@pytest.mark.parametrize(
    ("changed", "grade"),
    [
        ({}, "sound"),
        ({"starts-correlation": 0.6}, "failed"),
        ({"starts-correlation": 0.84}, "doubtful"),
        ({"starts-correlation": 0.9}, "sound"),
        ({"starts-correlation": 0.9, "noise-ratio": 10.0}, "doubtful"),
        ({"starts-correlation": 0.9, "noise-ratio": 100.0, "free-residual": 0.008}, "failed"),
        ({"starts-correlation": 0.6, "starts-worse": 12.0}, "doubtful"),
        ({"starts-correlation": 0.6, "starts-worse": 12.0, "free-residual": 0.008}, "failed"),
        ({"starts-correlation": 0.9, "starts-worse": 12.0}, "sound"),
        ({"free-residual": 0.009}, "sound"),
        ({"free-residual": 0.02}, "doubtful"),
        ({"free-residual": 0.08}, "failed"),
        ({"free-residual": 0.08, "free-noise": 0.01}, "sound"),
        ({"free-residual": 0.2, "free-noise": 0.01}, "doubtful"),
        ({"free-residual": 0.5, "free-noise": 0.01}, "failed"),
        ({"free-residual": 1.2, "free-noise": 0.9}, "doubtful"),
        ({"support-share": 0.5}, "doubtful"),
        ({"beam-off": 0.5}, "doubtful"),
    ],
)
def test_each_piece_of_evidence_speaks(changed: dict[str, float], grade: str):
    good = {"noise-ratio": 2.0, "starts-correlation": 0.99, "starts-worse": 1.2, "beam-off": 0.0, "support-share": 0.1}
    told = list(said({**good, **FREE, **changed}))
    gravest = max(told, key=lambda one: ("sound", "doubtful", "failed").index(one.grade))
    assert gravest.grade == grade
    assert grade == "sound" or gravest.advice


@pytest.mark.parametrize("changed", [{"free-residual": 1.2, "free-noise": 0.9}, {"free-residual": 0.5}])
def test_of_electrons_no_photon_is_spoken_of(changed: dict[str, float]):
    good = {"noise-ratio": 2.0, "starts-correlation": 0.99, "starts-worse": 1.2, "beam-off": 0.0, "support-share": 0.1}
    told = list(said({**good, **FREE, **changed}, "electron"))
    words = " ".join(word for one in told for word in (one.reason, *one.advice))
    assert "photon" not in words
    assert "counting noise leaves" in words


def test_without_pixels_held_out_the_misfit_tells_whether_noise_parts_the_starts():
    parted = {"starts-correlation": 0.9, "starts-worse": 1.2, "beam-off": 0.0, "support-share": 0.1}
    assert "failed" in {one.grade for one in said({**parted, "noise-ratio": 50.0})}
    assert "failed" not in {one.grade for one in said({**parted, "noise-ratio": 10.0})}


def test_a_start_that_went_wrong_by_itself_has_no_vote():
    first, other = drawn(1), drawn(2)
    pattern = simulate_pattern(frame_px=32, detection=Detection(photons_per_frame=1e6)).scan
    problem = SupportProblem.from_intensity(pattern, pattern.frames(slice(None))[0])
    x = problem.estimate(torch.where(problem.first_support, first, 0.0), problem.first_support)
    result = Result(estimate=x, geometry=pattern.geometry, object_pixel_m=pattern.object_pixel_m, spec={})
    found = {f"found.{n}.object": image for n, image in enumerate((first, first, other))}
    figures = evidence(problem, result, x, {**found, "found.residuals": torch.tensor([0.01, 0.012, 0.2])})
    assert figures["starts-compared"] == 2
    assert figures["starts-correlation"] == pytest.approx(1.0, abs=1e-3)


def test_a_beam_stop_does_not_move_the_beam():
    made = simulate_pattern(frame_px=48, detection=Detection(photons_per_frame=1e7, beam_stop_radius_px=5.0))
    problem = SupportProblem.from_intensity(made.scan, made.scan.frames(slice(None))[0], made.scan.mask)
    result = Result(estimate=made.truth, geometry=made.scan.geometry, object_pixel_m=made.scan.object_pixel_m, spec={})
    assert evidence(problem, result, made.truth, {})["beam-off"] < 0.05
    ramp = torch.exp(1j * torch.pi * torch.arange(48)).to(torch.complex64)
    moved = replace(made.truth, object=made.truth.object * ramp)
    assert evidence(problem, result, moved, {})["beam-off"] > 0.4


def test_one_start_proves_nothing():
    pattern = simulate_pattern(frame_px=32, detection=Detection(photons_per_frame=1e6)).scan
    verdict = reconstruct(pattern, ER(epochs=5), setup=Setup(free_fraction=0.05)).verdict
    assert isinstance(verdict, Verdict)
    assert verdict.grade != "sound"
    assert any("one start" in reason for reason in verdict.reasons)


def test_unlike_images_of_a_run_that_was_far_too_short_have_failed():
    pattern = simulate_pattern(frame_px=48, detection=Detection(photons_per_frame=1e6)).scan
    verdict = reconstruct(pattern, FEW).verdict
    assert verdict is not None
    assert verdict.grade == "failed", verdict
