"""What each figure of merit is called, what it means, in which unit it is and which way is better."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from exitwave.evaluation.metrics import METRICS, Group, Metric, Unit

GROUPS: Mapping[Group, str] = MappingProxyType(
    {
        "fit": "Fit to the measured frames",
        "resolution": "Resolution, between two halves of the frames",
        "starts": "Agreement of reconstructions from other starts",
        "truth": "Against the truth",
        "further": "Further definitions, each as published under its id",
    }
)
"""Headings, in the order in which figures are told."""


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What is to be known of a figure to read it."""

    title: str
    text: str
    unit: Unit = ""
    group: Group = "further"
    higher_is_better: bool = False


def _rings(threshold: str) -> dict[str, Meaning]:
    """Where ring correlations fall below a threshold, with the truth and between halves."""
    known = threshold == "half-bit"
    against: tuple[tuple[str, str, Group], ...] = (
        ("", "against the truth", "truth"),
        ("-split", "between halves", "resolution"),
    )
    return {
        f"FRC-{threshold}{suffix}": Meaning(
            title="Resolution",
            text=f"half period, {threshold} criterion of the Fourier rings, {words}",
            unit="nyquist",
            group=group if known else "further",
            higher_is_better=True,
        )
        for suffix, words, group in against
    }


def _shells(threshold: str) -> dict[str, Meaning]:
    """The same of crystals, in shells that are round in the laboratory."""
    known = threshold == "half-bit"
    against: tuple[tuple[str, str, Group], ...] = (
        ("", "against the truth", "truth"),
        ("-starts", "between reconstructions from other starts", "starts"),
    )
    return {
        f"FSC-{threshold}{suffix}": Meaning(
            title="Resolution",
            text=f"half period, {threshold} criterion of Fourier shells in the laboratory, {words}",
            unit="nyquist",
            group=group if known else "further",
            higher_is_better=True,
        )
        for suffix, words, group in against
    }


OWN: Mapping[str, Meaning] = MappingProxyType(
    {
        "residual": Meaning(
            title="Residual", text="squared relative residual of amplitudes, all frames; 0 is perfect", group="fit"
        ),
        "free-residual": Meaning(
            title="Free residual", text="the same residual on pixels that the solver never saw", group="fit"
        ),
        **_rings("half-bit"),
        **_rings("one-bit"),
        **_rings("0.5"),
        **_rings("1/7"),
        **_shells("half-bit"),
        **_shells("one-bit"),
        **_shells("0.5"),
        **_shells("1/7"),
        "PRTF-1/e": Meaning(
            title="Phases agree",
            text="to this half period: the phase retrieval transfer function falls below 1/e",
            unit="nyquist",
            group="starts",
            higher_is_better=True,
        ),
        "amplitude-correlation": Meaning(
            title="Amplitude",
            text="correlation in the box around the true crystal",
            group="truth",
            higher_is_better=True,
        ),
        "amplitude-correlation-starts": Meaning(
            title="Amplitude",
            text="correlation in the box around the crystal; 1 where starts agree",
            group="starts",
            higher_is_better=True,
        ),
        "support-IoU": Meaning(
            title="Support", text="overlap with the true one over their union", group="truth", higher_is_better=True
        ),
        "phase-error": Meaning(
            title="Error of the phase",
            text="mean on the true support, rad, its offset and slope taken off",
            group="truth",
        ),
        "strain-error": Meaning(
            title="Error of the strain", text="root mean square along Q", unit="share", group="truth"
        ),
        "strain-error-starts": Meaning(
            title="Difference of the strain", text="root mean square along Q", unit="share", group="starts"
        ),
        "M-NRMSE-split": Meaning(
            title="Difference of halves",
            text="share of what varies in the image; 0 % where halves agree, 100 % where nothing does",
            unit="share",
            group="resolution",
        ),
        "M-NRMSE-split-whole": Meaning(
            title="Difference of halves",
            text="share of the whole transmission, its mean included",
            unit="share",
        ),
        "M-NRMSE-probe": Meaning(
            title="Error of the probe",
            text="relative complex error, after the shift and ramp that the object needed",
            unit="share",
            group="truth",
        ),
        "position-error": Meaning(
            title="Error of positions", text="root mean square over frames, in object pixels", unit="px", group="truth"
        ),
        "position-error-median": Meaning(
            title="Error of positions", text="of the frame in the middle, in object pixels", unit="px"
        ),
        "NRMSE-low": Meaning(
            title="Error of slow phase",
            text="relative error of detail coarser than 0.1 of Nyquist",
            unit="share",
            group="truth",
        ),
        "NRMSE-mid": Meaning(
            title="Error of detail",
            text="relative error of detail from 0.1 to 0.32 of Nyquist",
            unit="share",
            group="truth",
        ),
        "NRMSE-high": Meaning(
            title="Error of fine detail",
            text="relative error of detail finer than 0.32 of Nyquist",
            unit="share",
            group="truth",
        ),
    }
)
"""Figures that are no function of two images alone, and those of which more is to be said than their line in `METRICS` does."""


def meaning_of(metric: str) -> Meaning:
    """The meaning of the figure of this id; of one in parts (-amplitude, -phase, a band) that of the whole."""
    if metric in OWN:
        return OWN[metric]
    known = [key for key in METRICS if metric == key or metric.startswith(f"{key}-")]
    if not known:
        return Meaning(title=metric, text="")
    return _declared(metric, max(known, key=len))


def _declared(metric: str, name: str) -> Meaning:
    entry: Metric = METRICS[name]
    return Meaning(
        title=f"{entry.title}{metric.removeprefix(name).replace('-', ', ', 1)}" if entry.title else metric,
        text=entry.description,
        unit=entry.unit,
        group=entry.group,
        higher_is_better=entry.higher_is_better,
    )
