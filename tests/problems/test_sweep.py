"""The sums over frames are the gradient of the misfit, however the work is shared."""

from dataclasses import replace

import pytest
import torch

from exitwave.data.estimate import PtychoEstimate
from exitwave.physics.ptychography import Ptychography
from exitwave.problems.initial_guess import first_guess
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.sweep import Sweep
from exitwave.problems.threads import Schedule
from scans import known_scan


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def made(kind: str) -> tuple[PtychographyProblem, PtychoEstimate]:
    scan = known_scan(side=4, frame=24, step=5.0, whole=kind == "whole", modes=2).scan
    problem = PtychographyProblem.of(scan)
    x = first_guess(problem, modes=2 if kind == "modes" else 1)
    x = replace(x, object=x.object + 0.2 * random(*x.object.shape, seed=1))
    frames = len(problem)
    if kind == "slices":
        x = replace(
            x,
            object=torch.cat([x.object, x.object.roll(3, dims=-1)]),
            slice_spacing_m=torch.tensor([2e-6], dtype=torch.float64),
        )
    if kind == "variations":
        x = replace(x, variations=10 * random(2, 24, 24, seed=2), weights=0.3 * random(frames, 2, seed=3))
    if kind == "brightness":
        x = replace(x, brightness=1 + 0.1 * random(frames, seed=4).real)
    if kind == "background":
        x = replace(x, background=torch.rand(24, 24, generator=torch.Generator().manual_seed(5)) * 50)
    if kind == "exposure":
        way = torch.tensor([[[0.0, -1.0], [0.0, 0.0], [0.3, 1.0]]], dtype=torch.float64).expand(frames, -1, -1)
        problem = replace(problem, model=Ptychography.of(scan.geometry, scan.frame_shape, exposure_px=way))
    return problem, x


KINDS = ("whole", "subpixel", "modes", "slices", "variations", "brightness", "background", "exposure")


def misfit(problem: PtychographyProblem, x: PtychoEstimate) -> torch.Tensor:
    frames = torch.arange(len(problem))
    deviation = (problem.model.intensity(x, frames) + 1e-12).sqrt() - problem.amplitudes(frames)
    return (deviation.square() * problem.trusted).sum()


@pytest.fixture
def exact_shifts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sub-pixel shifts as the differentiable model has them, not interpolated."""
    monkeypatch.setattr("exitwave.problems.probe_shifts.LARGEST_ERROR", 0.0)


@pytest.mark.usefixtures("exact_shifts")
@pytest.mark.parametrize("kind", KINDS)
def test_sums_are_the_steepest_descent_direction(kind):
    problem, x = made(kind)
    sums = Sweep(problem, x).everything()
    free = replace(x, object=x.object.clone().requires_grad_(), probe=x.probe.clone().requires_grad_())
    loss = misfit(problem, free)
    loss.backward()
    assert sums.misfit == pytest.approx(float(loss.detach()), rel=1e-4)
    for found, leaf in ((sums.object_descent, free.object), (sums.probe_descent, free.probe)):
        assert leaf.grad is not None
        assert float((found + leaf.grad / 2).abs().max()) < 1e-4 * float(found.abs().max())


@pytest.mark.parametrize("kind", KINDS)
def test_collect_is_the_adjoint_of_probes(kind):
    problem, x = made(kind)
    frames = torch.tensor([3, 1, 7])
    flat = replace(x, variations=None, weights=None)
    probes = problem.model.probes(flat, frames).expand(3, -1, -1, -1)
    others = random(*probes.shape, seed=9)
    back = problem.model.probes_adjoint(flat, frames, others)
    assert torch.allclose(
        torch.vdot(probes.flatten(), others.flatten()), torch.vdot(flat.probe.flatten(), back.flatten()), rtol=1e-4
    )


@pytest.mark.parametrize("kind", ["whole", "subpixel", "slices"])
@pytest.mark.parametrize("few", [True, False])
def test_two_threads_sum_as_one_does(kind, few, monkeypatch):
    problem, x = made(kind)
    frames = torch.tensor([5, 2, 9, 0]) if few else torch.arange(len(problem))
    alone = Sweep(problem, x)
    monkeypatch.setattr(alone, "_schedule", lambda frames: Schedule(1, frames))
    one = alone.over(frames)
    together = Sweep(problem, x)
    monkeypatch.setattr(together, "_schedule", lambda frames: Schedule(3, frames))
    other = together.over(frames)
    for a, b in (
        (one.object_descent, other.object_descent),
        (one.illumination, other.illumination),
        (one.probe_descent, other.probe_descent),
        (one.probe_weight, other.probe_weight),
    ):
        assert float((a - b).abs().max()) < 1e-5 * float(a.abs().max())
    assert other.misfit == pytest.approx(one.misfit, rel=1e-6)
    assert (
        other.max_illumination
        == pytest.approx(one.max_illumination, rel=1e-5)
        == pytest.approx(float(one.illumination.max()), rel=1e-5)
    )
    assert all(float(worker.sums.illumination.max()) == 0 for worker in together._workers[1:])


def test_an_error_in_another_thread_surfaces():
    from exitwave.problems.threads import run_in_threads

    def work(part: int) -> int:
        if part:
            raise ValueError("frame 7 cannot be read")
        return part

    with pytest.raises(ValueError, match="frame 7"):
        run_in_threads(work, 2)
