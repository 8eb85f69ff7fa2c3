"""A verdict in the terminal."""

from exitwave.data.verdict import Verdict


def verdict_text(verdict: Verdict) -> str:
    """The grade, why, and what to do next; one line each."""
    lines = [f"verdict: {verdict.grade}"]
    lines += [f"  - {reason}" for reason in verdict.reasons]
    lines += [f"  {'next:' if number == 0 else '     '} {step}" for number, step in enumerate(verdict.advice)]
    return "\n".join(lines)
