"""How far an image may be believed, said without knowing the truth: a grade, why, and what to do next."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from exitwave.data.errors import FormatError

Grade = Literal["sound", "doubtful", "failed"]
"""sound: what could be tested holds; doubtful: something contradicts the image; failed: no image of the sample."""
GRADES: tuple[Grade, ...] = get_args(Grade)
"""From the best to the worst."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the data themselves say of a finished reconstruction, and what follows from it."""

    grade: Grade
    reasons: tuple[str, ...] = ()
    """What was found, one sentence each, the gravest first."""
    advice: tuple[str, ...] = ()
    """What to do next, one sentence each, the likeliest cure first."""
    evidence: Mapping[str, float] = field(default_factory=dict[str, float])
    """The figures behind it, by their ids (docs: Verdict); finite numbers only."""

    def to_json(self) -> dict[str, Any]:
        """Plain names and numbers."""
        return {
            "grade": self.grade,
            "reasons": list(self.reasons),
            "advice": list(self.advice),
            "evidence": {name: value for name, value in self.evidence.items() if math.isfinite(value)},
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Verdict":
        """The verdict of what `to_json` gave. Raises FormatError for anything else."""
        grade, reasons, advice, evidence = (stored.get(key) for key in ("grade", "reasons", "advice", "evidence"))
        if grade not in GRADES or not _texts(reasons) or not _texts(advice) or not isinstance(evidence, Mapping):
            raise FormatError(
                f"the verdict {dict(stored)} is none: expected a grade of {', '.join(GRADES)} and reasons"
            )
        numbers = {str(name): float(value) for name, value in evidence.items() if isinstance(value, int | float)}
        return cls(grade=grade, reasons=tuple(reasons or ()), advice=tuple(advice or ()), evidence=numbers)


def worst(grades: Sequence[Grade]) -> Grade:
    """The worst of several grades; sound where there is none."""
    found: Grade = "sound"
    for grade in grades:
        found = grade if GRADES.index(grade) > GRADES.index(found) else found
    return found


def _texts(values: Any) -> bool:
    return values is None or (isinstance(values, list | tuple) and all(isinstance(value, str) for value in values))
