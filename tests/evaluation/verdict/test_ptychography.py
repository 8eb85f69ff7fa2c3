"""Verdicts on ptychographic images: right images are sound, images of noise are not, whatever their residual."""

from dataclasses import replace

import pytest
import torch

from exitwave.data.estimate import PtychoEstimate
from exitwave.data.patterns import ArrayPatterns
from exitwave.data.result import Result
from exitwave.data.scan import Scan
from exitwave.data.verdict import Verdict
from exitwave.evaluation.verdict.fit import fit_of, stage_of
from exitwave.evaluation.verdict.frame_order import frame_order
from exitwave.evaluation.verdict.left_out import left_out
from exitwave.evaluation.verdict.ptychography import border, outlying, said
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.running.reconstruct import reconstruct
from exitwave.solvers.ptychography.pie import RPIE
from scans import Known, known_scan


@pytest.fixture(scope="module")
def known() -> Known:
    return known_scan(photons=1e5, step=6.0)


def posed(scan: Scan) -> PtychographyProblem:
    return PtychographyProblem.of(scan)


def run(scan: Scan, epochs: int = 30) -> Result:
    return reconstruct(posed(scan), RPIE(epochs=epochs))


def verdict_on(scan: Scan) -> Verdict:
    verdict = run(scan).verdict
    assert verdict is not None
    return verdict


def with_counts(known: Known, counts: torch.Tensor):
    return replace(known.scan, patterns=ArrayPatterns(counts))


@pytest.fixture(scope="module")
def frames(known: Known) -> torch.Tensor:
    return known.scan.frames(slice(None))


@pytest.fixture(scope="module")
def shuffled(known: Known, frames: torch.Tensor):
    return with_counts(known, frames[torch.randperm(len(frames), generator=torch.Generator().manual_seed(2))])


def test_the_truth_predicts_frames_that_were_left_out(known: Known):
    problem = posed(known.scan)
    found = left_out(problem, known.truth, fit_of(problem, known.truth))
    assert found is not None
    assert found.correlation > 0.97
    assert found.patch_difference < 0.3
    # Nothing but noise is left of a good prediction; an empty patch leaves much more.
    assert found.predicted < 2 * found.noise < 0.5 * found.emptied


def test_the_estimate_stays_as_it_is_and_chance_has_no_part(known: Known):
    problem, before = posed(known.scan), known.truth.object.clone()
    first, second = (left_out(problem, known.truth, fit_of(problem, known.truth)) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.predicted == pytest.approx(second.predicted, rel=1e-5)
    assert torch.equal(known.truth.object, before)


def test_a_right_image_is_sound(known: Known):
    verdict = verdict_on(known.scan)
    assert verdict.grade == "sound", verdict
    assert "predicted from their neighbours" in verdict.reasons[0]


def test_frames_in_the_wrong_order_make_no_image(shuffled: Scan):
    verdict = verdict_on(shuffled)
    assert verdict.grade == "failed", verdict
    assert any("order of the frames" in step for step in verdict.advice)


@pytest.fixture(scope="module")
def rows() -> Known:
    """A raster, on which frames that are off by one only tear the ends of rows."""
    return known_scan(photons=1e5, step=6.0, jitter=0.0)


@pytest.mark.parametrize("lag", [-1, 0, 1])
def test_frames_that_are_off_by_one_fit_better_where_they_belong(rows: Known, lag: int):
    shifted = replace(rows.scan, positions_m=rows.scan.positions_m.roll(lag, dims=0))
    inner = shifted.some(torch.arange(1, len(shifted) - 1))
    result = run(inner)
    assert isinstance(result.estimate, PtychoEstimate)
    found = frame_order(posed(inner), result.estimate)
    assert found is not None
    if lag == 0:
        assert min(found.before, found.after) > 5
    else:
        right, wrong = (found.after, found.before) if lag > 0 else (found.before, found.after)
        assert right < min(2.5, wrong / 2)
        assert result.verdict is not None
        assert any("off by one" in reason for reason in result.verdict.reasons)


def test_steps_that_are_all_alike_tell_nothing_of_the_order(known: Known):
    row = replace(known.truth, positions_px=torch.stack([torch.zeros(20), 3.0 * torch.arange(20.0)], dim=1))
    assert frame_order(posed(known.scan), row) is None


def test_unmasked_gaps_fit_to_the_last_digit_and_fail(known: Known, frames: torch.Tensor):
    gaps = frames.clone()
    gaps[:, 12:14] = gaps[:, :, 20:22] = 2.0**32 - 1
    result = run(with_counts(known, gaps))
    assert result.residual < 1e-6
    assert result.verdict is not None
    assert result.verdict.grade == "failed"


def test_positions_of_another_scale_are_noticed(known: Known):
    verdict = verdict_on(replace(known.scan, positions_m=1.1 * known.scan.positions_m))
    assert verdict.grade == "doubtful", verdict
    assert any("all alike" in reason and "scaled by" in reason for reason in verdict.reasons)


def test_right_positions_want_to_stay(known: Known):
    problem = posed(known.scan)
    fit = fit_of(problem, known.truth)
    stage = stage_of(fit, known.truth.positions_px)
    assert stage.chance_px / 2 < stage.rms_px < 2 * stage.chance_px
    assert stage.shared < 0.3


def test_scaled_counts_are_noticed_and_do_no_harm(known: Known, frames: torch.Tensor):
    verdict = verdict_on(with_counts(known, frames / 50))
    assert verdict.grade == "sound", verdict
    assert any("counts are scaled" in reason for reason in verdict.reasons)


def test_frames_without_a_sample_are_doubtful(known: Known, frames: torch.Tensor):
    mean = frames.mean(dim=0).expand_as(frames)
    drawn = torch.poisson(mean, generator=torch.Generator().manual_seed(0))
    verdict = verdict_on(with_counts(known, drawn))
    assert verdict.grade != "sound"
    assert any("hardly differ beyond photon noise" in reason for reason in verdict.reasons)


def test_too_few_frames_are_not_sound(known: Known):
    assert verdict_on(known.scan.some(torch.tensor([0, 3, 6]))).grade != "sound"


def test_the_truth_of_a_simulation_is_not_asked_for(known: Known):
    first, second = (run(scan).verdict for scan in (known.scan, replace(known.scan, provenance={})))
    assert first is not None
    assert second is not None
    assert (first.grade, first.reasons, first.advice) == (second.grade, second.reasons, second.advice)
    assert dict(first.evidence) == pytest.approx(dict(second.evidence), rel=1e-3, abs=1e-6)


GOOD = {
    "frames": 64,
    "signal": 50.0,
    "noise-ratio": 1.0,
    "unknowns": 0.1,
    "left-out-correlation": 0.99,
    "fitted-correlation": 0.995,
    "left-out-covered": 1.0,
    "moves-rms-px": 0.01,
    "moves-by-chance-px": 0.01,
    "moves-affine": 0.0,
    "moves-slow": 0.0,
    "moves-scale": 1.0,
    "moves-rotation-rad": 0.0,
    "moves-mend": 0.0,
    "probe-border": 0.02,
    "outlying-frames": 0.0,
    "residual-fall": 1.0,
}


@pytest.mark.parametrize(
    ("changed", "grade", "words"),
    [
        ({}, "sound", "predicted"),
        ({"left-out-correlation": 0.4, "moves-mend": 0.2}, "failed", "would predict them"),
        ({"left-out-correlation": 0.5}, "failed", "would predict them"),
        ({"left-out-correlation": 0.5, "moves-mend": 0.2}, "doubtful", "from 0.85 on"),
        ({"left-out-correlation": 0.7}, "doubtful", "from 0.85 on"),
        ({"left-out-correlation": 0.87, "fitted-correlation": 0.93}, "doubtful", "0.95 where they were fitted"),
        ({"frames-at-place-before": 40.0, "frames-at-place-after": 1.1}, "doubtful", "the one after them"),
        ({"frames-at-place-before": 0.6, "frames-at-place-after": 9.0}, "doubtful", "the one before them"),
        ({"frames-at-place-before": 40.0, "frames-at-place-after": 20.0}, "sound", "predicted"),
        ({"frames-at-place-before": 1.6, "frames-at-place-after": 1.7}, "sound", "predicted"),
        ({"left-out-covered": 0.3}, "doubtful", "share too little"),
        ({"left-out-covered": 0.05}, "failed", "share too little"),
        ({"moves-rms-px": 0.3, "moves-mend": 0.1}, "doubtful", "want to stand"),
        ({"moves-rms-px": 0.3}, "sound", "predicted"),
        ({"moves-rms-px": 0.3, "moves-slow": 0.8}, "doubtful", "drifted"),
        ({"noise-ratio": 0.2, "left-out-correlation": 0.7}, "doubtful", "noise is fitted"),
        ({"frames": 9}, "doubtful", "too few"),
        ({"outlying-frames": 0.1}, "doubtful", "times worse than most"),
        ({"free-ratio": 3.0}, "doubtful", "never saw"),
        ({"probe-border": 0.4}, "doubtful", "fills the frame"),
        ({"modes-first": 0.51, "modes-second": 0.49}, "doubtful", "two modes of the probe are nearly as strong"),
        ({"modes-first": 0.95, "modes-first-refitted": 0.83}, "sound", "shares of the modes are not determined"),
        ({"residual-fall": 0.6, "fitted-correlation": 0.9}, "doubtful", "still fell"),
        ({"residual-fall": 0.6}, "sound", "predicted"),
        ({"residual-fall": 0.8, "fitted-correlation": 0.98}, "sound", "predicted"),
        ({"residual-fall": 0.8, "fitted-correlation": 0.98, "noise-ratio": 20.0}, "doubtful", "still fell"),
    ],
)
def test_each_piece_of_evidence_speaks(changed: dict[str, float], grade: str, words: str):
    told = list(said({**GOOD, **changed}, near_field=False))
    gravest = max(told, key=lambda one: ("sound", "doubtful", "failed").index(one.grade))
    assert gravest.grade == grade
    assert any(words in one.reason for one in told if one.grade == grade)
    assert grade == "sound" or gravest.advice


def test_of_electrons_no_photon_is_spoken_of():
    everything = {**GOOD, "probe-border": 0.4, "moves-rms-px": 0.3, "moves-slow": 0.8, "left-out-correlation": 0.7}
    for changed in ({"noise-ratio": 0.2}, {"noise-ratio": 9.0}, {"signal": 0.0}):
        told = list(said({**everything, **changed}, near_field=False, particle="electron"))
        words = " ".join(word for one in told for word in (one.reason, *one.advice))
        assert "photon" not in words.replace("--prepare photons=", "")
        assert "of its electrons lie" in words
        assert "counting noise explains" in words


def test_a_wide_probe_is_no_fault_in_the_near_field():
    assert all(one.grade == "sound" for one in said({**GOOD, "probe-border": 0.44}, near_field=True))


def test_the_near_field_tells_places_better():
    moving = {**GOOD, "moves-rms-px": 0.05}
    assert all(one.grade == "sound" for one in said(moving, near_field=False))
    assert any("want to stand" in one.reason for one in said(moving, near_field=True))


def test_an_even_probe_has_its_area_in_the_border():
    assert border(torch.ones(1, 64, 64, dtype=torch.complex64)) == pytest.approx(1 - 0.75**2)


def test_frames_are_outlying_beside_most_others():
    residuals = torch.full((50,), 0.01)
    residuals[7] = 0.2
    assert outlying(residuals, torch.full((50,), 0.01)) == pytest.approx(1 / 50)


def test_a_dim_frame_that_is_as_noisy_as_photons_make_it_is_not_outlying():
    residuals = torch.full((50,), 0.01)
    residuals[7] = 0.2
    assert outlying(residuals, residuals) == 0


@pytest.mark.parametrize(("power", "told"), [(1.0, False), (0.05, True)])
def test_shares_of_modes_that_are_not_found_are_told(power: float, told: bool):
    made = known_scan(modes=2, photons=1e6)
    problem = posed(made.scan)
    weak = made.truth.probe * torch.tensor([1.0, power**0.5])[:, None, None]
    weak = weak * (made.truth.probe.abs().square().sum() / weak.abs().square().sum()).sqrt()
    start = replace(made.truth, probe=weak)
    verdict = reconstruct(problem, RPIE(epochs=1, update_probe=False), start=start).verdict
    assert verdict is not None
    assert any("shares of the modes" in reason for reason in verdict.reasons) == told
