"""The driver: early stop, halves, orientation ranking, divergence, in-memory and streamed frames alike."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch

from exitwave.data import prepare
from exitwave.data.errors import ExitwaveError, InputError
from exitwave.iterative.pie import MPIE, RPIE
from exitwave.orient import rank_orientations
from exitwave.run import Stop, choose_device, halves, iterate, reconstruct, reconstruct_halves
from exitwave.solver import Solver, Step
from scans import known_scan, object_error


@pytest.fixture(scope="module")
def known():
    return known_scan(frame=48, side=9, step=7.0, photons=1e6)


def test_the_result_says_how_it_was_made_and_how_well_it_fits(known):
    result = reconstruct(known.scan, RPIE(epochs=5), seed=3, free_fraction=0.05)
    assert result.spec["name"] == "rpie"
    assert len(result.history) == 5
    assert result.frame_residual is not None
    assert result.frame_residual.shape == (81,)
    assert 0 < result.residual < result.history[0]
    assert result.free_residual is not None
    assert result.provenance["seed"] == 3
    assert result.provenance["ending"] == "finished"


def test_same_seed_same_image(known):
    one, again = (reconstruct(known.scan, RPIE(epochs=3), seed=5).estimate for _ in range(2))
    assert torch.equal(one.object, again.object)
    assert torch.equal(one.probe, again.probe)


def test_iterate_streams_what_reconstruct_returns(known):
    *_, last = iterate(known.scan, RPIE(epochs=3), seed=5)
    assert torch.equal(last.estimate.object, reconstruct(known.scan, RPIE(epochs=3), seed=5).estimate.object)


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
    from exitwave.evaluation.judge import compare_halves

    assert compare_halves(first.estimate, second.estimate).metrics["FRC-half-bit-split"] > 0.5


def test_starting_from_an_earlier_result_goes_on_from_it(known):
    first = reconstruct(known.scan, RPIE(epochs=20))
    more = reconstruct(known.scan, RPIE(epochs=1), start=first.estimate)
    assert more.history[0] < 0.2 * first.history[0]


def test_a_start_of_other_frames_is_refused(known):
    first = reconstruct(known.scan, RPIE(epochs=1))
    with pytest.raises(InputError, match="81 frames but the scan has 40"):
        reconstruct(prepare.select(known.scan, slice(0, 40)), RPIE(epochs=1), start=first.estimate)


@pytest.mark.parametrize("turn", ["identity", "transpose", "fliplr"])
def test_orientation_ranking_finds_how_frames_were_turned(known, turn):
    inverse = {"identity": "identity", "transpose": "transpose", "fliplr": "fliplr"}[turn]
    best = rank_orientations(prepare.orient(known.scan, turn))[0]
    partner = {"identity": "rot180", "transpose": "antitranspose", "fliplr": "flipud"}[inverse]
    # In the far field a half turn of the frames only conjugates the object, so that either of the pair may win.
    assert best.orientation in (inverse, partner)


def test_orientation_ranking_sees_the_position_sign_in_the_near_field():
    from exitwave.simulation.measure import simulate

    made = simulate("siemens", frame_px=64, frames=64, overlap=0.7, focus_distance_m=2e-3, distance_m=1.0, seed=1)
    wrong = replace(made.scan, positions_m=-made.scan.positions_m)
    assert rank_orientations(made.scan)[0].flip_positions is False
    trials = rank_orientations(wrong)
    best = next(t for t in trials if t.orientation == "identity" and t.residual == trials[0].residual)
    assert best.flip_positions


class Diverging(Solver[Any]):
    """Yields one good epoch, then nonsense."""

    name: ClassVar[str] = "diverging"

    def __init__(self, good: int) -> None:
        self.good = good

    __dataclass_fields__: ClassVar[dict[str, Any]] = {}

    def solve(self, problem, start) -> Iterator[Step[Any]]:
        for epoch in range(1, 5):
            yield Step(epoch=epoch, estimate=start.estimate, residual=0.5 if epoch <= self.good else float("nan"))


def test_divergence_keeps_the_last_finite_estimate_and_says_so(known):
    result = reconstruct(known.scan, Diverging(2))
    assert result.provenance["ending"] == "diverged in epoch 3"
    assert len(result.history) == 2
    with pytest.raises(ExitwaveError, match="lower its gains"):
        reconstruct(known.scan, Diverging(0))


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match="auto, cpu"):
        choose_device("quantum")


def test_blind_reconstruction_of_a_jittered_scan_is_close_to_the_truth():
    made = known_scan(frame=48, side=9, step=7.0, whole=False)
    result = reconstruct(made.scan, MPIE(epochs=60))
    assert result.residual < 5e-3
    assert object_error(result.estimate, made.truth, border=24) < 0.3
