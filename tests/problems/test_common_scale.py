"""One scale for all results, which no pattern tells."""

from dataclasses import replace

import pytest
import torch

import exitwave as ew
from exitwave.data.estimate import PtychoEstimate
from exitwave.problems.common_scale import with_common_scale
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.simulation.detection import Detection
from exitwave.simulation.stem import Microscope, simulate_stem

MADE = simulate_stem("lattices", microscope=Microscope(scan="6x6"), detection=Detection(photons_per_frame=1e5))


@pytest.fixture
def problem() -> PtychographyProblem:
    return PtychographyProblem.of(MADE.scan)


def placed(problem: PtychographyProblem) -> PtychoEstimate:
    """The truth in the array of the problem: any object that absorbs nothing does."""
    ones = torch.ones(2, *problem.object_shape, dtype=torch.complex64)
    return PtychoEstimate(
        object=ones,
        probe=MADE.truth.probe,
        positions_px=problem.positions_px,
        slice_spacing_m=torch.tensor([1e-8], dtype=torch.float64),
    )


def test_patterns_stay_as_they_are_and_nothing_absorbs(problem: PtychographyProblem) -> None:
    true = placed(problem)
    off = replace(true, object=true.object * torch.tensor([3.0, 0.25])[:, None, None], probe=true.probe / 0.75 * 1.1)
    found, spread = with_common_scale(problem, off, off.spread([off.object, off.probe]))
    assert spread is not None
    torch.testing.assert_close(problem.frame_residual(found), problem.frame_residual(off), rtol=1e-4, atol=1e-6)
    power = float(found.probe.abs().square().sum())
    assert power == pytest.approx(problem.power / len(problem), rel=1e-3)
    assert float(found.object[0].abs().mean()) == pytest.approx(float(found.object[1].abs().mean()), rel=1e-4)
    torch.testing.assert_close(spread.object / off.object, found.object / off.object)
    torch.testing.assert_close(spread.probe, found.probe)
    # Its exit waves are 1.1 times too bright.
    assert float(found.object.abs().mean()) == pytest.approx(1.1**0.5, rel=1e-2)


def test_what_varies_from_frame_to_frame_counts_with_the_probe(problem: PtychographyProblem) -> None:
    true = placed(problem)
    frames = len(problem)
    varied = replace(
        true,
        probe=true.probe * 0.6**0.5 / 2,
        brightness=torch.full((frames,), 2.0),
        variations=true.probe.roll(20, -1) * 0.4**0.5,
        weights=torch.full((frames, 1), 0.5, dtype=torch.complex64),
    )
    found, _ = with_common_scale(problem, varied, None)
    torch.testing.assert_close(problem.frame_residual(found), problem.frame_residual(varied), rtol=1e-4, atol=1e-6)
    assert float(found.object.abs().mean()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", ["rpie", "newton", "lsqml"])
def test_a_result_has_the_photons_of_a_frame_in_its_probe_whatever_the_solver(name: str) -> None:
    result = ew.reconstruct(MADE.scan, ew.from_spec({"name": name, "epochs": 3}))
    assert isinstance(result.estimate, PtychoEstimate)
    assert float(result.estimate.probe.abs().square().sum()) == pytest.approx(1e5, rel=0.01)


def test_a_run_goes_the_same_way_and_an_amplitude_that_is_held_stays(problem: PtychographyProblem) -> None:
    held = ew.refine(ew.from_spec({"name": "rpie", "epochs": 3}), ew.RefinementOptions(phase_only=True))
    result = ew.reconstruct(problem, held)
    torch.testing.assert_close(result.estimate.object.abs(), torch.ones_like(result.estimate.object.abs()))
    free = ew.from_spec({"name": "rpie", "epochs": 3})
    steps = list(ew.iterate(problem, free))
    result = ew.reconstruct(problem, free)
    ratio = result.estimate.object / steps[-1].estimate.object
    torch.testing.assert_close(ratio, ratio[:1, :1, :1].expand_as(ratio), rtol=1e-4, atol=1e-4)
    assert list(result.history) == [step.residual for step in steps]
