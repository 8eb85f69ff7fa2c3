"""Smooth distortions: their derivatives, the object that goes along, and positions found back."""

import math
from dataclasses import replace
from functools import cache

import pytest
import torch

import exitwave as ew
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.refinement.distortion import Distortion, Field, distorted
from exitwave.problems.refinement.modelled_frames import refined
from exitwave.simulation.measure import Simulated

PLACES = 40 * torch.rand(30, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


@cache
def made() -> Simulated:
    return ew.simulate("grf", frame_px=48, frames=49, overlap=0.75, seed=2)


def test_the_gradient_of_a_field_is_that_of_its_moves():
    wave = Field.over(PLACES, 10.0)
    assert len(wave.orders) > 5
    coefficients = torch.randn(wave.unknowns, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    here = PLACES.clone().requires_grad_()
    moves = wave.moves(here, coefficients)
    rows = [torch.autograd.grad(moves[:, axis].sum(), here, retain_graph=True)[0] for axis in (0, 1)]
    torch.testing.assert_close(torch.cat(rows, dim=1), wave.gradients(PLACES) @ coefficients)


def test_moves_of_a_grid_are_those_of_its_pixels():
    wave = Field.over(PLACES, 15.0)
    coefficients = torch.randn(wave.unknowns, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    grid = wave.moves_of_grid((5, 7), coefficients)
    rows, columns = torch.meshgrid(torch.arange(5.0), torch.arange(7.0), indexing="ij")
    torch.testing.assert_close(grid, wave.moves(torch.stack([rows, columns], dim=-1).double(), coefficients))


def test_without_bends_a_field_is_a_linear_map():
    assert Field.over(PLACES, math.inf).unknowns == 4


@pytest.mark.parametrize("coefficients", [(0.0, -0.02, 0.02, 0.0), (0.01, 0.0, 0.0, -0.015)], ids=["turn", "stretch"])
def test_one_look_at_a_distorted_truth_leads_back_to_it(coefficients):
    """The object moved along, so that only what patterns see of the gradient tells."""
    simulated = made()
    problem = PtychographyProblem.of(simulated.scan)
    truth = replace(simulated.truth, positions_px=simulated.truth.positions_px)
    linear = torch.tensor(coefficients, dtype=torch.float64)
    places = Field.over(truth.positions_px, math.inf)
    wrong = distorted(truth, places, linear, torch.full((2,), 24.0, dtype=torch.float64))
    look = Distortion()
    found = refined(problem, wrong, [look])
    start, end = (_linear(x.positions_px, truth.positions_px) for x in (wrong, found))
    assert float((start - torch.eye(2)).norm()) > 0.015
    assert float((end - torch.eye(2)).norm()) < 0.35 * float((start - torch.eye(2)).norm())
    assert look.deviation is not None
    assert float(look.deviation.max()) < 1e-3


def test_few_photons_do_not_widen_a_scan_that_is_right():
    """Roots of counts would, by more than six standard deviations: looks compare counts, or roots with a photon added."""
    dim = ew.Detection(photons_per_frame=5e3)
    simulated = ew.simulate("grf", frame_px=48, frames=100, overlap=0.75, seed=2, detection=dim)
    found = []
    for problem in (PtychographyProblem.of(simulated.scan), PtychographyProblem.of(simulated.scan).unbiased()):
        look = Distortion()
        x = refined(problem, simulated.truth, [look])
        assert look.deviation is not None
        off = _linear(x.positions_px, simulated.truth.positions_px) - torch.eye(2)
        found.append(float((off.diagonal() / look.deviation[[0, 3]]).abs().max()))
    assert max(found) < 4


def test_a_rigid_look_only_turns():
    problem = PtychographyProblem.of(made().scan)
    wrong = replace(made().truth, positions_px=1.02 * made().truth.positions_px)
    turn = _linear(refined(problem, wrong, [Distortion(rigid=True)]).positions_px, wrong.positions_px)
    torch.testing.assert_close(turn @ turn.T, torch.eye(2, dtype=torch.float64), atol=2e-3, rtol=0)


def _linear(after, before):
    old, new = before - before.mean(dim=0), after - after.mean(dim=0)
    return torch.linalg.lstsq(old, new).solution.T
