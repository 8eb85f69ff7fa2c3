"""Which evidence speaks for or against an image, by kind of problem."""

from collections.abc import Mapping
from functools import singledispatch
from typing import Any

from torch import Tensor

from exitwave.data.result import Result
from exitwave.data.verdict import Verdict
from exitwave.problems.base import Problem


@singledispatch
def verdict_of(problem: Problem[Any], result: Result, state: Mapping[str, Tensor]) -> Verdict | None:
    """How far a finished result may be believed, from data and estimate alone; None for kinds of problem without a rule.

    `state` is what the solver held beside the estimate at its end, such as what other starts have found. Deterministic.
    Register the rule of a kind of your own with `verdict_of.register`.
    """
    return None
