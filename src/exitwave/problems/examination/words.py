"""Numbers of frames and pixels in words."""

from collections.abc import Sequence

MOST_RUNS = 6
"""Runs of frame numbers that are told; a longer list says how many more there are."""


def counted(count: int, what: str) -> str:
    """Such as "1 pixel" or "12 pixels"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def frame_list(numbers: Sequence[int]) -> str:
    """Frame numbers as `--drop-frames` takes them, such as 3,60-64; a long list is cut."""
    runs = _runs(sorted(numbers))
    told = ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs[:MOST_RUNS])
    more = sum(last - first + 1 for first, last in runs[MOST_RUNS:])
    return f"{told} and {more} more" if more else told


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs


def pixel_list(places: Sequence[tuple[int, int]], most: int = 3) -> str:
    """Pixels as (row, column), at most a few of them."""
    told = ", ".join(f"({row}, {column})" for row, column in places[:most])
    return f"{told} ..." if len(places) > most else told
