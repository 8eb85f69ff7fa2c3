"""Run several solvers on one scan from the same start, one after the other, and judge what each found."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, cast

from jaxtyping import Complex
from torch import Tensor

from exitwave.data.errors import ExitwaveError, InputError, did_you_mean
from exitwave.data.estimate import Estimate
from exitwave.data.measurement import Measurement
from exitwave.data.result import Result
from exitwave.evaluation.comparison import Comparison, ComparisonEntry, require_same_frames
from exitwave.evaluation.evaluate import evaluate
from exitwave.evaluation.evaluation import Evaluation, merge_evaluations
from exitwave.evaluation.ptychography import compare_halves
from exitwave.io.files import read_result
from exitwave.io.given import (
    GivenEstimate,
    GivenMeasurement,
    GivenProbe,
    given_estimate,
    given_measurement,
    given_probe,
)
from exitwave.io.network_paths import names_network, short_name
from exitwave.problems.base import Problem
from exitwave.problems.examination import of_frames_left
from exitwave.problems.outliers import Outliers
from exitwave.problems.setup import Setup
from exitwave.running.examined import examined
from exitwave.running.job import read_yaml, setup_of, solver_of
from exitwave.running.progress import progress_of
from exitwave.running.reconstruct import reconstruct, scan_provenance
from exitwave.running.right_call import showing_the_right_call
from exitwave.running.split_half import reconstruct_halves
from exitwave.running.stopping import Stop
from exitwave.solvers.base import Solver, Step
from exitwave.solvers.neural.network_solver import NetworkSolver
from exitwave.solvers.refined import Refined
from exitwave.solvers.registry import solvers as known_solvers
from exitwave.solvers.spec import from_spec, given_solver, resolve_paths, to_spec


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A solver that takes part with options of its own, such as more modes than the others have."""

    solver: Solver[Any]
    setup: Setup = field(default_factory=Setup)
    own: tuple[str, ...] = ()
    """Names of the options of `setup` that count; the others are as for all."""
    stop: Stop | None = None
    """When to end before the solver does."""

    def __post_init__(self) -> None:
        if shared := sorted(
            {"drop_frames", "keep_frames", "as_is", "same_object", "noise_threshold", "keep_aliens"} & set(self.own)
        ):
            raise InputError(f"{', '.join(shared)} must be the same for all that are compared; give it once, for all")

    def among(self, setup: Setup) -> Setup:
        """Its setup, where that of all is this."""
        return replace(setup, **{name: getattr(self.setup, name) for name in self.own})


Candidate = Solver[Any] | type[Solver[Any]] | Contestant | Result | Mapping[str, Any] | str | Path
"""A solver, perhaps with options of its own, its class, name or spec, a trained network's folder or file, a YAML file that describes
one (a job or a spec alone), a finished result or its file."""
Chosen = Solver[Any] | Contestant | Result
Watch = Callable[[str, Step[Any], Problem[Any]], None]
FREE_FRACTION = 0.05
"""Of the pixels, held out where nothing else is said."""


@showing_the_right_call
def compare(
    measurement: GivenMeasurement,
    solvers: Sequence[Candidate] | Mapping[str, Candidate],
    *,
    truth: Estimate | None = None,
    start: GivenEstimate | None = None,
    probe: GivenProbe | None = None,
    setup: Setup | None = None,
    split_half: bool = False,
    watch: Watch | None = None,
    progress: bool = True,
) -> Comparison:
    """Run solvers on one measurement, one after the other, all from the same start, and judge each by the same figures.

    `solvers` are solvers, names, specs, trained networks, YAML files with one, or finished results and their files; a
    mapping names them. `with_epochs` gives one another number of epochs. `setup` is that of all; where it is left out, a
    twentieth of the pixels is held out from all, for the free residual. `split_half` reconstructs halves of the frames, too.
    `watch` sees every step; without it, and unless `progress` is False, terminals and notebooks show a bar for each solver.
    A solver that refuses or diverges gets an entry with a remark; Ctrl-C keeps what there is. Raises
    InputError for what can be refused before the first run.
    """
    chosen, setup = candidates(solvers), setup or Setup(free_fraction=FREE_FRACTION)
    measurement, wave = examined(given_measurement(measurement), setup), given_probe(probe)
    begin, truth = (of_frames_left(each, measurement.provenance) for each in (given_estimate(start), truth))
    if truth is not None:
        require_same_frames(truth, measurement, "the truth", "give the truth of the scan as it is prepared")
    for name, candidate in chosen:
        if isinstance(candidate, Result):
            advice = "compare results of one scan, prepared alike"
            seen = Outliers.stored(candidate.provenance).without(measurement)
            require_same_frames(candidate.estimate, seen, f"the result {name}", advice)

    totals = {name: each.total_epochs for name, each in chosen if isinstance(each, Solver)}
    with progress_of(totals, wanted=progress and watch is None) as show:
        common = _Contest(measurement, truth, begin, wave, setup, split_half, watch or show)
        entries, interrupted = common.entries(chosen)
    return Comparison(
        entries=entries,
        truth=truth,
        interrupted=interrupted,
        provenance={
            **scan_provenance(measurement.provenance),
            "frames": len(measurement),
            "seed": setup.seed,
            "modes": setup.modes,
            "free_fraction": setup.free_fraction,
        },
    )


def candidates(given: Sequence[Candidate] | Mapping[str, Candidate]) -> list[tuple[str, Chosen]]:
    """Every solver or result by a name of its own. Raises InputError or FormatError for what is neither."""
    if isinstance(given, Mapping):
        return [(name, _candidate(each)[1]) for name, each in given.items()]
    if not given:
        raise InputError("nothing to compare; name at least one solver or result file")
    found = [_candidate(each) for each in given]
    named: list[tuple[str, Chosen]] = []
    for name, contestant in found:
        same = [other for label, other in found if label == name]
        label = name + (_difference(contestant, same) if len(same) > 1 else "")
        taken = sum(1 for other, _ in named if other == label or other.startswith(f"{label} #"))
        named.append((f"{label} #{taken + 1}" if taken else label, contestant))
    return named


def _candidate(given: Candidate) -> tuple[str, Chosen]:
    match given:
        case Solver():
            return given.name, given
        case Contestant():
            return given.solver.name, given
        case Result():
            return f"{given.spec.get('name', 'result')} (given)", given
        case str() if given in known_solvers():
            return given, from_spec(given)
        case type():
            return given.name, given_solver(given)
        case str() | Path():
            return _from_file(given)
        case _:
            solver = from_spec(given)
            return solver.name, solver


def _from_file(given: str | Path) -> tuple[str, Chosen]:
    path = Path(given)
    if path.suffix.lower() in (".yaml", ".yml"):
        return path.stem, _solver_in(path)
    if path.is_dir() or names_network(given):
        # As it was written: ./general is another than general.
        return short_name(str(path)), from_spec(given if isinstance(given, str) else str(path.absolute()))
    if not path.exists():
        names = sorted(known_solvers())
        raise InputError(
            f"{path} is neither a solver nor a file{did_you_mean(str(path), names)}; solvers are {', '.join(names)}; files are "
            "YAML jobs, results (.h5) and trained networks"
        )
    return path.stem, read_result(path)


def _solver_in(path: Path) -> Solver[Any] | Contestant:
    """The solver of a YAML file: of a job, with what the job wants refined or kept around it and its setup, or standing alone."""
    content = read_yaml(path)
    if not isinstance(content, dict) or "solver" not in content or "name" in content:
        return from_spec(resolve_paths(content, path.parent))
    described = cast("dict[str, Any]", content)
    solver, (setup, own) = solver_of(described, str(path), path.parent), setup_of(described, str(path))
    return Contestant(solver=solver, setup=setup, own=own) if own else solver


def _spec(contestant: Chosen) -> dict[str, Any]:
    match contestant:
        case Result():
            return dict(contestant.spec)
        case Contestant():
            return to_spec(contestant.solver) | {name: getattr(contestant.setup, name) for name in contestant.own}
        case _:
            return to_spec(contestant)


def _difference(contestant: Chosen, same: Sequence[Chosen]) -> str:
    """The options by which one of several solvers of the same name differs from the others: " (alpha 0.1)"."""
    specs, own = [_spec(each) for each in same], _spec(contestant)
    parts = [f"{key} {value}" for key, value in own.items() if any(spec.get(key) != value for spec in specs)]
    told = ", ".join(parts)
    return f" ({told})" if told and len(told) < 60 else ""


def with_epochs(contestant: Chosen, epochs: int | None) -> Chosen:
    """The solver with another number of epochs, where it or the one that it refines has such an option."""
    if epochs is None or isinstance(contestant, Result):
        return contestant
    if isinstance(contestant, Contestant):
        return replace(contestant, solver=_solver_with_epochs(contestant.solver, epochs))
    return _solver_with_epochs(contestant, epochs)


def _solver_with_epochs(solver: Solver[Any], epochs: int) -> Solver[Any]:
    if isinstance(solver, Refined):
        return replace(solver, solver=_solver_with_epochs(solver.solver, epochs))
    if isinstance(solver, NetworkSolver) and solver.weights is not None:
        # Its epochs are those that it was trained with.
        return solver
    if "epochs" not in [option.name for option in fields(cast(Any, solver))]:
        return solver
    return from_spec({**to_spec(solver), "epochs": epochs})


class _Clock:
    """Notes when each epoch ended, and passes steps on."""

    def __init__(self, name: str, watch: Watch | None) -> None:
        self.name, self.watch = name, watch
        self.ends: list[float] = []

    def __call__(self, step: Step[Any], problem: Problem[Any]) -> None:
        self.ends.append(time.perf_counter())
        if self.watch:
            self.watch(self.name, step, problem)

    def since_start(self, total: float) -> tuple[float, ...]:
        """Seconds from the solver's start to the end of each epoch, when all took `total`."""
        return tuple(end - self.ends[-1] + total for end in self.ends)


@dataclass(frozen=True, eq=False)
class _Contest:
    """What all that are compared have in common."""

    measurement: Measurement
    truth: Estimate | None
    start: Estimate | None
    probe: Complex[Tensor, "mode y x"] | None
    setup: Setup
    split_half: bool
    watch: Watch | None

    def entries(self, chosen: Sequence[tuple[str, Chosen]]) -> tuple[tuple[ComparisonEntry, ...], bool]:
        """One entry after another, and whether Ctrl-C ended it."""
        entries: list[ComparisonEntry] = []
        for name, contestant in chosen:
            try:
                entries.append(self._judged(name, contestant))
            except KeyboardInterrupt:
                return tuple(entries), True
            except Exception as error:
                # Whatever one solver does, also one of another package, the others still run.
                entries.append(ComparisonEntry(name=name, remark=_sentence(error)))
            if entries[-1].remark.startswith("interrupted"):
                return tuple(entries), True
        return tuple(entries), False

    def _judged(self, name: str, contestant: Chosen) -> ComparisonEntry:
        clock = _Clock(name, self.watch)
        how = contestant if isinstance(contestant, Contestant) else None
        setup = self.setup if how is None else how.among(self.setup)
        if isinstance(contestant, Result):
            result = contestant
        else:
            solver, stop = (
                (contestant, None) if isinstance(contestant, Solver) else (contestant.solver, contestant.stop)
            )
            start, probe = self.start, self.probe
            result = reconstruct(
                self.measurement, solver, start=start, probe=probe, setup=setup, stop=stop, watch=clock
            )
        ending = str(result.provenance.get("ending", "finished"))
        remark = ending if ending.startswith(("diverged", "interrupted")) else ""
        times = clock.since_start(float(result.provenance.get("solver_seconds", float("nan")))) if clock.ends else ()
        entry = ComparisonEntry(name=name, result=result, times_s=times, remark=remark, evaluation=evaluate(result))
        try:
            entry = replace(entry, evaluation=evaluate(result, truth=self.truth))
            if self.split_half and entry.evaluation and not remark:
                entry = replace(
                    entry, evaluation=merge_evaluations(entry.evaluation, self._halves(name, result, setup))
                )
        except ExitwaveError as error:
            return replace(entry, remark=remark or _sentence(error))
        except KeyboardInterrupt:
            return replace(entry, remark="interrupted while its halves were reconstructed")
        return entry

    def _halves(self, name: str, result: Result, setup: Setup) -> Evaluation:
        solver, alike = from_spec(result.spec), replace(setup, seed=int(result.provenance.get("seed", 0)))
        watch = _Clock(f"{name}, half of the frames", self.watch)
        halves = reconstruct_halves(self.measurement, solver, result, probe=self.probe, setup=alike, watch=watch)
        return compare_halves(halves[0].estimate, halves[1].estimate, pixel=result.object_pixel_m)


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, ExitwaveError) else f"failed with {type(error).__name__}: {text}"
