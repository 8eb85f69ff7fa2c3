"""What two halves of a scan add to a verdict, when they were reconstructed."""

from collections.abc import Mapping
from dataclasses import replace

from exitwave.data.verdict import Verdict, worst

UNLIKE, COARSE = 0.7, 0.2
"""M-NRMSE-split from which on, and resolution (fraction of Nyquist, half-bit) up to which halves have next to nothing in
common: slow phase alone may differ. They may fail where the whole succeeds, as each has half the overlap: that is doubtful,
not failed."""


def with_halves(verdict: Verdict | None, metrics: Mapping[str, float]) -> Verdict | None:
    """The verdict with what the halves say; as it is where they were not compared."""
    difference = metrics.get("M-NRMSE-split")
    if verdict is None or difference is None:
        return verdict
    resolution = metrics.get("FRC-half-bit-split", 0.0)
    evidence = {**verdict.evidence, "halves-difference": difference, "halves-resolution": resolution}
    if not (difference > UNLIKE and resolution < COARSE):
        reason = (
            f"two halves of the frames make images that agree to {resolution:.2g} of Nyquist and differ by {difference:.2g} of "
            "what varies in them"
        )
        return replace(verdict, reasons=(*verdict.reasons, reason), evidence=evidence)
    return Verdict(
        grade=worst([verdict.grade, "doubtful"]),
        reasons=(
            f"two halves of the frames make images that have next to nothing in common (difference {difference:.2g} of what "
            "varies in them)",
            *verdict.reasons,
        ),
        advice=(
            *verdict.advice,
            "look at the halves: where they differ the image is not settled; scan with more overlap",
        ),
        evidence=evidence,
    )
