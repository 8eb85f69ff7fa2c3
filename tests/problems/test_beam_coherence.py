"""The partial coherence of a beam, fitted to frames, and the modes to begin with."""

from dataclasses import replace

import pytest
import torch

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.constraints import orthogonal_modes
from exitwave.problems.beam_coherence import beam_modes, wave_basis
from exitwave.problems.initial_guess import first_guess, with_modes
from exitwave.problems.mode_guess import LEAST
from exitwave.problems.ptychography import PtychographyProblem
from scans import known_scan


def shares(probe: torch.Tensor) -> torch.Tensor:
    powers = orthogonal_modes(probe).abs().square().sum(dim=(1, 2))
    return powers / powers.sum()


def of_one_mode(truth: PtychoEstimate) -> PtychoEstimate:
    """The truth, but with all photons in its first mode."""
    main = truth.probe[:1]
    return replace(truth, probe=main * (truth.probe.abs().square().sum() / main.abs().square().sum()).sqrt())


def test_the_basis_is_orthonormal_and_holds_the_main_mode():
    main = known_scan().truth.probe[0]
    basis = wave_basis(main).flatten(1)
    assert torch.allclose(basis.conj() @ basis.T, torch.eye(len(basis), dtype=torch.complex64), atol=1e-4)
    assert float((basis.conj() @ main.flatten()).abs()[0]) == pytest.approx(float(main.norm()), rel=1e-5)


@pytest.mark.parametrize("modes", [2, 3])
@pytest.mark.parametrize("whole", [True, False])
def test_coherence_is_exact_where_the_object_is_known(modes: int, whole: bool):
    made = known_scan(modes=modes, whole=whole)
    problem = PtychographyProblem.of(made.scan)
    found = beam_modes(problem, of_one_mode(made.truth), modes, torch.arange(len(problem)))
    assert torch.allclose(shares(found), shares(made.truth.probe), atol=0.01)
    assert problem.residual(replace(made.truth, probe=found)) < 1e-3


def test_a_coherent_beam_stays_coherent():
    made = known_scan()
    problem = PtychographyProblem.of(made.scan)
    assert float(shares(beam_modes(problem, made.truth, 2, torch.arange(len(problem))))[0]) > 0.99


def test_first_modes_are_near_the_true_shares_though_the_object_is_not_known():
    made = known_scan(modes=3, photons=1e6, side=8)
    problem = PtychographyProblem.of(made.scan)
    start = first_guess(problem, modes=3)
    assert torch.allclose(shares(start.probe), shares(made.truth.probe), atol=0.05)


def test_first_modes_have_the_photons_of_the_probe_and_some_each():
    made = known_scan()
    problem = PtychographyProblem.of(made.scan)
    one = first_guess(problem)
    several = with_modes(problem, one, 8)
    assert float(several.probe.abs().square().sum()) == pytest.approx(float(one.probe.abs().square().sum()), rel=1e-4)
    assert float(shares(several.probe).min()) > 0.8 * LEAST
    assert torch.equal(several.object, one.object)
    assert with_modes(problem, several, 2) is several
