"""The course of an examination: positions, pixels, frames, beam, regime, one after another on what was cured so far."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.finding import Finding
from exitwave.data.measurement import Measurement
from exitwave.data.statistics import ScanStatistics, scan_statistics

EXAMINED = "examination"
"""Where the provenance of a measurement keeps what was found in it: it is examined once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Examination:
    """A measurement that was examined, and what was found."""

    measurement: Measurement
    """With everything cured that has one safe cure; its provenance holds the findings."""
    findings: tuple[Finding, ...]
    statistics: ScanStatistics
    """Of the frames of the cured measurement."""

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """Findings that stop a run."""
        return tuple(found for found in self.findings if found.action == "refused")


@dataclass(frozen=True, kw_only=True, eq=False)
class Specimens:
    """Some frames of a measurement, evenly chosen, for examinations that need to look at whole frames; untouched by the mask."""

    numbers: Int[Tensor, " few"]
    frames: Float[Tensor, "few y x"]


def examine(
    measurement: Measurement,
    *,
    drop_frames: tuple[int, ...] = (),
    keep_frames: tuple[int, ...] = (),
    most_frames: int | None = None,
    as_is: bool = False,
) -> Examination:
    """Examine a measurement and cure what has one safe cure.

    `drop_frames` are left out whatever they look like, `keep_frames` stay; numbers from 0. Frames are read once, at most
    `most_frames` of them, evenly chosen, when that is given. A measurement that was examined already, or is to be taken `as_is`, is
    returned as it is, without the frames to drop.     Raises InputError for frame numbers that are not there.
    """
    statistics = scan_statistics(measurement, most_frames=most_frames)
    if as_is or EXAMINED in measurement.provenance:
        return Examination(measurement=measurement, findings=findings_of(measurement.provenance), statistics=statistics)
    findings: list[Finding] = []
    told = [found.to_json() for found in findings]
    examined = replace(measurement, provenance={**measurement.provenance, EXAMINED: told})
    return Examination(measurement=examined, findings=tuple(findings), statistics=statistics)


def specimens(measurement: Measurement, count: int = 32) -> Specimens:
    """At most `count` frames, evenly chosen."""
    chosen = torch.linspace(0, len(measurement) - 1, min(count, len(measurement))).round().to(torch.int64)
    return Specimens(numbers=chosen, frames=measurement.frames(chosen))


def findings_of(provenance: Mapping[str, Any]) -> tuple[Finding, ...]:
    """The findings that a provenance keeps, of a measurement or a result."""
    return tuple(map(Finding.from_json, cast("list[Mapping[str, Any]]", provenance.get(EXAMINED, []))))
