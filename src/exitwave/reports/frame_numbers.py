"""Numbers of frames as the user counts them: in the scan as it was read and prepared, before any were left out."""

from collections.abc import Mapping
from typing import Any, cast

from exitwave.data.finding import FRAMES_BEFORE, LEFT_OUT
from exitwave.data.result import Result
from exitwave.problems.outliers import Outliers


def frame_numbers(result: Result) -> list[int]:
    """Of each frame of the result its number in the scan, counted from 0, frames left out before the run included."""
    count = 0 if result.frame_residual is None else len(result.frame_residual)
    outliers = Outliers.stored(result.provenance)
    scan = cast("Mapping[str, Any]", result.provenance.get("scan", {}))
    healthy = _remaining(count + len(outliers.frames), outliers.frames)
    left_out = [int(frame) for frame in scan.get(LEFT_OUT, ())]
    before = int(scan.get(FRAMES_BEFORE, len(healthy) + len(outliers.frames)))
    numbers = _remaining(before, left_out)
    # A provenance that was edited, or written by other hands, may not add up.
    return [numbers[frame] for frame in healthy] if healthy and max(healthy) < len(numbers) else list(range(count))


def _remaining(count: int, left_out: tuple[int, ...] | list[int]) -> list[int]:
    gone = set(left_out)
    return [frame for frame in range(count) if frame not in gone]
