"""Which of several reconstructions of one scan is best, and what decides it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from exitwave.data.verdict import GRADES
from exitwave.evaluation.comparison import Comparison, ComparisonEntry, value
from exitwave.evaluation.meaning import meaning_of

ALIKE = 0.02
"""Values that differ by less than this share are as good as each other."""
VERDICT, SECONDS = "verdict", "seconds"
"""What decides beside metrics: the grade of the verdict, and the solver's time."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The best entry of a comparison, and the next best by what decided."""

    best: ComparisonEntry
    decided_by: str
    """Id of a metric, `verdict`, or `seconds` where all else is alike; empty where it is the only image."""
    runner_up: ComparisonEntry | None = None


def ranking(found: Comparison) -> Ranking | None:
    """The best image of a comparison; None where there is none.

    Where the truth is known the error of the object decides. Without it, among the images with the best verdict, the free
    residual (the residual, where not all have one), then the resolution between halves, then the time taken.
    """
    left = [entry for entry in found.entries if entry.evaluation is not None]
    if len(left) < 2:
        return Ranking(best=left[0], decided_by="") if left else None
    criterion = ""
    for criterion in _criteria(left, known=found.truth is not None):
        left = sorted(left, key=lambda entry: _badness(entry, criterion))
        least = _badness(left[0], criterion)
        alike = [entry for entry in left if _badness(entry, criterion) <= least + ALIKE * abs(least)]
        if len(alike) == 1:
            break
        left = alike
    return Ranking(best=left[0], decided_by=criterion, runner_up=left[1])


def _criteria(entries: Sequence[ComparisonEntry], *, known: bool) -> Iterator[str]:
    def told(metric: str) -> bool:
        return not any(math.isnan(value(entry, metric)) for entry in entries)

    if known and told("M-NRMSE"):
        yield "M-NRMSE"
    else:
        yield VERDICT
        yield "free-residual" if told("free-residual") else "residual"
        yield from ("FRC-half-bit-split",) * told("FRC-half-bit-split")
    yield SECONDS


def _badness(entry: ComparisonEntry, criterion: str) -> float:
    """A figure that is the lower the better; what is not known counts as worst."""
    if criterion == VERDICT:
        verdict = None if entry.result is None else entry.result.verdict
        # Results of 0.1.0 have none: nobody asked whether they may be believed.
        return float(GRADES.index("doubtful" if verdict is None else verdict.grade))
    found = entry.seconds if criterion == SECONDS else value(entry, criterion)
    if math.isnan(found):
        return math.inf
    return -found if criterion != SECONDS and meaning_of(criterion).higher_is_better else found
