"""AutoPhaseNN on made crystals that it never saw: how good, how fast, and what 50 epochs of er make of it.

`compared`: one pass, the same refined, one random start of 600 iterations (3 x (20 er, 160 hio, 20 er), shrink-wrap) and the best
of five. chi2 is sum (|F| - A)^2 / sum A^2; ssim that of the amplitudes after shift, twin and scale, windows of 7^3 voxels, over
the frame (as published) and in a box about the crystal. `course` is chi2 against iteration, `sampling` against oversampling,
`six_circle` rocking curves in the geometry of 34-ID-C, `tuned` a network trained further on ten crystals of another kind.
Seconds are processor time, side by side. Settings were chosen on crystals of other seeds.
"""

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

import exitwave as ew
from exitwave.simulation.crystal_settings import SHIFTED, TRAINING
from exitwave.solvers.spec import from_spec
from harness.command_line import Parts
from harness.made_crystals import Case, Score, made_cases, scored, six_circle_cases
from harness.tables import Part, Row, measured

PARTS = ("compared", "course", "sampling", "six_circle", "tuned")
SEED, TUNING_SEED = 20_000, 30_000
"""Of the crystals that judge, and of those on which a network is trained further; networks are trained with smaller ones."""
PHOTONS = (3e5, 1e8)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
CHI2_BINS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 1.0)
SSIM_BINS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 1.0)
EVERY = 10
"""Iterations between two points of a course."""


@dataclass(frozen=True)
class Outcome:
    """What a method made of a crystal."""

    score: Score
    seconds: float
    oversampling: float


def polish(epochs: int = 50) -> ew.Solver[Any]:
    """Error reduction with the support as it is."""
    return ew.ER(epochs=epochs, shrink_every=0)


def iterations(cycles: int = 3, starts: int = 1) -> ew.CDI:
    """The published recipe, with the blur and threshold that were best on crystals of other seeds."""
    return ew.CDI(
        starts=starts,
        keep=1,
        cycles=cycles,
        er=20,
        hio=160,
        finish=0,
        threshold=0.12,
        sigma_start_px=2.0,
        sigma_end_px=1.0,
    )


def methods(network: ew.Solver[Any]) -> Mapping[str, ew.Solver[Any]]:
    """All ways to a crystal, the controls last."""
    return {
        "network": network,
        "network + 50 er": ew.chain(network, polish()),
        "600 iterations": iterations(),
        "5 x 600 iterations": iterations(starts=5),
        "network + 100 iterations": ew.chain(network, *short()),
        "100 iterations": ew.chain(*short()),
        "500 er": polish(500),
        "1800 iterations": iterations(cycles=9),
        "network + 500 er": ew.chain(network, polish(500)),
    }


def short() -> tuple[ew.Solver[Any], ew.Solver[Any]]:
    """A sixth of the published recipe: is it the network, or would fewer iterations have done?"""
    shrinking = {"threshold": 0.12, "sigma_start_px": 1.0, "sigma_end_px": 1.0}
    return ew.HIO(epochs=80, shrink_every=20, **shrinking), ew.ER(epochs=20, shrink_every=0)


def begun(case: Case) -> ew.Step[Any]:
    """A random start."""
    return ew.Step(epoch=0, estimate=case.problem.initial(None, ew.Setup()))


def solved(solver: ew.Solver[Any], case: Case) -> Outcome:
    """One crystal, timed."""
    start, before = begun(case), time.process_time()
    *_, last = solver.solve(case.problem, start)
    seconds = time.process_time() - before
    return Outcome(scored(case, last.estimate), seconds, case.oversampling)


def told(name: str, outcomes: Sequence[Outcome], against: Sequence[Outcome]) -> Row:
    """Medians for the table; quantiles and bins of the histograms beside them."""
    chi2 = [each.score.chi2 for each in outcomes]
    wins = np.mean([one.score.chi2 <= other.score.chi2 for one, other in zip(outcomes, against, strict=True)])
    medians = {
        name: float(np.median([asdict(each.score)[name] for each in outcomes])) for name in asdict(outcomes[0].score)
    }
    times = np.median([each.seconds for each in outcomes]), np.median([each.seconds for each in against])
    return {
        "method": name,
        "crystals": len(outcomes),
        **medians,
        "chi2_mean": float(np.mean(chi2)),
        "as_good_as_600": float(wins),
        "seconds": float(times[0]),
        "share_of_600_time": float(times[0] / times[1]),
        "histograms": histograms(outcomes),
    }


def histograms(outcomes: Sequence[Outcome]) -> dict[str, list[float]]:
    """Quantiles and bins of chi2 and ssim."""
    found: dict[str, list[float]] = {"quantiles": list(QUANTILES)}
    for name, bins in (("chi2", CHI2_BINS), ("ssim", SSIM_BINS), ("ssim_box", SSIM_BINS)):
        values = [getattr(each.score, name) for each in outcomes]
        found[f"{name}_quantiles"] = np.quantile(values, QUANTILES).round(5).tolist()
        found[f"{name}_bins"] = list(bins)
        found[f"{name}_counts"] = np.histogram(values, bins)[0].tolist()
    return found


def tabled(ways: Mapping[str, ew.Solver[Any]], cases: Sequence[Case]) -> list[Row]:
    """All methods on every crystal in turn, so that whatever slows the machine slows all of them."""
    found: dict[str, list[Outcome]] = {name: [] for name in ways}
    for number, case in enumerate(cases):
        for name, solver in ways.items():
            found[name].append(solved(solver, case))
        print(f"   crystal {number + 1}/{len(cases)}", end="\r", flush=True)
    return [told(name, outcomes, found["600 iterations"]) for name, outcomes in found.items()]


def tuned_rows(network: ew.AutoPhaseNN, cases: Sequence[Case], epochs: int, device: str) -> list[Row]:
    """The network before and after further training on the rocking curves of ten other crystals of that kind."""
    ten = list(made_cases(10, grid_px=network.grid_px, settings=SHIFTED, photons=PHOTONS, seed=TUNING_SEED))
    curves = [replace(case.problem.pattern, patterns=_counts(case)) for case in ten]
    further = replace(network, epochs=epochs, samples_per_epoch=320, learning_rate=1e-4)
    with tempfile.TemporaryDirectory() as folder:
        after = ew.train(further, curves, save=Path(folder), run=ew.TrainingRun(as_is=True, device=device))
        ways = {"network": network, "network, tuned": after, "600 iterations": iterations()}
        ways |= {"tuned + 50 er": ew.chain(after, polish()), "network + 50 er": ew.chain(network, polish())}
        return tabled(ways, cases)


def _counts(case: Case) -> torch.Tensor:
    return torch.fft.fftshift(case.problem.amplitudes.square())


def courses(ways: Mapping[str, ew.Solver[Any]], cases: Sequence[Case]) -> list[Row]:
    """Quartiles of chi2 of the iterate, every ten iterations."""
    rows: list[Row] = []
    for name, solver in ways.items():
        followed = [[step.residual for step in solver.solve(case.problem, begun(case))][::EVERY] for case in cases]
        quartiles = np.quantile(np.array(followed), (0.25, 0.5, 0.75), axis=0).round(6)
        rows += [
            {"method": name, "iteration": 1 + EVERY * place, "lower": low, "median": middle, "upper": high}
            for place, (low, middle, high) in enumerate(quartiles.T.tolist())
        ]
    return rows


def figure(network: ew.AutoPhaseNN, cases: Sequence[Case], path: Path) -> None:
    """Four crystals from the best to the worst of the network: truth, network, refined, and 600 iterations."""
    from harness.crystal_figure import draw

    ordered = sorted(cases, key=lambda case: solved(network, case).score.chi2)
    chosen = [ordered[round(share * (len(ordered) - 1))] for share in (0.0, 1 / 3, 2 / 3, 1.0)]
    ways = {name: methods(network)[name] for name in ("network", "network + 50 er", "600 iterations")}
    draw(chosen, {name: [_last(solver, case) for case in chosen] for name, solver in ways.items()}, path)


def _last(solver: ew.Solver[Any], case: Case) -> ew.SupportEstimate:
    *_, last = solver.solve(case.problem, begun(case))
    return last.estimate


def run(
    *,
    parts: Parts = (),
    crystals: Annotated[int, "unseen crystals"] = 200,
    weights: Annotated[str, "trained network: a name, file or folder"] = "crystals",
    tuning: Annotated[int, "epochs of 320 patterns on ten crystals of another kind"] = 10,
    device: str = "cpu",
    picture: Annotated[Path | None, "draw four crystals from best to worst into this file"] = None,
) -> Iterator[Part]:
    """Measure the parts asked for."""
    torch.set_num_threads(1)
    network = from_spec(weights)
    assert isinstance(network, ew.AutoPhaseNN)
    settings = replace(TRAINING, oversampling=network.oversampling)
    size = {"grid_px": network.grid_px, "photons": PHOTONS, "seed": SEED}

    @cache
    def cases(count: int = crystals) -> list[Case]:
        return [_on(case, device) for case in made_cases(count, settings=settings, **size)]

    def compared() -> list[Row]:
        """Unseen crystals like those trained on; as_good_as_600 is the share whose chi2 is no larger than after 600 iterations."""
        return tabled(methods(network), cases())

    def course() -> list[Row]:
        """chi2 of the iterate against iteration."""
        ways = {"600 iterations": _flat(iterations()), "network + 50 er": ew.chain(network, polish())}
        return courses(ways, cases()[:20])

    def sampling() -> list[Row]:
        """The same network where crystals are larger or smaller in the frame."""
        rows: list[Row] = []
        for least, most in ((2.5, 2.75), (2.75, 3.0), (3.0, 3.5), (3.5, 4.0)):
            drawn = made_cases(max(crystals // 4, 4), settings=replace(settings, oversampling=(least, most)), **size)
            chosen = [_on(case, device) for case in drawn]
            ways = {name: methods(network)[name] for name in ("network", "network + 50 er", "600 iterations")}
            rows += [{"oversampling": f"{least:g}-{most:g}", **row} for row in tabled(ways, chosen)]
        return rows

    def six_circle() -> list[Row]:
        """Rocking curves in the geometry of 34-ID-C, read and posed like measured ones."""
        chosen = [_on(case, device) for case in six_circle_cases(max(crystals // 4, 4), **size)]
        ways = {name: methods(network)[name] for name in ("network", "network + 50 er", "600 iterations")}
        return tabled(ways, chosen)

    def tuned() -> list[Row]:
        """Crystals of another kind (smaller, rounder, more strained), before and after training further on ten of them."""
        drawn = made_cases(max(crystals // 4, 4), settings=SHIFTED, **size)
        return tuned_rows(network, [_on(case, device) for case in drawn], tuning, device)

    if picture is not None:
        figure(network, cases(min(crystals, 40)), picture)
    known = {study.__name__: study for study in (compared, course, sampling, six_circle, tuned)}
    yield from measured(known, parts)


def _on(case: Case, device: str) -> Case:
    if device == "cpu":
        return case
    moved = {
        name: getattr(case.problem, name).to(device) for name in ("amplitudes", "trusted", "held_out", "first_support")
    }
    return Case(replace(case.problem, device=torch.device(device), **moved), case.truth)


def _flat(recipe: ew.CDI) -> ew.Solver[Any]:
    """The single methods of a recipe, whose steps are their own iterates."""
    return recipe.recipe.member
