"""Requirements on a method: what of the physics it cannot honour is refused by name."""

from collections.abc import Mapping
from typing import Any

from exitwave.data.errors import InputError
from exitwave.data.estimate import Estimate, PtychoEstimate
from exitwave.problems.ptychography import Problem
from exitwave.solvers.base import Solver
from exitwave.solvers.registry import COMBINED, solvers

PHYSICS: Mapping[str, str] = {
    "modes": "several incoherent modes of the probe",
    "positions": "positions refined between epochs",
    "variations": "a probe that varies from frame to frame",
    "brightness": "a beam whose intensity varies from frame to frame",
    "background": "photons that did not come through the sample's window",
    "slices": "thick samples of several slices",
    "exposure": "fly scans",
}
"""What may be unknown or different beyond a thin object, one probe and known positions; what a method cannot do, it names."""


def require_supported(solver: Solver[Any], problem: Problem, start: Estimate) -> None:
    """Refuse, by name, physics that the start or the solver brings along and that one of its methods cannot honour."""
    given = frozenset(_present(start)) | ({"exposure"} if problem.model.exposure_px is not None else set[str]())
    for part, wanted in solver.requirements(given):
        missing = [name for name in PHYSICS if name in wanted & part.unsupported]
        if missing:
            able = sorted(
                name
                for name, cls in solvers().items()
                if not wanted & cls.unsupported and not cls.one_pattern and name not in COMBINED
            )
            raise InputError(
                f"{part.name} cannot reconstruct with {' and '.join(missing)} ({'; '.join(PHYSICS[m] for m in missing)}); "
                f"{', '.join(able)} can"
            )


def _present(x: Estimate) -> set[str]:
    found = {"slices"} if len(x.object) > 1 else set[str]()
    if isinstance(x, PtychoEstimate):
        found |= {"modes"} if len(x.probe) > 1 else set()
        found |= {name for name in ("variations", "brightness", "background") if getattr(x, name) is not None}
    return found
