"""What is refined between epochs is found, what is known holds exactly, and what a method cannot do is refused by name."""

from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import pytest
import torch
from torch import Tensor

import exitwave as ew
from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.patterns import ArrayPatterns
from exitwave.data.scan import Scan
from exitwave.physics.constraints import window_disc
from exitwave.physics.fourier import to_centre
from exitwave.physics.ptychography import Ptychography
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.running.pose import in_flight
from exitwave.simulation.measure import Simulated
from exitwave.solvers import refined as refined_module
from exitwave.solvers.changes import Constrained, Replaced, Shifted
from exitwave.solvers.ensemble import Ensemble
from exitwave.solvers.neural.network_solver import NetworkSolver
from exitwave.solvers.ptychography.momentum import Momentum, NesterovMomentum
from exitwave.solvers.refined import Refined, refine
from exitwave.solvers.refinement_options import RefinementOptions


@cache
def made(frames: int = 49, sample: str = "grf", frame_px: int = 48, overlap: float = 0.75, seed: int = 2) -> Simulated:
    return ew.simulate(sample, frame_px=frame_px, frames=frames, overlap=overlap, seed=seed)


def measured(truth: PtychoEstimate, model: Ptychography | None = None) -> Scan:
    """What a perfect photon counter sees of it."""
    scan = made().scan
    model = model or Ptychography.of(scan.geometry, scan.frame_shape)
    patterns = torch.cat([model.intensity(truth, some) for some in torch.arange(len(scan)).split(16)])
    counts = torch.poisson(to_centre(patterns), generator=torch.Generator().manual_seed(1))
    return replace(scan, patterns=ArrayPatterns(counts), background=None, monitor=None)


def found(scan: Scan, epochs: int = 40, method: str = "rpie", **options: object) -> PtychoEstimate:
    solver = Refined(solver=ew.from_spec({"name": method, "epochs": epochs}), **options)
    return ew.reconstruct(scan, solver, probe=made().truth.probe).estimate


def misplaced(simulated: Simulated, most_px: float) -> Scan:
    draw = torch.rand(len(simulated.scan), 2, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    pixel = torch.tensor(simulated.scan.object_pixel_m, dtype=torch.float64)
    return replace(simulated.scan, positions_m=simulated.scan.positions_m + (2 * draw - 1) * most_px * pixel)


def rms_px(positions: Tensor, truth: Tensor) -> float:
    """Distance from the truth after the common shift is removed."""
    off = positions - truth
    return float((off - off.mean(dim=0)).square().sum(dim=1).mean().sqrt())


@pytest.mark.parametrize("method", ["rpie", "lsqml"])
def test_positions_two_pixels_off_are_found_below_a_tenth(method):
    x = found(misplaced(made(), 2.0), method=method, refine_positions=True)
    assert rms_px(x.positions_px, made().truth.positions_px) < 0.1


def test_positions_five_pixels_off_are_found_below_a_tenth():
    simulated = made(frames=100, sample="natural", frame_px=64, overlap=0.8, seed=3)
    scan = misplaced(simulated, 5.0)
    solver = Refined(solver=ew.RPIE(epochs=75), refine_positions=True, max_position_error_px=5.0)
    x = ew.reconstruct(scan, solver).estimate
    assert rms_px(ew.pose(scan).positions_px, simulated.truth.positions_px) > 3
    assert rms_px(x.positions_px, simulated.truth.positions_px) < 0.1


def test_positions_that_are_right_stay():
    x = found(made().scan, refine_positions=True)
    assert rms_px(x.positions_px, made().truth.positions_px) < 0.05


def test_after_a_wide_search_positions_stay_in_the_last_quarter_and_the_residual_told_is_that_of_the_scan():
    solver = Refined(solver=ew.RPIE(epochs=16), refine_positions=True, max_position_error_px=4)
    problem = ew.pose(misplaced(made(), 1.0))
    steps = list(solver.solve(problem, ew.Step(epoch=0, estimate=_start(problem))))
    changed = [bool((a.estimate.positions_px != b.estimate.positions_px).any()) for a, b in pairwise(steps)]
    assert changed == [False] * 3 + [True] * 8 + [False] * 4
    for step in steps[-4:]:
        assert step.residual == pytest.approx(problem.residual(step.estimate), rel=0.3)


def test_brightness_is_found_to_the_photon_limit():
    truth = made().truth
    drawn = (0.1 * torch.randn(49, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).exp()
    x = found(measured(replace(truth, brightness=drawn)), refine_brightness=True)
    assert x.brightness is not None
    # A trend along the positions is that of another object and probe.
    places = torch.cat([truth.positions_px, torch.ones(49, 1, dtype=torch.float64)], dim=1)
    off = (x.brightness / drawn).log()
    off = off - places @ torch.linalg.lstsq(places, off[:, None]).solution[:, 0]
    assert float(off.square().mean().sqrt()) < 0.002


def test_background_is_found_where_the_patterns_are_dark():
    truth = made().truth
    background = torch.full(truth.probe.shape[-2:], 4.0)
    background[:, :20] = 8.0
    scan = measured(replace(truth, background=background))
    x, without = found(scan, refine_background=True), found(scan)
    assert x.background is not None
    dark = scan.frames(torch.arange(49)).mean(dim=0) < 30
    for level in (4.0, 8.0):
        here = dark & (background == level)
        assert float(x.background[here].mean()) == pytest.approx(level, rel=0.1)
    problem = PtychographyProblem.of(scan)
    assert problem.residual(x) < 0.7 * problem.residual(without)


def test_a_probe_that_drifts_is_followed():
    truth = made().truth
    axis = torch.arange(48) - 24
    waves = torch.stack([truth.probe[0] * axis[:, None] / 10, truth.probe[0] * axis / 10 * 1j])
    along = torch.linspace(-1, 1, 49)
    weights = torch.stack([0.3 * along, 0.3 * torch.cos(3 * along)], dim=1).to(torch.complex64)
    scan = measured(replace(truth, variations=waves, weights=weights))
    x, without = found(scan, variations=2), found(scan)
    problem = PtychographyProblem.of(scan)
    assert problem.residual(x) < 0.2 * problem.residual(without)
    assert x.weights is not None
    assert x.variations is not None
    overlaps = torch.einsum("cyx,dyx->cd", x.variations.conj(), x.variations)
    torch.testing.assert_close(overlaps, torch.eye(2, dtype=torch.complex64), atol=1e-4, rtol=0)
    known = torch.cat([x.weights, torch.ones(49, 1)], dim=1)
    left = known @ torch.linalg.lstsq(known, weights).solution - weights
    assert float(left.abs().square().sum() / (weights - weights.mean(dim=0)).abs().square().sum()) < 0.05


@cache
def thick() -> tuple[Scan, float]:
    truth = made().truth
    rows, columns = (torch.arange(n) for n in truth.object.shape[1:])
    second = torch.polar(
        torch.ones(truth.object.shape[1:]), 0.8 * torch.sin(rows / 4.0)[:, None] * torch.cos(columns / 5.0)
    )
    spacing_m = 80 * made().scan.object_pixel_m[0] ** 2 / made().scan.geometry.wavelength_m
    objects = torch.stack([truth.object[0], second])
    spaced = torch.tensor([spacing_m], dtype=torch.float64)
    return measured(replace(truth, object=objects, slice_spacing_m=spaced)), spacing_m


def test_two_slices_are_told_apart():
    scan, spacing_m = thick()
    probe = made().truth.probe
    thin = ew.reconstruct(scan, ew.RPIE(epochs=40), probe=probe)
    result = ew.reconstruct(scan, ew.RPIE(epochs=40), probe=probe, setup=ew.Setup(slices=2, slice_spacing_m=spacing_m))
    assert result.residual < 0.05 * thin.residual
    assert result.estimate.object.shape[0] == 2


def test_a_spacing_forty_percent_off_is_found_to_ten():
    scan, spacing_m = thick()
    solver = Refined(solver=ew.RPIE(epochs=60), refine_spacing=True)
    probe = made().truth.probe
    x = ew.reconstruct(scan, solver, probe=probe, setup=ew.Setup(slices=2, slice_spacing_m=1.4 * spacing_m)).estimate
    assert x.slice_spacing_m is not None
    assert float(x.slice_spacing_m[0]) == pytest.approx(spacing_m, rel=0.1)


def test_a_fly_scan_known_as_one_beats_one_taken_for_a_step_scan():
    scan = made().scan
    travel = (0.0, 6 * scan.object_pixel_m[1])
    model = in_flight(Ptychography.of(scan.geometry, scan.frame_shape), 49, travel, 12)
    flown = measured(made().truth, model)
    probe = made().truth.probe
    step = ew.reconstruct(flown, ew.RPIE(epochs=30), probe=probe)
    fly = ew.reconstruct(flown, ew.RPIE(epochs=30), probe=probe, setup=ew.Setup(exposure_m=travel, exposure_points=5))
    assert fly.residual < 0.5 * step.residual
    assert fly.provenance["exposure_points"] == 5


def test_a_travel_longer_than_the_window_is_a_wrong_unit():
    with pytest.raises(InputError, match="it is in metres"):
        ew.pose(made().scan, setup=ew.Setup(exposure_m=(0.0, 1e-3)))


@dataclass(frozen=True)
class Bounds:
    options: dict[str, object]

    def hold(self, x: PtychoEstimate) -> bool:
        light = x.probe.abs().double().square().sum(dim=0)
        start = made().truth.probe.abs().double().square().sum()
        match next(iter(self.options)):
            case "probe_support":
                return not bool(x.probe[:, ~window_disc((48, 48), 0.6)].any())
            case "centre_probe":
                axis = torch.arange(48, dtype=torch.float64) - 24
                centre = (light.sum(dim=1) @ axis / light.sum(), light.sum(dim=0) @ axis / light.sum())
                return max(abs(float(c)) for c in centre) <= 0.5
            case "keep_probe_power":
                return abs(float(light.sum() / start) - 1) < 1e-4
            case "max_amplitude":
                return float(x.object.abs().max()) <= 0.9 + 1e-6
            case _:
                return float((x.object.abs() - 1).abs().max()) < 1e-6


@pytest.mark.parametrize(
    "options",
    [
        {"probe_support": 0.6},
        {"centre_probe": True},
        {"keep_probe_power": True},
        {"max_amplitude": 0.9},
        {"phase_only": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_is_known_holds_after_every_epoch(options):
    shifted = made().truth.probe.roll(3, dims=-1) if "centre_probe" in options else made().truth.probe
    solver = Refined(solver=ew.RPIE(epochs=4, probe_start=0), **options)
    problem = PtychographyProblem.of(made().scan)
    begin = ew.Step(epoch=0, estimate=replace(_start(problem), probe=shifted))
    for step in solver.solve(problem, begin):
        assert Bounds(options).hold(step.estimate), step.epoch


@pytest.mark.parametrize("method", ["mpie", "newton", "awf", "dm", "adam", "lbfgs"])
def test_what_a_solver_remembers_moves_along_with_a_probe_that_is_centred(method):
    truth = made().truth
    problem = PtychographyProblem.of(measured(truth))
    shifted = replace(truth, object=truth.object.roll(3, dims=-1), probe=truth.probe.roll(3, dims=-1))
    options = {"name": method, "epochs": 6} | ({"finish": 0} if method == "dm" else {})
    worst: list[float] = []
    for start, centre in ((truth, False), (shifted, True)):
        solver = Refined(solver=ew.from_spec(options), centre_probe=centre)
        steps = solver.solve(problem, ew.Step(epoch=0, estimate=start))
        worst.append(max(step.residual for step in steps))
    # At the rim of the object, what is rolled out on one side comes in on the other.
    assert worst[1] < 1.5 * worst[0]


@cache
def supported(method: str) -> float:
    """Residual at the end with a probe that must be dark where the true one has light."""
    bound = Refined(solver=ew.from_spec({"name": method, "epochs": 40}), probe_support=0.6)
    return ew.reconstruct(measured(made().truth), bound, probe=made().truth.probe).residual


@pytest.mark.parametrize("method", ["mpie", "newton", "lbfgs", "apg", "adam"])
def test_all_methods_find_the_best_image_that_a_constraint_allows(method):
    assert supported(method) == pytest.approx(supported("awf"), rel=0.15)


def test_what_is_remembered_of_earlier_estimates_goes_along_with_a_change_from_outside():
    x = made().truth
    blurred = replace(x, object=0.5 * x.object)
    velocity, last = torch.ones_like(x.object), x.object - 1
    change = Replaced(x, blurred)
    state = {"last.object": last, "last.probe": x.probe, "age": torch.tensor(3)}
    kept = NesterovMomentum.transform_state(state, change)
    torch.testing.assert_close(blurred.object - kept["last.object"], x.object - last)
    assert all(kept[name] is state[name] for name in ("last.probe", "age"))
    state = {"velocity.object": velocity, "velocity.probe": x.probe, "anchor.object": last, "anchor.probe": x.probe}
    kept = Momentum.transform_state(state, change)
    torch.testing.assert_close(blurred.object - kept["anchor.object"], x.object - last)
    assert all(kept[name] is state[name] for name in ("velocity.object", "velocity.probe", "anchor.probe"))


HOLDING = {"mpie": 4, "newton": 4, "lsqml": 2, "awf": 2, "wf": 2, "apg": 2, "adam": 4, "lbfgs": 8, "dm": 1, "raar": 1}
"""Images that each method keeps in its state after two epochs; others keep none."""


@pytest.mark.parametrize(
    "name", [n for n, cls in ew.solvers().items() if cls.solves is PtychographyProblem and not cls.combines]
)
def test_every_image_that_a_solver_remembers_moves_along_when_its_estimate_is_moved(name):
    solver = ew.from_spec({"name": name, "epochs": 3} | ({"finish": 0} if name in ("dm", "raar") else {}))
    if isinstance(solver, NetworkSolver):
        # Its state is a network, and holds nothing that lies on the object or the probe.
        assert solver.transform_state({"weight": torch.ones(48, 48)}, Shifted((1, 2)))["weight"].eq(1).all()
        return
    problem = PtychographyProblem.of(measured(made().truth))
    *_, step = (step for step, _ in zip(solver.solve(problem, _begin(problem)), range(2), strict=False))
    moved = solver.transform_state(step.state, Shifted((1, 2)))
    images = [key for key, value in step.state.items() if value.ndim > 2]
    assert len(images) == HOLDING.get(name, 0)
    for key, value in step.state.items():
        axes = (-3, -2) if name == "adam" else (-2, -1)
        torch.testing.assert_close(moved[key], value.roll((1, 2), dims=axes) if key in images else value)


@pytest.mark.parametrize("name", ["newton", "lbfgs"])
def test_curvature_learnt_without_a_constraint_is_forgotten_with_it(name):
    solver = ew.from_spec({"name": name, "epochs": 3} | ({"warm_start": 0} if name == "newton" else {}))
    problem = PtychographyProblem.of(measured(made().truth))
    *_, step = solver.solve(problem, _begin(problem))
    kept = solver.transform_state(step.state, Constrained(step.estimate, lambda x: x))
    assert any(value.ndim > 2 for value in step.state.values())
    assert not any(value.ndim > 2 for value in kept.values())
    assert list(solver.transform_state(step.state, Replaced(step.estimate, made().truth))) == list(step.state)


def test_a_change_from_outside_reaches_the_member_at_work_through_all_that_is_around_it():
    inner = ew.MPIE(epochs=2)
    solver = ew.chain(
        ew.RPIE(epochs=1), Refined(solver=Refined(solver=inner, centre_probe=True), refine_positions=True)
    )
    problem = PtychographyProblem.of(measured(made().truth))
    *_, step = solver.solve(problem, _begin(problem))
    moved = solver.transform_state(step.state, Shifted((1, 2)))
    key = "chain:refined:refined:velocity.object"
    torch.testing.assert_close(moved[key], step.state[key].roll((1, 2), dims=(-2, -1)))
    assert moved["chain.number"] == 1


def test_nothing_is_looked_at_after_the_last_epoch(monkeypatch):
    looks: list[int] = []
    look = refined_module.refined
    monkeypatch.setattr(refined_module, "refined", lambda *given: looks.append(1) or look(*given))
    found(made().scan, epochs=6, refine_positions=True)
    assert len(looks) == 2  # before the fifth and the sixth


def test_an_ensemble_is_refined_member_by_member():
    options = RefinementOptions(refine_positions=True)
    members = refine(ew.ensemble(ew.RPIE(epochs=2), size=2), options)
    assert isinstance(members, Ensemble)
    assert members.member == Refined(solver=ew.RPIE(epochs=2), refine_positions=True)
    with pytest.raises(InputError, match="refine its member instead"):
        refine(ew.chain(ew.RPIE(), ew.ensemble(ew.RPIE(), size=2)), options)


def test_options_that_ask_for_nothing_leave_the_solver_as_it_is():
    solver = ew.RPIE()
    assert refine(solver, RefinementOptions(first_epoch=7, orthogonalise=False)) is solver
    assert refine(solver, RefinementOptions(phase_only=True)) == Refined(solver=solver, phase_only=True)


def test_a_refusal_names_every_method_that_can():
    with pytest.raises(InputError, match=r"local cannot reconstruct with positions .*, dm, .*, rpie, .* can"):
        ew.reconstruct(made().scan, ew.Refined(solver=ew.Local(), refine_positions=True), probe=made().truth.probe)


def test_the_size_of_position_errors_means_nothing_unless_positions_are_refined():
    with pytest.raises(InputError, match="add refine_positions"):
        refine(ew.RPIE(), RefinementOptions(max_position_error_px=5))


def test_a_stage_need_not_honour_what_was_refined_before_it():
    stages = ew.chain(ew.Refined(solver=ew.RPIE(epochs=2), refine_positions=True), ew.Local())
    ew.reconstruct(made().scan, stages, probe=made().truth.probe)
    varied = ew.chain(ew.Refined(solver=ew.RPIE(epochs=2), refine_brightness=True), ew.Local())
    with pytest.raises(InputError, match="local cannot reconstruct with brightness"):
        ew.reconstruct(made().scan, varied, probe=made().truth.probe)


def test_one_pattern_leaves_nothing_to_refine_and_no_constraint_of_scans():
    one = ew.simulate_pattern(frame_px=48).scan
    with pytest.raises(
        InputError, match="refined is for a ptychography scan, but this is one pattern of an isolated object"
    ):
        ew.reconstruct(one, Refined(solver=ew.ER(epochs=2), phase_only=True))


def _begin(problem: PtychographyProblem) -> ew.Step[PtychoEstimate]:
    return ew.Step(epoch=0, estimate=_start(problem))


def _start(problem: PtychographyProblem) -> PtychoEstimate:
    return PtychoEstimate(
        object=torch.ones(1, *problem.object_shape, dtype=torch.complex64),
        probe=made().truth.probe,
        positions_px=problem.positions_px,
    )


def test_modes_come_out_orthogonal_and_fit_as_well():
    truth = made().truth
    axis = torch.arange(48) - 24
    mixed = torch.cat([0.8 * truth.probe, 0.6 * truth.probe * axis / 8])
    scan = measured(replace(truth, probe=mixed))
    result = ew.reconstruct(scan, ew.RPIE(epochs=30), probe=truth.probe, setup=ew.Setup(modes=2))
    probe = result.estimate.probe.flatten(1)
    first, second = (float(mode.abs().square().sum()) for mode in probe)
    assert first > second
    assert abs(torch.vdot(probe[0], probe[1])) < 1e-4 * first
    assert result.history[-1] == pytest.approx(result.residual, rel=0.1)


def test_what_a_method_cannot_do_is_refused_with_those_that_can():
    scan, probe = made().scan, made().truth.probe
    with pytest.raises(InputError, match=r"dm cannot reconstruct with slices .*rpie"):
        ew.reconstruct(scan, ew.from_spec("dm"), probe=probe, setup=ew.Setup(slices=2, slice_spacing_m=1e-6))
    with pytest.raises(InputError, match="local cannot reconstruct with positions"):
        ew.reconstruct(scan, ew.Refined(solver=ew.from_spec("local"), refine_positions=True), probe=probe)
    with pytest.raises(InputError, match="dm holds exit waves"):
        ew.reconstruct(
            scan, ew.Refined(solver=ew.from_spec("dm"), refine_positions=True, max_position_error_px=5), probe=probe
        )
    with pytest.raises(InputError, match="needs at least 2 slices and their spacing"):
        ew.reconstruct(scan, ew.RPIE(), probe=probe, setup=ew.Setup(slices=2))
    with pytest.raises(InputError, match="no spacing to refine"):
        ew.reconstruct(scan, ew.Refined(solver=ew.RPIE(), refine_spacing=True), probe=probe)


def test_an_ensemble_of_refined_members_resumes_exactly():
    solver = ew.ensemble(
        ew.Refined(solver=ew.MPIE(epochs=6, batch=8), refine_positions=True, refine_brightness=True), size=2
    )
    problem = PtychographyProblem.of(misplaced(made(), 1.0))
    steps = [*solver.solve(problem, ew.Step(epoch=0, estimate=_start(problem)))]
    for at in (4, 8):
        last = [*solver.solve(problem, steps[at])][-1]
        assert torch.equal(last.estimate.object, steps[-1].estimate.object)
        assert torch.equal(last.estimate.positions_px, steps[-1].estimate.positions_px)


def test_frames_looked_at_by_several_threads_say_the_same():
    scan = misplaced(made(), 1.0)
    threads = torch.get_num_threads()
    try:
        places: list[Tensor] = []
        for count in (1, 3):
            torch.set_num_threads(count)
            places.append(found(scan, epochs=8, refine_positions=True).positions_px)
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(places[0], places[1], atol=0.02, rtol=0)


def test_unknowns_survive_the_result_file(tmp_path):
    truth = made().truth
    scan = measured(replace(truth, brightness=torch.linspace(0.9, 1.1, 49, dtype=torch.float64)))
    solver = Refined(
        solver=ew.RPIE(epochs=6), refine_positions=True, variations=1, refine_brightness=True, refine_background=True
    )
    result = ew.reconstruct(scan, solver, probe=truth.probe)
    ew.write(result, tmp_path / "out.h5")
    again = ew.read_result(tmp_path / "out.h5")
    for name in ("positions_px", "variations", "weights", "brightness", "background"):
        assert torch.equal(getattr(again.estimate, name), getattr(result.estimate, name)), name
    assert ew.from_spec(again.spec) == solver
