"""The verdict on a finished result, whatever its kind."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from exitwave.data.result import Result
from exitwave.data.verdict import Verdict

# Imported for the kinds of problem that they have rules for.
from exitwave.evaluation.verdict import cdi as cdi, crystal as crystal, ptychography as ptychography
from exitwave.evaluation.verdict.kinds import verdict_of
from exitwave.problems.base import Problem


def judged(problem: Problem[Any], result: Result, state: Mapping[str, Tensor]) -> Result:
    """The result with its verdict, from data and estimate alone; what diverged has failed. See `kinds.verdict_of`."""
    try:
        found = verdict_of(problem, result, state)
    except KeyboardInterrupt:
        # The image is worth more than what is said of it.
        return result
    ending = str(result.provenance.get("ending", ""))
    if ending.startswith("diverged"):
        what, _, advice = ending.partition("; ")
        found = _with_failure(found, f"the run {what}", advice)
    return replace(result, verdict=found)


def _with_failure(found: Verdict | None, reason: str, advice: str) -> Verdict:
    found = found or Verdict(grade="failed")
    return replace(found, grade="failed", reasons=(reason, *found.reasons), advice=(advice, *found.advice))
