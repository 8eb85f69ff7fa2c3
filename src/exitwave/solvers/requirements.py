"""Requirements on a method: what of the physics it cannot honour is refused by name."""

from collections.abc import Mapping, Sequence
from typing import Any

from exitwave.data.errors import InputError
from exitwave.data.estimate import Estimate
from exitwave.data.measurement import Measurement
from exitwave.problems.base import Problem
from exitwave.solvers.base import Solver
from exitwave.solvers.registry import solvers

PHYSICS: Mapping[str, str] = {
    "modes": "several incoherent modes of the probe",
    "positions": "positions refined between epochs",
    "variations": "a probe that varies from frame to frame",
    "brightness": "a beam whose intensity varies from frame to frame",
    "background": "photons that did not come through the sample's window",
    "slices": "thick samples of several slices",
    "exposure": "fly scans",
    "noise": "another noise model than that of amplitudes",
}
"""What may be unknown or different beyond a thin object, one probe and known positions; what a method cannot do, it names."""


def require_solved(solver: Solver[Any], given: Measurement | Problem[Any]) -> None:
    """Refuse, by name, methods for another kind of measurement, before any frame is read; or of problem that is posed."""

    def suits(cls: type[Solver[Any]]) -> bool:
        return isinstance(given, cls.solves if isinstance(given, Problem) else cls.solves.all_measures())

    for part in solver.parts():
        if not suits(type(part)):
            name = f"{part.name} ({', '.join(sorted(part.adds))})" if part.adds else part.name
            able = [name for name, cls in _single_methods() if suits(cls)]
            raise InputError(
                f"{name} is for {part.solves.title}, but this is {given.title}; {_listed(able)} can reconstruct it"
            )


def require_supported(solver: Solver[Any], problem: Problem[Any], start: Estimate) -> None:
    """Refuse, by name, physics that the start or the solver brings along and that one of its methods cannot honour."""
    for part, wanted in solver.requirements(problem.features(start)):
        missing = [name for name in PHYSICS if name in wanted & part.unsupported]
        if missing:
            able = [
                name
                for name, cls in _single_methods()
                if not wanted & cls.unsupported and isinstance(problem, cls.solves)
            ]
            raise InputError(
                f"{part.name} cannot reconstruct with {' and '.join(missing)} ({'; '.join(PHYSICS[m] for m in missing)}); "
                f"{_listed(able)} can"
            )


def _single_methods() -> list[tuple[str, type[Solver[Any]]]]:
    return sorted((name, cls) for name, cls in solvers().items() if not cls.combines)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "no method here"
