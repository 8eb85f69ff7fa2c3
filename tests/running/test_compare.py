"""Several solvers on one scan: the same start, failures of one that leave the others alone, Ctrl-C, names."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch

from exitwave.data.errors import FormatError, InputError
from exitwave.evaluation.comparison import align_estimate
from exitwave.io.results import write_result
from exitwave.problems.setup import Setup
from exitwave.running.compare import Contestant, candidates, compare, with_epochs
from exitwave.running.reconstruct import reconstruct
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.chain import chain
from exitwave.solvers.ptychography.pie import EPIE, RPIE
from exitwave.solvers.spec import from_spec
from scans import known_scan


@pytest.fixture(scope="module")
def known():
    return known_scan(photons=1e6)


def behaving(act) -> Solver[Any]:
    """A solver that does `act(epoch)` before each of three steps, which repeat its start."""

    class Behaving(Solver[Any]):
        name: ClassVar[str] = "behaving"
        __dataclass_fields__: ClassVar[dict[str, Any]] = {}

        def solve(self, problem, start) -> Iterator[Step[Any]]:
            for epoch in range(1, 4):
                act(epoch)
                yield Step(epoch=epoch, estimate=start.estimate, residual=0.5)

    return Behaving()


def raising(error: BaseException, when: int = 1):
    def act(epoch: int) -> None:
        if epoch == when:
            raise error

    return act


def test_every_solver_gives_what_it_gives_alone_and_is_judged_by_the_same_figures(known):
    found = compare(
        known.scan,
        [RPIE(epochs=4), with_epochs(from_spec("epie"), 4)],
        truth=known.truth,
        setup=Setup(free_fraction=0.05, seed=2),
    )
    alone = reconstruct(known.scan, EPIE(epochs=4), setup=Setup(free_fraction=0.05, seed=2))
    assert [entry.name for entry in found.entries] == ["rpie", "epie"]
    assert torch.equal(found["epie"].result.estimate.object, alone.estimate.object)
    assert found["epie"].evaluation.metrics["free-residual"] == alone.free_residual
    for metric in ("residual", "free-residual", "M-NRMSE", "M-NRMSE-probe", "FRC-half-bit"):
        assert metric in found.metrics
    assert found.best("M-NRMSE") == min(("rpie", "epie"), key=lambda n: found[n].evaluation.metrics["M-NRMSE"])
    for entry in found.entries:
        assert len(entry.times_s) == len(entry.result.history) == entry.epochs == 4
        assert sorted(entry.times_s) == list(entry.times_s)
        assert 0 < entry.times_s[0] < entry.times_s[-1] == pytest.approx(entry.seconds)
    told = json.loads(json.dumps(found.to_json()))
    assert told["entries"]["rpie"]["metrics"]["residual"] == found["rpie"].result.residual


def test_a_solver_that_refuses_fails_or_diverges_gets_a_remark_and_the_others_still_run(known):
    wild = chain(RPIE(epochs=2), behaving(raising(ZeroDivisionError("deep inside"))))
    refusing = behaving(raising(InputError("wants another start")))
    found = compare(known.scan, {"wild": wild, "refusing": refusing, "good": RPIE(epochs=2)})
    assert found["wild"].result is None
    assert found["wild"].remark == "failed with ZeroDivisionError: deep inside"
    assert found["refusing"].remark == "wants another start"
    assert found["good"].result is not None
    assert found["good"].remark == ""
    assert not found.interrupted


def test_ctrl_c_keeps_what_there_is_and_runs_no_more(known):
    halted = behaving(raising(KeyboardInterrupt(), when=3))
    found = compare(known.scan, {"first": RPIE(epochs=2), "halted": halted, "never": RPIE(epochs=2)})
    assert found.interrupted
    assert [entry.name for entry in found.entries] == ["first", "halted"]
    assert found["halted"].remark == "interrupted after epoch 2"
    at_once = compare(
        known.scan, {"at once": behaving(raising(KeyboardInterrupt()))}, watch=raising(KeyboardInterrupt())
    )
    assert at_once.interrupted


def test_halves_of_the_frames_are_compared_only_when_asked_for(known):
    found = compare(known.scan, [RPIE(epochs=2)], split_half=True)
    assert "FRC-half-bit-split" in found.metrics
    assert "FRC-half-bit-split" not in compare(known.scan, [RPIE(epochs=2)]).metrics


def test_files_with_solvers_and_results_take_part(known, tmp_path):
    result = reconstruct(known.scan, RPIE(epochs=2))
    write_result(tmp_path / "old.h5", result)
    (tmp_path / "job.yaml").write_text("scan: other.cxi\nsolver: {name: rpie, alpha: 0.3}\noutput: out.h5\n")
    (tmp_path / "spec.yml").write_text("- {name: rpie, epochs: 1}\n- {name: epie, epochs: 1}\n")
    chosen = candidates([tmp_path / "old.h5", str(tmp_path / "job.yaml"), tmp_path / "spec.yml"])
    found = compare(known.scan, {name: with_epochs(each, 3) for name, each in chosen})
    assert torch.equal(found["old"].result.estimate.object, result.estimate.object)
    assert found["old"].times_s == ()
    assert found["job"].result.spec["alpha"] == 0.3
    assert found["job"].epochs == 3
    assert [stage["name"] for stage in found["spec"].result.spec["stages"]] == ["rpie", "epie"]


def test_what_a_job_wants_refined_or_kept_takes_part_too(known, tmp_path):
    (tmp_path / "job.yaml").write_text("solver: {name: rpie, epochs: 7}\nrefine_positions: true\nmax_amplitude: 1.1\n")
    (tmp_path / "alone.yaml").write_text("{name: refined, solver: {name: rpie}, refine_brightness: true}")
    (name, job), (_, alone) = candidates([tmp_path / "job.yaml", tmp_path / "alone.yaml"])
    assert name == "job"
    assert (job.name, job.solver, job.refine_positions, job.max_amplitude) == ("refined", RPIE(epochs=7), True, 1.1)
    assert (alone.name, alone.solver, alone.refine_brightness) == ("refined", RPIE(), True)
    found = compare(known.scan, {"job": with_epochs(job, 2)})["job"]
    assert found.epochs == 2
    assert float(found.result.estimate.object.abs().max()) < 1.1 + 1e-6
    (tmp_path / "job.yaml").write_text("solver: rpie\nmax_amplitude: -1")
    with pytest.raises(InputError, match="max_amplitude"):
        candidates([tmp_path / "job.yaml"])


def test_a_contestant_and_a_job_take_part_with_their_own_modes(known, tmp_path):
    (tmp_path / "job.yaml").write_text("solver: {name: rpie, epochs: 2}\nmodes: 3\n")
    two = Contestant(solver=RPIE(epochs=2), setup=Setup(modes=2, seed=5), own=("modes",))
    found = compare(known.scan, {"two": two, "job": tmp_path / "job.yaml", "one": RPIE(epochs=2)}, setup=Setup(seed=1))
    assert [len(entry.result.estimate.probe) for entry in found.entries] == [2, 3, 1]
    # What is not its own is that of all.
    assert {entry.result.provenance["seed"] for entry in found.entries} == {1}
    with pytest.raises(InputError, match="drop_frames must be the same for all"):
        Contestant(solver=RPIE(), setup=Setup(drop_frames="1"), own=("drop_frames",))


def test_solvers_of_one_name_are_told_apart_by_their_options():
    names = [name for name, _ in candidates([RPIE(alpha=0.1), "rpie", RPIE(alpha=0.1), {"name": "epie"}])]
    assert names == ["rpie (alpha 0.1)", "rpie (alpha 0.05)", "rpie (alpha 0.1) #2", "epie"]
    assert len({name for name, _ in candidates(["epie"] * 12)}) == 12


def test_what_is_no_solver_is_refused_before_anything_runs(known, tmp_path):
    with pytest.raises(
        InputError, match=r"rpi is neither a solver nor a file \(did you mean rpie\?\); solvers are .*rpie"
    ):
        compare(known.scan, ["rpie", "rpi"])
    with pytest.raises(FormatError, match="does not exist"):
        compare(known.scan, [tmp_path / "job.yaml"])
    (tmp_path / "bad.yaml").write_text("solver: {name: rpie, alhpa: 1}")
    with pytest.raises(InputError, match="alhpa"):
        compare(known.scan, [tmp_path / "bad.yaml"])
    with pytest.raises(InputError, match="at least one solver"):
        compare(known.scan, [])
    fewer = replace(known.truth, positions_px=known.truth.positions_px[:-1])
    with pytest.raises(InputError, match=r"the truth is of 48 frames .* has 49"):
        compare(known.scan, ["rpie"], truth=fewer)


def test_an_estimate_in_another_gauge_is_laid_onto_the_truth_exactly(known):
    truth = known.truth
    rows, columns = (torch.arange(n, dtype=torch.float64) - n // 2 for n in truth.object.shape[1:])
    ramp = torch.exp(1j * (0.03 * rows[:, None] - 0.02 * columns[None, :])).to(torch.complex64)
    y, x = (torch.arange(n, dtype=torch.float64) - n // 2 for n in truth.probe.shape[1:])
    opposite = torch.exp(-1j * (0.03 * y[:, None] - 0.02 * x[None, :])).to(torch.complex64)
    grown = torch.nn.functional.pad(truth.object * ramp * 2j, (5, 0, 3, 0))
    moved = replace(
        truth,
        object=grown,
        probe=truth.probe * opposite / 2,
        positions_px=truth.positions_px + torch.tensor([3.0, 5.0]),
    )
    laid = align_estimate(moved, truth)
    inside = (slice(20, -20), slice(20, -20))
    assert laid.object.shape == truth.object.shape[1:]
    assert torch.allclose(laid.object[inside].to(torch.complex64), truth.object[0][inside], atol=2e-3)
    assert float((laid.probe - truth.probe[0]).abs().max()) < 5e-3 * float(truth.probe.abs().max())
