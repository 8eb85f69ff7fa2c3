"""What single pieces of evidence say, and the verdict that they make together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exitwave.data.verdict import GRADES, Grade, Verdict, worst


@dataclass(frozen=True, kw_only=True)
class Says:
    """One thing that the evidence says of an image."""

    grade: Grade
    reason: str
    """What was found, in one sentence."""
    advice: tuple[str, ...] = ()
    """What to do about it, the likeliest cure first."""


def verdict(said: Iterable[Says], evidence: Mapping[str, float]) -> Verdict:
    """The worst of what was said is the grade; the gravest reasons come first, with what to do about them."""
    ordered = sorted(said, key=lambda one: -GRADES.index(one.grade))
    grade = worst([one.grade for one in ordered])
    # Of a sound image nothing need be done, and of another one first what is wrong with it.
    advice = dict.fromkeys(step for one in ordered for step in one.advice)
    return Verdict(
        grade=grade,
        reasons=tuple(dict.fromkeys(one.reason for one in ordered)),
        advice=tuple(advice),
        # The digits behind are those of rounding, which the place of an array in memory decides.
        evidence={name: float(f"{value:.5g}") for name, value in evidence.items()},
    )
