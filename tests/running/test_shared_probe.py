"""Several scans under one beam: one probe, an object each, a result each."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import exitwave as ew
from exitwave.data.joined_scans import join
from exitwave.data.patterns import ArrayPatterns
from exitwave.data.result import Result
from exitwave.data.scan import Scan
from exitwave.problems.coarse_phase import ramp_sensitivity
from exitwave.problems.frame_pulls import FramePulls
from exitwave.problems.regional_phase import slow_phase
from exitwave.problems.shared_probe import SharedProbeProblem
from exitwave.problems.sweep import Sweep
from exitwave.solvers.registry import solvers
from scans import known_scan, object_error

ONE = known_scan(side=6, photons=1e6, seed=1)
OTHER = known_scan(side=4, photons=1e6, seed=5)
DIM = known_scan(side=4, photons=1e4, seed=5)
METHODS = sorted(name for name, cls in solvers().items() if cls.__module__.startswith("exitwave.solvers.ptychography"))


def with_frames(scan: Scan, frames: torch.Tensor) -> Scan:
    return replace(scan, patterns=ArrayPatterns(frames))


def posed(*scans: Scan, setup: ew.Setup | None = None) -> SharedProbeProblem:
    problem = ew.pose(join(scans), setup or ew.Setup(device="cpu"))
    assert isinstance(problem, SharedProbeProblem)
    return problem


def found(result: Result) -> ew.PtychoEstimate:
    assert isinstance(result.estimate, ew.PtychoEstimate)
    return result.estimate


def test_scans_lie_apart_and_keep_their_shape_and_frames() -> None:
    joined = join([ONE.scan, OTHER.scan])
    pixel = torch.tensor(joined.object_pixel_m, dtype=torch.float64)
    places = joined.positions_m / pixel
    first, second = places[joined.owner == 0], places[joined.owner == 1]
    assert float(second[:, 0].min() - first[:, 0].max()) >= 2 * 32 - 1e-6
    offset = second - OTHER.scan.positions_m / pixel
    assert torch.allclose(offset, offset[:1].expand_as(offset))
    picked = torch.tensor([40, 2, 36])
    expected = torch.cat([OTHER.scan.frames(slice(4, 5)), ONE.scan.frames(slice(2, 3)), OTHER.scan.frames(slice(0, 1))])
    assert torch.equal(joined.frames(picked), expected)
    assert joined.some(picked).owner.tolist() == [1, 0, 1]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_finds_the_images_of_both(name: str) -> None:
    epochs = {} if name == "local" else {"epochs": 12}
    solver = ew.from_spec({"name": name, **epochs})
    results = ew.reconstruct([ONE.scan, OTHER.scan], solver)
    assert len(results) == 2
    for result, known in zip(results, (ONE, OTHER), strict=True):
        x = found(result)
        assert len(x.positions_px) == len(known.scan)
        assert result.frame_residual is not None
        assert len(result.frame_residual) == len(known.scan)
        # Where the windows were is where the truth has them: both canvases have the same rim.
        assert torch.allclose(x.positions_px, known.truth.positions_px)
        alone = ew.reconstruct(known.scan, solver)
        assert object_error(x, known.truth) < max(1.25 * object_error(found(alone), known.truth), 0.05)
    assert torch.equal(found(results[0]).probe, found(results[1]).probe)


def test_a_dim_scan_gets_the_probe_as_dim_as_its_beam_was_and_an_object_as_bright_as_its_sample() -> None:
    bright, dim = ew.reconstruct([ONE.scan, DIM.scan], ew.RPIE(epochs=15))
    power = [float(found(result).probe.abs().square().sum()) for result in (bright, dim)]
    assert power[0] / power[1] == pytest.approx(100, rel=0.02)
    assert dim.provenance["shared_probe"]["beam"] < 0.1 < bright.provenance["shared_probe"]["beam"]
    assert float(found(dim).object.abs().median()) == pytest.approx(
        float(DIM.truth.object.abs().median()) * float(DIM.truth.probe.norm() / found(dim).probe.norm()), rel=0.1
    )
    alone = ew.reconstruct(DIM.scan, ew.RPIE(epochs=15))
    assert dim.residual == pytest.approx(alone.residual, rel=0.3)
    assert object_error(found(dim), DIM.truth) < object_error(found(alone), DIM.truth)


def test_the_result_of_a_scan_fits_its_own_frames_as_it_says() -> None:
    for result, known in zip(ew.reconstruct([ONE.scan, DIM.scan], ew.LSQML(epochs=6)), (ONE, DIM), strict=True):
        assert ew.pose(known.scan).residual(result.estimate) == pytest.approx(result.residual, rel=1e-4)


def test_views_of_one_object_share_it_and_their_own_beams() -> None:
    dimmer = replace(with_frames(ONE.scan, ONE.scan.frames(slice(None)) / 9), provenance={"file": "dimmer.h5"})
    setup = ew.Setup(same_object=True)
    first, second = ew.reconstruct([ONE.scan, dimmer], ew.RPIE(epochs=10), setup=setup)
    assert torch.equal(found(first).object, found(second).object)
    assert found(first).brightness is not None
    assert second.residual == pytest.approx(first.residual, rel=0.1)
    alone = ew.reconstruct(ONE.scan, ew.RPIE(epochs=10))
    assert object_error(found(second), ONE.truth) < 1.1 * object_error(found(alone), ONE.truth)


def test_a_probe_that_varies_from_scan_to_scan_is_one_within_a_scan() -> None:
    other = known_scan(side=4, photons=1e6, seed=5, modes=1)
    tilted = other.truth.probe * torch.exp(0.6j * torch.linspace(-1, 1, 32).square())
    waves = [
        tilted[0] * other.truth.object[0, row : row + 32, column : column + 32]
        for row, column in other.truth.positions_px.to(torch.int64).tolist()
    ]
    patterns = torch.fft.fftshift(torch.fft.fft2(torch.stack(waves), norm="ortho").abs().square(), dim=(1, 2))
    scans = [ONE.scan, with_frames(other.scan, patterns)]
    solver = ew.refine(ew.LSQML(epochs=25), ew.RefinementOptions(variations=1))
    shared = ew.reconstruct(scans, ew.LSQML(epochs=25))
    varied = ew.reconstruct(scans, solver)
    assert varied[1].residual < 0.5 * shared[1].residual
    assert not torch.equal(found(varied[0]).probe, found(varied[1]).probe)
    assert found(varied[1]).variations is None
    assert ew.pose(scans[1]).residual(varied[1].estimate) == pytest.approx(varied[1].residual, rel=1e-3)


def test_slow_phase_of_one_scan_moves_no_other() -> None:
    problem = posed(ONE.scan, OTHER.scan)
    x = problem.initial(None, ew.Setup())
    pulls = FramePulls(problem, x)
    # Of the frames of the first scan only.
    mine = (problem.joined.owner == 0).nonzero().flatten()
    Sweep(problem, x).over(mine, observer=pulls)
    slow = slow_phase(problem, x, ramp_sensitivity(problem, x))
    phase, (first, second) = slow.of_frames(pulls), problem.regions(x)
    assert float(phase[first.rows, first.columns].abs().max()) > 1e-3
    assert float(phase[second.rows, second.columns].abs().max()) == 0
    down = torch.zeros_like(x.object)
    down[:, first.rows, first.columns] = 1j * torch.linspace(0, 1, first.columns.stop - first.columns.start)
    assert float(slow.of_gradient(x.object, down)[:, second.rows, second.columns].abs().max()) == 0


def test_outliers_are_told_by_the_numbers_of_their_own_scan() -> None:
    frames = OTHER.scan.frames(slice(None)).clone()
    frames[6] *= 100
    one, other = ew.reconstruct(
        [ONE.scan, with_frames(OTHER.scan, frames)], ew.RPIE(epochs=1), setup=ew.Setup(as_is=True)
    )
    assert "outliers" not in one.provenance
    assert other.provenance["outliers"]["frames"] == [6]
    assert len(found(other).positions_px) == 15


def test_a_run_of_several_scans_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "shared.checkpoint"
    whole = ew.reconstruct([ONE.scan, DIM.scan], ew.MPIE(epochs=6))
    ew.reconstruct(
        [ONE.scan, DIM.scan],
        ew.MPIE(epochs=6),
        stop=ew.Stop(residual=1.0),
        checkpoints=ew.Checkpoints(path=path, every=1),
    )
    resumed = ew.reconstruct(
        [ONE.scan, DIM.scan], ew.MPIE(epochs=6), checkpoints=ew.Checkpoints(path=path, every=1, resume=True)
    )
    for one, other in zip(whole, resumed, strict=True):
        assert torch.equal(one.estimate.object, other.estimate.object)


class TestRefusals:
    def test_frames_of_other_size_are_named(self) -> None:
        small = known_scan(frame=24, side=4).scan
        with pytest.raises(ew.InputError, match=r"frames of b\.h5 are 24 x 24 pixels, those of a\.h5 32 x 32"):
            ew.reconstruct([called(ONE.scan, "a.h5"), called(small, "b.h5")])

    def test_another_geometry_is_named(self) -> None:
        far = replace(OTHER.scan, geometry=replace(OTHER.scan.geometry, distance_m=2.1))
        with pytest.raises(ew.InputError, match=r"distance to the detector of b.h5 is 2.1 m, that of a.h5 2 m"):
            ew.reconstruct([called(ONE.scan, "a.h5"), called(far, "b.h5")])

    def test_near_and_far_field_do_not_go_together(self) -> None:
        near = replace(OTHER.scan, geometry=replace(OTHER.scan.geometry, focus_distance_m=0.1))
        with pytest.raises(ew.InputError, match="distance from the focus"):
            ew.reconstruct([ONE.scan, near])

    def test_a_single_pattern_is_no_scan(self) -> None:
        with pytest.raises(ew.InputError, match="one pattern"):
            ew.reconstruct([ONE.scan, OTHER.scan.pattern(0)])

    def test_one_scan_shares_with_nobody(self) -> None:
        with pytest.raises(ew.InputError, match="give at least two"):
            ew.reconstruct([ONE.scan])
        with pytest.raises(ew.InputError, match="same_object is for several scans"):
            ew.reconstruct(ONE.scan, setup=ew.Setup(same_object=True))

    def test_a_start_of_one_scan_is_none_for_several(self) -> None:
        with pytest.raises(ew.InputError, match="start from a probe"):
            ew.reconstruct([ONE.scan, OTHER.scan], start=ONE.truth)  # pyright: ignore[reportArgumentType]

    def test_what_is_known_of_brightness_does_not_go_with_beams_that_differ(self) -> None:
        solver = ew.refine(ew.RPIE(epochs=2), ew.RefinementOptions(phase_only=True))
        with pytest.raises(ew.InputError, match="phase_only takes the object for as bright as its sample"):
            ew.reconstruct([ONE.scan, DIM.scan], solver)
        assert len(ew.reconstruct([ONE.scan, OTHER.scan], solver)) == 2

    def test_a_scan_that_makes_no_sense_is_named(self) -> None:
        lost = replace(OTHER.scan, positions_m=OTHER.scan.positions_m * float(np.nan))
        with pytest.raises(ew.InputError, match=r"b\.h5: all 16 frames are to be left out"):
            ew.reconstruct([ONE.scan, called(lost, "b.h5")])


def called(scan: Scan, name: str) -> Scan:
    return replace(scan, provenance={"file": f"/data/{name}"})
