"""Estimates of all frames of a scan, where an examination left some of them out."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import torch

from exitwave.data.estimate import Estimate, PtychoEstimate
from exitwave.data.finding import FRAMES_BEFORE, LEFT_OUT

E = TypeVar("E", bound=Estimate | None)


def of_frames_left(estimate: E, provenance: Mapping[str, Any]) -> E:
    """An estimate of all frames as one of those that the examination of a scan has left, by the scan's provenance.

    One that has another number of frames, or of another kind, is returned as it is.
    """
    left_out = cast("list[int]", provenance.get(LEFT_OUT, []))
    if not left_out or not isinstance(estimate, PtychoEstimate) or max(left_out) >= len(estimate.positions_px):
        return estimate
    if len(estimate.positions_px) != provenance.get(FRAMES_BEFORE):
        return estimate
    stay = torch.ones(len(estimate.positions_px), dtype=torch.bool)
    stay[left_out] = False
    return cast(E, estimate.some(stay.nonzero().flatten()))
