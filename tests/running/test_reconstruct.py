"""The driver: early stop, halves, orientation ranking, divergence, in-memory and streamed frames alike."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch

import exitwave as ew
from exitwave.data import prepare
from exitwave.data.errors import ExitwaveError, InputError
from exitwave.problems.initial_guess import first_guess
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.setup import Setup
from exitwave.running.checkpoints import CheckpointFile, Checkpoints
from exitwave.running.divergence import advice
from exitwave.running.pose import choose_device
from exitwave.running.reconstruct import iterate, reconstruct
from exitwave.running.split_half import halves, reconstruct_halves
from exitwave.running.stopping import Stop
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.chain import chain
from exitwave.solvers.ensemble import ensemble
from exitwave.solvers.ptychography.pie import EPIE, MPIE, RPIE
from exitwave.solvers.refined import Refined
from scans import known_scan, object_error


@pytest.fixture(scope="module")
def known():
    return known_scan(frame=48, side=9, step=7.0, photons=1e6)


def test_the_result_says_how_it_was_made_and_how_well_it_fits(known):
    result = reconstruct(known.scan, RPIE(epochs=5), setup=Setup(seed=3, free_fraction=0.05))
    assert result.spec["name"] == "rpie"
    assert len(result.history) == 5
    assert result.frame_residual is not None
    assert result.frame_residual.shape == (81,)
    assert 0 < result.residual < result.history[0]
    assert result.free_residual is not None
    assert result.provenance["seed"] == 3
    assert result.provenance["ending"] == "finished"


def test_same_seed_same_image(known):
    one, again = (reconstruct(known.scan, RPIE(epochs=3), setup=Setup(seed=5)).estimate for _ in range(2))
    assert torch.equal(one.object, again.object)
    assert torch.equal(one.probe, again.probe)


def test_iterate_streams_what_reconstruct_returns(known):
    *_, last = iterate(known.scan, RPIE(epochs=3), setup=Setup(seed=5))
    whole = reconstruct(known.scan, RPIE(epochs=3), setup=Setup(seed=5)).estimate
    # Results have a scale in common, which no pattern tells.
    scale = whole.object[0, 0, 0]
    torch.testing.assert_close(last.estimate.object * scale, whole.object)
    torch.testing.assert_close(last.estimate.probe / scale, whole.probe)


def test_a_run_stops_at_the_residual_asked_for(known):
    third = reconstruct(known.scan, RPIE(epochs=3)).history[2]
    result = reconstruct(known.scan, RPIE(epochs=50), stop=Stop(residual=third))
    assert len(result.history) == 3
    assert "stopped early" in result.provenance["ending"]


def test_patience_ends_a_run_that_no_longer_improves():
    assert Stop(patience=3).reached([1.0, 0.5, 0.5, 0.5, 0.5])
    assert not Stop(patience=3).reached([1.0, 0.5, 0.5, 0.5])
    assert not Stop(patience=2).reached([1.0, 0.9, 0.8, 0.7])
    assert not Stop().reached([1.0] * 100)


def test_halves_share_no_frame_and_together_are_all(known):
    first, second = halves(known.scan, seed=1)
    assert torch.equal(torch.cat([first, second]).sort().values, torch.arange(81))


def test_two_halves_agree_though_they_saw_different_frames(known):
    result = reconstruct(known.scan, MPIE(epochs=40))
    first, second = reconstruct_halves(known.scan, MPIE(epochs=40), result)
    assert first.estimate.object.shape == second.estimate.object.shape == result.estimate.object.shape
    assert len(first.estimate.positions_px) + len(second.estimate.positions_px) == 81
    from exitwave.evaluation.ptychography import compare_halves

    assert compare_halves(first.estimate, second.estimate).metrics["FRC-half-bit-split"] > 0.5


def test_halves_take_files_and_names_as_reconstruct_does(known, tmp_path):
    result = reconstruct(known.scan, RPIE(epochs=2))
    ew.write(known.scan, tmp_path / "scan.cxi")
    ew.write(result, tmp_path / "out.h5")
    given = reconstruct_halves(known.scan, RPIE(epochs=2), result, probe=result, progress=False)
    named = reconstruct_halves(
        str(tmp_path / "scan.cxi"),
        {"name": "rpie", "epochs": 2},
        tmp_path / "out.h5",
        probe=tmp_path / "out.h5",
        progress=False,
    )
    for one, other in zip(given, named, strict=True):
        assert one.spec == other.spec
        assert torch.allclose(one.estimate.object, other.estimate.object, atol=1e-3)
    with pytest.raises(InputError, match=r"setup=ew.Setup\(seed=3\)"):
        reconstruct_halves(known.scan, "rpie", result, seed=3)  # pyright: ignore
    with pytest.raises(InputError, match="is no measurement"):
        reconstruct_halves(result, "rpie", known.scan)  # pyright: ignore


def test_starting_from_an_earlier_result_goes_on_from_it(known):
    first = reconstruct(known.scan, RPIE(epochs=20))
    more = reconstruct(known.scan, RPIE(epochs=1), start=first.estimate)
    assert more.history[0] < 0.2 * first.history[0]


def test_a_start_of_other_frames_is_refused(known):
    first = reconstruct(known.scan, RPIE(epochs=1))
    with pytest.raises(InputError, match="81 frames but the scan has 40"):
        reconstruct(prepare.select(known.scan, slice(0, 40)), RPIE(epochs=1), start=first.estimate)


def test_a_start_whose_refined_positions_stand_just_beyond_the_last_pixel_is_taken(known):
    first = reconstruct(known.scan, RPIE(epochs=1)).estimate
    room = torch.tensor(first.object.shape[-2:]) - torch.tensor(first.probe.shape[-2:])
    refined = first.positions_px.clone()
    # As far as refinement may move them: the window still lies inside.
    refined[-1] = room + 0.4
    assert reconstruct(known.scan, RPIE(epochs=1), start=replace(first, positions_px=refined)).history
    refined[-1] = room + 0.6
    with pytest.raises(InputError, match="outside its object array"):
        reconstruct(known.scan, RPIE(epochs=1), start=replace(first, positions_px=refined))


def test_a_run_with_other_spacings_does_not_go_on_from_the_checkpoint(known, tmp_path):
    place = Checkpoints(path=tmp_path / "c", every=1, resume=True)
    reconstruct(known.scan, RPIE(epochs=1), setup=Setup(slices=2, slice_spacing_m=1e-6), checkpoints=place)
    assert reconstruct(
        known.scan, RPIE(epochs=2), setup=Setup(slices=2, slice_spacing_m=1e-6), checkpoints=place
    ).history
    with pytest.raises(InputError, match="saved for another"):
        reconstruct(known.scan, RPIE(epochs=2), setup=Setup(slices=2, slice_spacing_m=2e-6), checkpoints=place)


def scripted(*residuals: float, may_rise: bool = False, better: int = 0) -> Solver[Any]:
    """A solver that yields these residuals; the probe of its estimates is half as bright except in epoch `better`."""

    class Scripted(Solver[Any]):
        name: ClassVar[str] = "scripted"
        residual_may_rise: ClassVar[bool] = may_rise
        __dataclass_fields__: ClassVar[dict[str, Any]] = {}

        def solve(self, problem, start) -> Iterator[Step[Any]]:
            dim = replace(start.estimate, probe=start.estimate.probe * 0.5)
            for epoch in range(start.epoch + 1, len(residuals) + 1):
                estimate = start.estimate if epoch == better else dim
                yield Step(epoch=epoch, estimate=estimate, residual=residuals[epoch - 1])

    return Scripted()


def test_a_residual_that_is_no_number_ends_the_run_with_the_last_good_estimate(known):
    result = reconstruct(known.scan, scripted(0.5, 0.5, float("nan"), 0.1))
    assert result.provenance["ending"].startswith("diverged in epoch 3: residual or estimate are no longer finite; ")
    assert list(result.history) == [0.5, 0.5]
    assert "diverged in epoch 3" in reconstruct(known.scan, scripted(0.5, 0.0, 0.5)).provenance["ending"]
    with pytest.raises(ExitwaveError, match=r"diverged in epoch 1: .*start from another estimate.*exitwave info"):
        reconstruct(known.scan, scripted(float("nan")))


@pytest.mark.parametrize("better", [1, 2, 3])
def test_a_residual_ten_times_its_lowest_ends_the_run_with_the_best_estimate_so_far(known, better):
    # Epoch 2 has the lowest residual; 1 made it, 3 is the last before the rise: the one that fits best is kept.
    result = reconstruct(known.scan, scripted(0.3, 0.02, 0.19, 0.21, 0.01, better=better))
    ending = result.provenance["ending"]
    assert ending.startswith("diverged in epoch 4: the residual rose to 0.21, 10 times its lowest value")
    assert f"the estimate after epoch {better} was kept" in ending
    assert result.provenance["epochs"] == better
    assert list(result.history) == [0.3, 0.02, 0.19]
    whole = reconstruct(known.scan, scripted(0.3, better=1))
    assert result.residual == pytest.approx(whole.residual)


def test_residuals_that_may_rise_do_not_end_a_run(known):
    assert reconstruct(known.scan, scripted(0.3, 0.01, 0.9, may_rise=True)).provenance["ending"] == "finished"
    assert reconstruct(known.scan, scripted(0.3, 1e-9, 5e-5)).provenance["ending"] == "finished"


def test_each_stage_of_a_chain_and_each_member_of_an_ensemble_is_watched_by_itself(known):
    calm, wild = scripted(0.3, 0.01), scripted(0.3, 0.01, 0.2)
    for whole in (chain(calm, calm), ensemble(calm, 2), ensemble(chain(calm, calm), 2)):
        assert reconstruct(known.scan, whole).provenance["ending"] == "finished"
    for whole in (chain(calm, wild), ensemble(wild, 2), chain(scripted(0.01, 0.9, may_rise=True), wild)):
        assert "diverged" in reconstruct(known.scan, whole).provenance["ending"]


def test_a_resumed_run_diverges_where_the_whole_run_would(known, tmp_path):
    checkpoints = Checkpoints(path=tmp_path / "c", every=1)
    solver = scripted(0.3, 0.01, 0.05, 0.2)
    with pytest.raises(RuntimeError):
        reconstruct(known.scan, solver, checkpoints=checkpoints, watch=failing_after(2))
    resumed = reconstruct(known.scan, solver, checkpoints=replace(checkpoints, resume=True))
    assert resumed.provenance["ending"].startswith("diverged in epoch 4: the residual rose to 0.2, 20 times")


def failing_after(epochs: int):
    def watch(step, problem) -> None:
        if step.epoch == epochs + 1:
            raise RuntimeError("killed")

    return watch


def test_advice_names_the_options_of_the_solver_that_make_its_steps_shorter():
    assert advice(MPIE()).startswith(
        "mpie: lower object_gain or probe_gain or friction or feedback, raise alpha or probe_start"
    )
    assert "raise alpha" not in advice(EPIE())


class Lost(MPIE):
    """An engine that loses itself at once."""

    def solve(self, problem, start):
        yield Step(epoch=1, estimate=start.estimate, residual=float("nan"))


@pytest.mark.parametrize(
    "last", [Lost(), chain(Lost()), Refined(solver=Lost(), refine_brightness=True), ensemble(Lost())]
)
def test_advice_is_for_the_method_that_diverged(known, last):
    ending = reconstruct(known.scan, chain(EPIE(epochs=1), last)).provenance["ending"]
    assert ending.startswith("diverged in epoch 2: ")
    assert "mpie: lower object_gain or probe_gain or friction or feedback, raise alpha or probe_start" in ending


def test_what_is_resumed_lies_where_the_run_computes(known, tmp_path):
    checkpoints = Checkpoints(path=tmp_path / "c", resume=True)
    record = CheckpointFile(checkpoints=checkpoints, spec={"name": "rpie"}, identity={"seed": 0})
    begin = Step(epoch=0, estimate=first_guess(PtychographyProblem.of(known.scan)))
    record.save(begin, [0.5])
    step, history = record.resumed(replace(begin, estimate=begin.estimate.to("meta")))
    assert step.estimate.probe.device.type == "meta"
    assert history == [0.5]


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match="auto, cpu"):
        choose_device("quantum")


def test_blind_reconstruction_of_a_jittered_scan_is_close_to_the_truth():
    made = known_scan(frame=48, side=9, step=7.0, whole=False)
    result = reconstruct(made.scan, MPIE(epochs=60))
    assert result.residual < 5e-3
    assert object_error(result.estimate, made.truth, border=24) < 0.3
