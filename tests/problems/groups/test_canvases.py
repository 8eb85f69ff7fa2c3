import math
from dataclasses import replace

import pytest
import torch

from exitwave.problems.groups.canvases import Canvases
from exitwave.problems.groups.conjugate_gradients import ConjugateGradients
from exitwave.problems.groups.neighbours import neighbour_groups
from exitwave.problems.groups.sensitivity import Sensitivity
from exitwave.problems.ptychography import PtychographyProblem
from scans import Known, known_scan


def posed(known: Known, size: int = 9) -> tuple[PtychographyProblem, torch.Tensor]:
    problem = PtychographyProblem.of(known.scan)
    return problem, neighbour_groups(known.truth.positions_px, size)


def canvases(problem: PtychographyProblem, known: Known, groups: torch.Tensor) -> Canvases:
    amplitudes = problem.amplitudes(groups.flatten())
    return Canvases.of(problem.model, problem.trusted, known.truth, groups, amplitudes)


def cut(made: Canvases, obj: torch.Tensor) -> torch.Tensor:
    height, width = made.illumination.shape[1:]
    return torch.stack([obj[row : row + height, column : column + width] for row, column in made.origins.tolist()])


def misfit(made: Canvases, images: torch.Tensor) -> torch.Tensor:
    modulus, _ = made.pull(made.at_detector(images))
    return made.per_group((modulus - made.amplitudes).square())


@pytest.mark.parametrize(("whole", "modes"), [(True, 1), (False, 2)])
def test_truth_on_canvases_gives_the_measured_patterns(whole, modes):
    known = known_scan(side=5, whole=whole, modes=modes)
    problem, groups = posed(known)
    made = canvases(problem, known, groups)
    assert float(misfit(made, cut(made, known.truth.object[0])).sum()) < 1e-5 * problem.power


@pytest.mark.parametrize("whole", [True, False])
def test_adjoint(whole):
    known = known_scan(side=5, whole=whole)
    problem, groups = posed(known)
    made = canvases(problem, known, groups)
    images = torch.randn(made.illumination.shape, dtype=torch.complex64)
    waves = torch.randn(len(made.amplitudes), 1, 32, 32, dtype=torch.complex64)
    one = torch.vdot(made.at_detector(images).flatten(), waves.flatten())
    other = torch.vdot(images.flatten(), made.adjoint(waves).flatten())
    assert one.item() == pytest.approx(other.item(), rel=1e-4)


def test_descent_stays_at_the_truth():
    known = known_scan(side=5)
    problem, groups = posed(known)
    made = canvases(problem, known, groups)
    images = cut(made, known.truth.object[0])
    found = ConjugateGradients(made, images, Sensitivity.of(made), images).advance(5)
    weight = made.illumination / made.illumination.max()
    assert float((weight * (found - images).abs()).max()) < 2e-3


def test_misfit_of_every_group_falls_a_thousandfold():
    known = known_scan(side=6, step=4)
    problem, groups = posed(known)
    made = canvases(problem, known, groups)
    flat = torch.ones(made.illumination.shape, dtype=torch.complex64)
    found = ConjugateGradients(made, flat, Sensitivity.of(made), flat).advance(40)
    assert float((misfit(made, found) / misfit(made, flat)).max()) < 1e-3


def test_groups_solved_together_do_not_know_of_each_other():
    known = known_scan(side=6, step=4, jitter=0)
    problem, groups = posed(known)
    sensitivity = Sensitivity.of(canvases(problem, known, groups[:1]))

    def solved(some: torch.Tensor) -> torch.Tensor:
        made = canvases(problem, known, some)
        flat = torch.ones(made.illumination.shape, dtype=torch.complex64)
        return ConjugateGradients(made, flat, sensitivity, flat).advance(6)

    together, alone = solved(groups[:2]), solved(groups[1:2])
    assert together.shape[1:] == alone.shape[1:]
    assert float((together[1] - alone[0]).abs().max()) < 1e-3


def test_a_curved_probe_shows_phase_as_in_line_holography_does():
    known = known_scan(frame=64, side=2, step=4, whole=True)
    axis = torch.arange(64) - 32
    squared = (axis[:, None] ** 2 + axis[None, :] ** 2).float()
    probe = torch.polar(torch.exp(-((squared / 24**2) ** 4)) * 100, 0.06 * squared)[None]
    known = replace(known, truth=replace(known.truth, probe=probe))
    problem, groups = posed(known, 4)
    measured = Sensitivity.of(canvases(problem, known, groups))
    for frequency, share in zip(measured.frequency, measured.share, strict=True):
        if 0.02 < frequency < 0.1:
            # Phase 0.06 r^2 is free space of wavelength x distance = pi / 0.06 square pixels.
            assert share == pytest.approx(math.sin(math.pi * math.pi / 0.06 * frequency**2) ** 2, abs=0.12)
    assert measured.share[0] < 1e-3


def test_few_photons_do_not_make_up_a_phase():
    known = known_scan(side=4, step=4, photons=200)
    problem, groups = posed(known, 16)
    made = canvases(problem, known, groups)
    flat = torch.ones(made.illumination.shape, dtype=torch.complex64)
    found = ConjugateGradients(made, flat, Sensitivity.of(made), flat).advance(60)
    dim = made.illumination < 0.05
    assert float((found - flat).abs()[dim].max()) < 0.5


@pytest.mark.parametrize(("whole", "modes"), [(True, 1), (True, 2), (False, 1)])
def test_steps_in_fused_chunks_are_those_that_are_differentiated(whole, modes, monkeypatch):
    monkeypatch.setattr("exitwave.problems.threads.CHUNK_PIXELS", 5 * 32 * 32)
    known = known_scan(side=5, whole=whole, modes=modes, photons=1e4)
    problem, groups = posed(known, 4)
    behind = 3 * torch.rand(32, 32, generator=torch.Generator().manual_seed(2))
    made = replace(canvases(problem, known, groups), background=behind, trusted=(behind > 0.3).float())
    noise = torch.randn(made.illumination.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(3))
    images = 1 + 0.2 * noise
    wanted = made.gradient_step(images.clone().requires_grad_()).detach()
    assert torch.allclose(made.gradient_step(images), wanted, atol=1e-5 * float(wanted.abs().max()))
    flat = torch.ones_like(images)
    first = flat + made.gradient_step(flat.clone().requires_grad_()).detach()
    assert torch.allclose(made.back_projection(), first, atol=1e-5)
