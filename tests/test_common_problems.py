"""The common problem like life, its judge, and what other packages are told of it."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from exitwave.evaluation.align import move
from pages import ROOT, benchmarks

scoring = benchmarks("harness.scoring")


@pytest.fixture(scope="module")
def trial():
    return benchmarks("harness.realistic").realistic(seed=5, grid=(8, 8))


def test_recorded_positions_are_wrong_by_one_pixel_and_true_ones_lie_between_pixels(trial):
    assert scoring.position_error(trial.start.positions_px, trial)[0] == pytest.approx(1, abs=0.2)
    between = (trial.truth.positions_px - trial.truth.positions_px.round()).abs()
    assert float(between.mean()) == pytest.approx(0.25, abs=0.05)


def test_start_holds_the_recorded_positions_and_one_mode_as_bright_as_the_frames(trial):
    pixel_m = torch.tensor(trial.scan.object_pixel_m, dtype=torch.float64)
    torch.testing.assert_close(trial.start.positions_px * pixel_m, trial.scan.positions_m)
    (probe,) = trial.start.probe
    seen = torch.fft.fftshift(torch.fft.fft2(probe, norm="ortho")).abs().square() * trial.scan.mask
    assert float(seen.sum()) == pytest.approx(float(trial.scan.frames(slice(None)).sum(dim=(1, 2)).mean()), rel=1e-4)


def test_two_orthogonal_modes_share_the_light_seven_to_three(trial):
    modes = trial.truth.probe.to(torch.complex128).flatten(1)
    powers = modes.abs().square().sum(dim=1)
    np.testing.assert_allclose(powers / powers.sum(), [0.7, 0.3], atol=0.005)
    assert float((modes[0].conj() @ modes[1]).abs()) < 1e-5 * float(powers.sum())


def test_gaps_are_masked_dark_and_cross_the_bright_ring(trial):
    frames, trusted = trial.scan.frames(slice(None)), trial.scan.mask
    assert int((~trusted).sum()) == 6 * 128 + 4 * 128 - 6 * 4
    assert not bool(frames[:, ~trusted].any())
    photons = float(frames.sum(dim=(1, 2)).mean())
    assert 0.8e5 < photons < 0.95e5


def test_windows_stay_on_the_canvas_wherever_a_frame_is_believed_to_be(trial):
    room = torch.tensor(trial.start.object.shape[-2:]) - torch.tensor(trial.start.probe.shape[-2:])
    for positions in (trial.truth.positions_px, trial.start.positions_px):
        assert float(positions.min()) >= 0
        assert bool((positions <= room).all())


@pytest.mark.parametrize(("shift", "most"), [((0, 0), 1e-6), ((3, -2), 1e-6), ((0.4, -0.3), 0.01)])
def test_judge_forgives_a_shift_of_everything(trial, shift, most):
    moved = move(trial.truth.object[0], shift).to(torch.complex64)
    found = scoring.score(moved, trial, trial.truth.positions_px + torch.tensor(shift))
    assert found.nrmse < most
    assert found.position_error_px < 1e-9


def test_judge_does_not_forgive_a_stretch(trial):
    true = trial.truth.object[0]
    places = [np.linspace(0, n - 1, n) * 1.01 for n in true.shape]
    grid = np.meshgrid(*places, indexing="ij")
    parts = [map_coordinates(part.numpy(), grid, order=3, mode="mirror") for part in (true.real, true.imag)]
    stretched = torch.complex(*(torch.from_numpy(part) for part in parts)).to(torch.complex64)
    found = scoring.score(stretched, trial, trial.truth.positions_px / 1.01)
    assert found.nrmse > 0.03
    assert found.position_error_px > 0.3


def test_judge_of_two_programs_looks_at_the_same_epochs():
    spec = importlib.util.spec_from_file_location("exchange", ROOT / "benchmarks" / "peers" / "exchange.py")
    exchange = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(exchange)
    assert set(scoring.looks(9_999)) == exchange.LOOKS


def test_other_packages_are_told_the_start_and_no_truth(trial, tmp_path):
    benchmarks("studies.peers").write_problem(trial, tmp_path / "problem.npz")
    with np.load(tmp_path / "problem.npz") as told:
        numbers = {"wavelength_m", "distance_m", "detector_pixel_m", "object_pixel_m"}
        given = {"patterns", "mask", "positions_px", "probe", "object_shape", "modes", "refine_positions"}
        assert set(told.files) == numbers | given
        np.testing.assert_array_equal(told["positions_px"], trial.start.positions_px)
        np.testing.assert_array_equal(told["probe"], trial.start.probe[0])
        assert (int(told["modes"]), bool(told["refine_positions"])) == (2, True)


def test_position_error_is_told_of_what_was_found_not_of_the_start(trial):
    wrong = replace(
        trial.truth, positions_px=trial.truth.positions_px + torch.tensor([[0.5, 0.0]] * 32 + [[0.0, 0.5]] * 32)
    )
    found = scoring.score(wrong.object[0], trial, wrong.positions_px)
    assert found.position_error_px == pytest.approx(0.25)
