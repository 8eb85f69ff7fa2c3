"""Posing a scan: canvas, masks, batches, residuals; and refusing what makes no sense."""

from dataclasses import replace

import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.data.geometry import Geometry
from exitwave.data.scan import Scan
from exitwave.problems.initial_guess import first_guess, more_modes
from exitwave.problems.ptychography import MemoryBudget, PtychographyProblem
from scans import known_scan


@pytest.fixture(scope="module")
def known():
    return known_scan()


def spoiled(scan: Scan, change) -> Scan:
    patterns = scan.frames(slice(None)).clone()
    change(patterns)
    return replace(scan, patterns=patterns)


def test_residual_is_zero_at_the_truth_and_relative_to_the_photons(known):
    problem = PtychographyProblem.of(known.scan)
    assert problem.residual(known.truth) < 1e-9
    dim = replace(known.truth, probe=known.truth.probe * 0.5)
    assert problem.residual(dim) == pytest.approx(0.25, rel=1e-4)
    assert torch.allclose(problem.frame_residual(dim), torch.full((len(known.scan),), 0.25), atol=1e-4)


def test_threads_change_no_residual(known):
    problem, before = PtychographyProblem.of(known.scan), torch.get_num_threads()
    wrong = replace(known.truth, object=known.truth.object * torch.polar(torch.tensor(0.9), torch.tensor(0.3)))
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append((problem.frame_residual(wrong), problem.residual(wrong)))
    finally:
        torch.set_num_threads(before)
    for frames, whole in found[1:]:
        assert torch.equal(frames, found[0][0])
        assert whole == found[0][1]


def test_windows_of_all_frames_lie_inside_the_canvas(known):
    problem = PtychographyProblem.of(known.scan)
    corners = problem.positions_px.round()
    assert bool((corners >= 0).all())
    assert bool((corners + 32 <= torch.tensor(problem.object_shape)).all())
    assert torch.allclose(problem.positions_px, known.truth.positions_px, atol=1e-6)


def test_every_epoch_visits_each_frame_once_in_an_order_of_its_own(known):
    problem = PtychographyProblem.of(known.scan, seed=3)
    one, again, other = (torch.cat(list(problem.batches(5, epoch))) for epoch in (1, 1, 2))
    assert torch.equal(one.sort().values, torch.arange(len(known.scan)))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_untrusted_pixels_do_not_enter_the_residual(known):
    broken = spoiled(known.scan, lambda p: p[:, 5, 7].fill_(float("nan")))
    mask = torch.ones(32, 32, dtype=torch.bool)
    mask[5, 7] = False
    assert PtychographyProblem.of(replace(broken, mask=mask)).residual(known.truth) < 1e-9


def test_held_out_pixels_are_hidden_from_solvers_and_kept_for_the_test(known):
    problem = PtychographyProblem.of(known.scan, free_fraction=0.1, seed=1)
    share = float(problem.held_out.float().mean())
    assert 0.05 < share < 0.15
    assert not bool((problem.held_out & (problem.trusted > 0)).any())
    dim = replace(known.truth, probe=known.truth.probe * 0.5)
    assert problem.residual(dim, held_out=True) == pytest.approx(0.25, rel=1e-3)


def test_frames_read_one_by_one_give_the_same_problem_as_frames_in_memory(known):
    cached, streamed = (
        PtychographyProblem.of(known.scan),
        PtychographyProblem.of(known.scan, memory=MemoryBudget(cached=0)),
    )
    frames = torch.tensor([3, 1, 8])
    assert torch.equal(cached.amplitudes(frames), streamed.amplitudes(frames))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p[4, 3, 3].fill_(float("nan")), "frame 4.*mask"),
        (lambda p: p[2, 1, 1].fill_(-3), "negative.*frame 2.*threshold"),
        (lambda p: p[5].zero_(), "5.*drop_empty"),
        (lambda p: p.zero_(), "every frame is empty"),
    ],
)
def test_senseless_frames_are_refused_with_their_number_and_a_cure(known, change, words):
    with pytest.raises(InputError, match=words):
        PtychographyProblem.of(spoiled(known.scan, change))


@pytest.mark.parametrize(("factor", "unit"), [(1e6, "um"), (1e3, "mm"), (1e9, "nm")])
def test_positions_in_a_wrong_unit_are_refused_and_the_unit_that_fits_is_named(known, factor, unit):
    with pytest.raises(InputError, match=f"What would fit: .*--position-unit {unit}"):
        PtychographyProblem.of(replace(known.scan, positions_m=known.scan.positions_m * factor))


@pytest.mark.parametrize(("factor", "energy"), [(1000, "8e\\+06 eV"), (1e-3, "8 eV")])
def test_an_energy_a_thousand_times_off_is_refused_and_the_fitting_one_named(known, factor, energy):
    wrong = Geometry.from_energy(8000 * factor, 2.0, (75e-6, 75e-6))
    with pytest.raises(InputError, match=f"8000 eV instead of {energy}.*--energy-ev"):
        PtychographyProblem.of(replace(known.scan, geometry=wrong))


def test_duplicate_positions_single_frames_and_empty_masks_are_refused(known):
    repeated = known.scan.positions_m.clone()
    repeated[3] = repeated[2]
    with pytest.raises(InputError, match="drop_duplicates"):
        PtychographyProblem.of(replace(known.scan, positions_m=repeated))
    lone = Scan(patterns=torch.ones(1, 8, 8), positions_m=torch.zeros(1, 2), geometry=known.scan.geometry)
    with pytest.raises(InputError, match="1 frame is not"):
        PtychographyProblem.of(lone)
    with pytest.raises(InputError, match="trusts no pixel"):
        PtychographyProblem.of(replace(known.scan, mask=torch.zeros(32, 32, dtype=torch.bool)))


def test_an_outlier_among_the_positions_is_refused_before_memory_is_taken(known):
    far = known.scan.positions_m.clone()
    far[0] += 1.0
    with pytest.raises(InputError, match="outliers"):
        PtychographyProblem.of(replace(known.scan, positions_m=far))


def test_guessed_probe_has_the_photons_of_a_frame_and_the_shape_of_the_truth():
    made = known_scan(frame=48, side=8, step=8.0, photons=1e5)
    problem = PtychographyProblem.of(made.scan)
    guess = first_guess(problem)
    photons = float(made.scan.frames(slice(None)).sum()) / len(made.scan)
    assert float(guess.probe.abs().square().sum()) == pytest.approx(photons, rel=1e-3)
    a, b = guess.probe[0].abs(), made.truth.probe[0].abs()
    assert float((a * b).sum() / (a.norm() * b.norm())) > 0.8


def test_added_modes_are_orthogonal_and_weak():
    main = torch.randn(1, 16, 16, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    modes = more_modes(main, 4)
    overlaps = torch.einsum("ayx,byx->ab", modes.conj(), modes).abs()
    power = overlaps.diagonal()
    assert torch.equal(modes[0], main[0])
    assert float((overlaps - overlaps.diagonal().diag()).max()) < 1e-3 * float(power[0])
    assert torch.allclose(power[1:] / power[0], torch.full((3,), 0.05), rtol=1e-3)


def test_a_given_probe_of_another_size_is_refused(known):
    with pytest.raises(InputError, match=r"40, 40.*32, 32"):
        first_guess(PtychographyProblem.of(known.scan), probe=torch.ones(1, 40, 40, dtype=torch.complex64))


def test_photons_added_to_counts_are_expected_by_the_model_in_memory_and_streamed():
    known = known_scan(side=4, photons=1e3)
    held = PtychographyProblem.of(known.scan).unbiased()
    streamed = PtychographyProblem.of(known.scan, memory=MemoryBudget(cached=0)).unbiased()
    frames = torch.tensor([3, 1])
    assert held.model.offset_photons == 1
    plain = PtychographyProblem.of(known.scan)
    torch.testing.assert_close(
        held.model.intensity(known.truth, frames), plain.model.intensity(known.truth, frames) + 1
    )
    stack, index = held.amplitude_stack(frames)
    assert torch.equal(stack[index], held.amplitudes(frames))
    assert torch.equal(streamed.amplitudes(frames), held.amplitudes(frames))
    assert torch.equal(held.counts(frames), plain.amplitudes(frames).square())
    # Of the truth no dark pixel asks for more light or less, where plain roots ask for none.
    pulls = []
    for problem in (plain, held):
        expected = problem.model.intensity(known.truth, torch.arange(16))
        dark = (expected - problem.model.offset_photons) < 0.5
        pulls.append(float((problem.amplitudes(torch.arange(16)) / expected.sqrt() - 1)[dark].mean()))
    assert pulls[0] < -0.3
    assert abs(pulls[1]) < 0.01
