"""AutoPhaseNN: one pass gives a crystal with its support, wherever the pattern lies; trained, gone on with, fine-tuned, refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import exitwave as ew
from exitwave.data.estimate import BraggEstimate
from exitwave.data.patterns import ArrayPatterns
from exitwave.evaluation.cdi_alignment import register_twin
from exitwave.io.weights import read_record, read_weights
from exitwave.networks.crystal_networks import SlimCrystalNet
from exitwave.running.train import TrainingRun, train
from exitwave.simulation.rocking_curve import simulate_crystal
from exitwave.simulation.rocking_experiment import RockingExperiment
from exitwave.solvers.neural.crystal_data import MadeCrystals, MeasuredCrystals
from exitwave.solvers.neural.crystal_grid import gridded
from exitwave.solvers.neural.crystal_losses import LOSSES, crystals_of, fit
from exitwave.solvers.neural.crystal_views import seen_by_network
from exitwave.solvers.spec import from_spec, to_spec
from exitwave.training.collapse import variation
from exitwave.training.log import read_log
from scans import known_scan

TINY = ew.AutoPhaseNN(grid_px=16, width=0.5, epochs=2, samples_per_epoch=32, batch=8, averaging=0.0)
AS_IS = TrainingRun(as_is=True)


def simulated(*, frame_px=32, angles=32, oversampling=3.0, photons=1e6, seed=3, span=1.0):
    return simulate_crystal(
        RockingExperiment(angles=angles, oversampling=oversampling, phase_span_rad=span),
        frame_px=frame_px,
        detection=ew.Detection(photons_per_frame=photons),
        seed=seed,
    )


def begun(curve):
    problem = ew.pose(curve, ew.Setup(device="cpu"))
    return problem, ew.Step(epoch=0, estimate=problem.initial(None, ew.Setup()))


def found(solver, curve):
    problem, start = begun(curve)
    *_, last = solver.solve(problem, start)
    return problem, last


def test_the_network_of_the_package_gives_a_crystal_and_its_support_in_one_pass() -> None:
    made = simulated()
    problem, start = begun(made.scan)
    kept = start.estimate.clone()
    (step,), (again,) = (list(ew.AutoPhaseNN().solve(problem, start)) for _ in range(2))
    assert isinstance(step.estimate, BraggEstimate)
    assert torch.equal(step.estimate.object, again.estimate.object)
    assert torch.equal(start.estimate.object, kept.object)
    assert step.residual == pytest.approx(problem.residual(step.estimate))
    assert step.residual < 0.15
    assert register_twin(step.estimate.object, made.truth.object).correlation > 0.7
    assert 0.5 < int(step.estimate.support.sum()) / int(made.truth.support.sum()) < 2
    assert not bool(step.estimate.object[~step.estimate.support].any())
    assert list(ew.AutoPhaseNN().solve(problem, step)) == []


def test_more_orientations_fit_at_least_as_well() -> None:
    curve = simulated(seed=5).scan
    one, many = (found(ew.AutoPhaseNN(orientations=count), curve)[1].residual for count in (1, 12))
    assert many <= one * 1.001


def test_error_reduction_goes_on_from_it() -> None:
    curve = simulated(seed=4).scan
    _, alone = found(ew.AutoPhaseNN(), curve)
    both = ew.reconstruct(curve, ew.chain(ew.AutoPhaseNN(), ew.ER(epochs=50, shrink_every=0)))
    assert both.residual < 0.5 * alone.residual
    assert torch.equal(both.estimate.support, alone.estimate.support)


def test_a_pattern_of_another_size_and_a_peak_elsewhere_are_brought_to_the_network() -> None:
    made = simulated(frame_px=56, angles=48, oversampling=6.5)
    curve = replace(made.scan, patterns=ArrayPatterns(made.scan.frames(slice(None)).roll((2, -3, 4), (0, 1, 2))))
    problem, step = found(ew.AutoPhaseNN(), curve)
    assert step.estimate.object.shape == (48, 56, 56)
    assert step.residual < 0.08
    *_, refined = ew.ER(epochs=50, shrink_every=0).solve(problem, replace(step, epoch=0, state={}))
    assert problem.residual(refined.estimate) < min(0.02, 0.6 * step.residual)
    ramp = torch.fft.fftshift(torch.fft.fftn(made.truth.object)).roll((2, -3, 4), (0, 1, 2))
    moved = torch.fft.ifftn(torch.fft.ifftshift(ramp))
    assert register_twin(step.estimate.object, moved).correlation > 0.5
    (doubt,) = ew.AutoPhaseNN().warnings(problem, step.estimate)
    assert "resampled, because crystals was trained on 2.5 to 4" in doubt


def test_voxels_held_out_are_not_looked_at_and_a_stated_support_is_not_left() -> None:
    curve = simulated().scan
    problem = ew.pose(curve, ew.Setup(device="cpu", free_fraction=0.05, support="circle:4"))
    spoilt = replace(problem, amplitudes=torch.where(problem.held_out, 1e4, problem.amplitudes))
    start = ew.Step(epoch=0, estimate=problem.initial(None, ew.Setup()))
    one, other = (next(ew.AutoPhaseNN(orientations=1).solve(posed, start)).estimate for posed in (problem, spoilt))
    assert torch.equal(one.object, other.object)
    assert not bool((one.support & ~problem.first_support).any())


def test_photons_far_from_those_trained_on_are_doubted() -> None:
    problem, start = begun(simulated(photons=2.5e3).scan)
    assert (
        "photons, but crystals was trained on 3e+05 to 1e+08" in ew.AutoPhaseNN().warnings(problem, start.estimate)[0]
    )
    problem, start = begun(simulated().scan)
    assert ew.AutoPhaseNN().warnings(problem, start.estimate) == ()


def test_made_crystals_come_by_number_never_twice_and_judges_stay_the_same() -> None:
    made = MadeCrystals(
        grid_px=16,
        settings=ew.CrystalSettings(oversampling=(2.5, 4.0)),
        photons=(1e5, 1e6),
        samples_per_epoch=8,
        seed=1,
    )
    samples = torch.arange(8)
    one, again, later = (
        made.amplitudes(samples, held_out=False, seed=s) for s in ((1, 2, 3, 0), (1, 2, 3, 0), (1, 2, 4, 0))
    )
    assert torch.equal(one, again)
    assert variation(torch.cat([one, later])) > 0.1
    assert not bool((one == later).flatten(1).all(dim=1).any())
    judges = [made.amplitudes(samples, held_out=True, seed=(1, epoch, 0, 0)) for epoch in (0, 3)]
    assert torch.equal(*judges)
    totals = one.square().sum(dim=(1, 2, 3))
    assert 0.9e5 < float(totals.min()) < float(totals.max()) < 1.1e6


def test_guises_of_a_measured_pattern_are_turned_and_have_fewer_whole_photons(tmp_path: Path) -> None:
    data = ew.AutoPhaseNN(grid_px=32).training_data([simulated().scan], _Posing(), 0)
    assert isinstance(data, MeasuredCrystals)
    known = data.patterns[0].amplitudes.square()
    drawn = data.amplitudes(torch.arange(6), held_out=False, seed=(0, 1, 0, 0)).square()
    for each in drawn:
        assert 0.25 < float(each.sum() / known.sum()) <= 1
        assert torch.allclose(each, each.round(), atol=1e-2)
        assert not torch.equal(each, drawn[0]) or each is not drawn[1]
    judge = data.amplitudes(torch.arange(1), held_out=True, seed=(0, 1, 0, 0))
    assert torch.equal(judge[0], data.patterns[0].amplitudes)


def test_samples_chosen_evenly_are_of_all_measured_patterns() -> None:
    curves = [simulated(seed=seed).scan for seed in (1, 2)]
    data = ew.AutoPhaseNN(grid_px=32, samples_per_epoch=64).training_data(curves, _Posing(), 0)
    shown = data.amplitudes(torch.arange(0, 64, 16), held_out=False, seed=(0, 0, 0, 0))
    assert variation(shown) > 1e-3
    judges = data.amplitudes(torch.arange(2), held_out=True, seed=(0, 1, 0, 0))
    assert torch.equal(shown[[0, 3]], judges)


class _Posing:
    def pose(self, measurement):
        return begun(measurement)[0]

    def begin(self, problem, probe):
        return problem.initial(None, ew.Setup())


def test_a_tiny_network_learns_the_pattern_of_one_crystal() -> None:
    problem, _ = begun(simulated(frame_px=16, angles=16).scan)
    pattern = torch.stack([gridded(problem, 16, (2.5, 4.0)).amplitudes])
    network, seen = SlimCrystalNet(features=5, grid_px=16, channels=(8, 16, 32)), seen_by_network(pattern)
    steps, chi2 = torch.optim.Adam(network.parameters(), lr=1e-3), [0.0]
    for _ in range(120):
        found = fit(crystals_of(network(seen), 0.1), pattern)
        steps.zero_grad()
        LOSSES["rms"](found).mean().backward()
        steps.step()
        chi2.append(float(found.chi2.detach()))
    assert chi2[-1] < 0.25 * chi2[1]


def test_training_on_a_measured_crystal_lowers_its_residual(tmp_path: Path) -> None:
    curve = simulated(frame_px=16, angles=16).scan
    solver = replace(TINY, epochs=4, samples_per_epoch=32, learning_rate=3e-3)
    trained = train(solver, [curve], save=tmp_path, run=AS_IS)
    losses = [entry["held_out_loss"] for entry in read_log(tmp_path)]
    assert losses[-1] < losses[0]
    problem, step = found(trained, curve)
    # The loss is the root of the residual.
    assert problem.residual(step.estimate) < 1.1 * losses[-1] ** 2


def test_a_training_that_goes_on_gives_the_same_bits(tmp_path: Path) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    train(TINY, [], save=straight)
    seen: list[int] = []

    def interrupt(taught: ew.TrainingProgress) -> None:
        seen.append(taught.progress.step)
        if len(seen) == 3:
            raise KeyboardInterrupt

    train(TINY, [], save=broken, watch=interrupt)
    assert str(read_record(broken)["ending"]).startswith("interrupted")
    train(TINY, [], save=broken, run=TrainingRun(resume=True))
    one, other = (read_weights(folder).tensors for folder in (straight, broken))
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    with pytest.raises(ew.InputError, match="another seed"):
        train(TINY, [], save=broken, run=TrainingRun(resume=True, seed=4))
    with pytest.raises(ew.InputError, match="another rocking curve"):
        train(TINY, [simulated(frame_px=16, angles=16).scan], save=broken, run=TrainingRun(resume=True, as_is=True))


def test_trained_weights_are_known_by_their_folder_and_trained_further(tmp_path: Path) -> None:
    first = train(TINY, [], save=tmp_path / "first")
    assert from_spec(to_spec(first)) == first == from_spec(str(tmp_path / "first"))
    curve = simulated(frame_px=16, angles=16).scan
    further = train(replace(first, learning_rate=1e-4), [curve], save=tmp_path / "second", run=AS_IS)
    before, after = (read_weights(folder).tensors for folder in (tmp_path / "first", tmp_path / "second"))
    away = max(float((after[name] - value).abs().max()) for name, value in before.items())
    assert 0 < away < 5e-3
    assert len(list(further.solve(*begun(curve)))) == 1


def test_the_published_network_trains_and_predicts(tmp_path: Path) -> None:
    solver = replace(TINY, network="published", width=0.0625, epochs=1, samples_per_epoch=16)
    trained = train(solver, [], save=tmp_path)
    _, step = found(trained, simulated(frame_px=16, angles=16).scan)
    assert bool(step.estimate.support.any())


def test_wrong_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ew.InputError, match=r"learns from rocking curves; one of them is Scan|is for the rocking curve"
    ):
        train(TINY, [known_scan(side=4).scan], save=tmp_path / "never")
    with pytest.raises(ew.InputError, match=r"crystals was trained with grid_px 32 \(here 64\)"):
        found(ew.AutoPhaseNN(grid_px=64), simulated().scan)
    with pytest.raises(ew.InputError, match="holds a trained ptychopinn, not autophasenn"):
        found(replace(ew.AutoPhaseNN(), weights="general"), simulated().scan)
    with pytest.raises(ew.InputError, match="is for the rocking curve of a crystal, but this is"):
        ew.reconstruct(known_scan(side=4).scan, ew.AutoPhaseNN())
