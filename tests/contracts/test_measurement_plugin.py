"""A kind of measurement that stands in one file outside the package does all that the built-in kinds do."""

import importlib.util
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import exitwave as ew
from exitwave.problems.base import Problem
from exitwave.running.checkpoints import Checkpoints
from exitwave.solvers import registry
from scans import known_scan

ROOT = Path(__file__).parents[2]
PATH = ROOT / "examples" / "extending" / "measurement.py"


@pytest.fixture(scope="module")
def plugin() -> Iterator[ModuleType]:
    """The example as a module; other tests do not meet its solver."""
    spec = importlib.util.spec_from_file_location("holograms_of_a_plugin", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del registry._REGISTRY["distances"], sys.modules[spec.name]


@pytest.fixture(scope="module")
def made(plugin) -> tuple[Any, Any]:
    return plugin.simulated(frames=5)


def assert_same(one: ew.Estimate, other: ew.Estimate) -> None:
    assert type(one) is type(other)
    assert one.tensors().keys() == other.tensors().keys()
    assert all(torch.equal(value, other.tensors()[name]) for name, value in one.tensors().items())


def test_it_is_posed_and_solved(plugin, made):
    holograms, truth = made
    problem = ew.pose(holograms)
    assert isinstance(problem, Problem)
    assert isinstance(problem, plugin.HologramProblem)
    result = ew.reconstruct(holograms, plugin.Distances(epochs=20))
    assert isinstance(result.estimate, plugin.HologramEstimate)
    assert result.residual == pytest.approx(problem.residual(result.estimate))
    assert result.residual < 0.2 * problem.residual(problem.initial(None, ew.Setup()))
    assert result.object_pixel_m == (5e-7, 5e-7)
    assert len(result.frame_residual) == 5
    posed = ew.reconstruct(problem, plugin.Distances(epochs=20))
    assert_same(posed.estimate, result.estimate)
    last = list(ew.iterate(holograms, plugin.Distances(epochs=20)))[-1]
    assert_same(last.estimate, result.estimate)
    before = ew.evaluate(result, truth=truth).metrics["M-NRMSE"]
    further = ew.reconstruct(holograms, plugin.Distances(epochs=20), start=result.estimate)
    assert ew.evaluate(further, truth=truth).metrics["M-NRMSE"] < before


@pytest.mark.parametrize("how", ["alone", "chain", "ensemble"])
def test_a_run_goes_on_from_its_checkpoint_exactly(plugin, made, how, tmp_path):
    single = plugin.Distances(epochs=6)
    solver = {"alone": single, "chain": ew.chain(single, single), "ensemble": ew.ensemble(single, size=2)}[how]
    straight = ew.reconstruct(made[0], solver)
    place = Checkpoints(path=tmp_path / "run.ckpt", every=1, resume=True)

    def interrupt(step: ew.Step, problem: Problem) -> None:
        if step.epoch == 4:
            raise KeyboardInterrupt

    ew.reconstruct(made[0], solver, checkpoints=place, watch=interrupt)
    resumed = ew.reconstruct(made[0], solver, checkpoints=place)
    assert resumed.history == straight.history
    assert_same(resumed.estimate, straight.estimate)
    other, _ = plugin.simulated(frames=4)
    with pytest.raises(ew.InputError, match="saved for another"):
        ew.reconstruct(other, solver, checkpoints=place)


def test_its_result_is_written_and_read_bit_for_bit(plugin, made, tmp_path):
    result = ew.reconstruct(made[0], ew.ensemble(plugin.Distances(epochs=3), size=2))
    ew.write(result, tmp_path / "result.h5")
    read = ew.read_result(tmp_path / "result.h5")
    assert_same(read.estimate, result.estimate)
    assert torch.equal(read.spread.object, result.spread.object)
    assert torch.equal(read.frame_residual, result.frame_residual)
    assert (read.history, read.residual, read.spec) == (result.history, result.residual, result.spec)
    assert (read.geometry, read.object_pixel_m) == (result.geometry, result.object_pixel_m)
    assert ew.from_spec(read.spec) == ew.ensemble(plugin.Distances(epochs=3), size=2)
    assert_same(ew.read_estimate(tmp_path / "result.h5"), result.estimate)


def test_it_is_evaluated_and_reported(plugin, made, tmp_path):
    result = ew.reconstruct(made[0], ew.ensemble(plugin.Distances(epochs=20), size=2))
    judged = ew.evaluate(result, truth=made[1])
    assert 0 < judged.metrics["M-NRMSE"] < 0.5
    assert judged.alignment["removed"] == ["phase", "scale"]
    ew.report(result, tmp_path / "report.html", evaluation=judged)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert plugin.HologramEstimate.title in page
    assert "M-NRMSE" in page
    for ending in (".tiff", ".png", ".cxi"):
        ew.write(result, tmp_path / f"result{ending}")


def test_two_of_its_solvers_are_compared(plugin, made, tmp_path):
    found = ew.compare(
        made[0],
        {"short": plugin.Distances(epochs=3), "long": plugin.Distances(epochs=30), "rpie": "rpie"},
        truth=made[1],
        setup=ew.Setup(),
    )
    assert found["short"].remark == found["long"].remark == ""
    assert found.best("M-NRMSE") == "long"
    assert "rpie is for a ptychography scan, but this is a series of holograms; distances can" in found["rpie"].remark
    ew.report(found, tmp_path / "comparison.html")
    assert "long" in (tmp_path / "comparison.html").read_text("utf-8")


def test_a_chain_goes_on_from_one_to_the_next(plugin, made):
    both = ew.reconstruct(made[0], ew.chain(plugin.Distances(epochs=4), plugin.Distances(epochs=5)))
    first = ew.reconstruct(made[0], plugin.Distances(epochs=4))
    second = ew.reconstruct(made[0], plugin.Distances(epochs=5), start=first.estimate)
    assert_same(both.estimate, second.estimate)
    assert both.provenance["epochs"] == 9


def test_an_ensemble_is_brought_to_one_phase_and_averaged(plugin, made):
    class Turned(plugin.Distances):
        """Each seed ends with another global phase."""

        def solve(self, problem, start):
            for step in super().solve(problem, start):
                turned = step.estimate.with_images([step.estimate.object * 1j ** (problem.seed // 1000)])
                yield ew.Step(epoch=step.epoch, estimate=turned, residual=step.residual)

    member = plugin.Distances(epochs=10)
    straight = ew.reconstruct(made[0], ew.ensemble(member, size=3))
    assert straight.spread is not None
    assert 0 < float(straight.spread.object.abs().max()) < 1
    turned = ew.reconstruct(made[0], ew.ensemble(Turned(epochs=10), size=3))
    assert torch.allclose(turned.estimate.object, straight.estimate.object, atol=1e-5)
    alone = [
        ew.evaluate(ew.reconstruct(made[0], member, setup=ew.Setup(seed=seed)), truth=made[1])
        for seed in (0, 1000, 2000)
    ]
    mean = ew.evaluate(straight, truth=made[1]).metrics["M-NRMSE"]
    assert mean < max(each.metrics["M-NRMSE"] for each in alone)


def test_methods_of_other_kinds_and_its_own_are_refused_by_name(plugin, made):
    with pytest.raises(ew.InputError, match="rpie is for a ptychography scan, but this is a series of holograms"):
        ew.reconstruct(made[0], ew.RPIE())
    with pytest.raises(ew.InputError, match="hio is for one pattern"):
        ew.reconstruct(made[0], ew.chain(plugin.Distances(), ew.HIO()))
    with pytest.raises(ew.InputError, match=r"distances is for a series of holograms, but this is a ptychography scan"):
        ew.reconstruct(known_scan(side=4).scan, plugin.Distances())
    with pytest.raises(ew.InputError, match="rpie is for a ptychography scan"):
        ew.reconstruct(ew.pose(made[0]), ew.RPIE())
    refined = ew.refine(plugin.Distances(), ew.RefinementOptions(refine_positions=True))
    with pytest.raises(ew.InputError, match=r"refined \(positions\) is for a ptychography scan"):
        ew.reconstruct(made[0], refined)
    with pytest.raises(ew.InputError, match="leave out probe"):
        ew.reconstruct(made[0], plugin.Distances(), setup=ew.Setup(modes=2))
    with pytest.raises(ew.InputError, match="no halves"):
        ew.reconstruct_halves(made[0], plugin.Distances(), ew.reconstruct(made[0], plugin.Distances(epochs=1)))


def test_a_start_or_truth_of_another_kind_is_refused(plugin, made):
    scan = known_scan(side=4)
    with pytest.raises(ew.InputError, match="the start is an estimate of ptychography"):
        ew.reconstruct(made[0], plugin.Distances(), start=scan.truth)
    with pytest.raises(ew.InputError, match="an estimate of holograms cannot be compared with one of ptychography"):
        ew.evaluate(ew.reconstruct(made[0], plugin.Distances(epochs=1)), truth=scan.truth)


def test_a_file_of_a_kind_that_is_not_installed_says_so(plugin, made, tmp_path):
    import h5py

    ew.write(ew.reconstruct(made[0], plugin.Distances(epochs=1)), tmp_path / "result.h5")
    with h5py.File(tmp_path / "result.h5", "a") as file:
        file["entry_1/exitwave/estimate"].attrs["kind"] = "interferograms"
    with pytest.raises(ew.FormatError, match="kind interferograms, which is not installed"):
        ew.read_result(tmp_path / "result.h5")


def test_the_closed_form_that_it_is_built_on(plugin):
    holograms, truth = plugin.simulated(frames=3)
    problem = ew.pose(holograms)
    for frame in range(3):
        wave = problem.wave(truth.object, frame)
        assert float(wave.abs().square().sum()) == pytest.approx(float(truth.object.abs().square().sum()), rel=1e-4)
        assert torch.allclose(problem.wave(wave, frame, -1), truth.object, atol=1e-4)
    assert math.isfinite(problem.power)
