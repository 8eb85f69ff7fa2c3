"""Names in the order of the numbers in them: frame_2 before frame_10."""

import re


def in_number_order(name: str) -> list[tuple[int, str]]:
    """A key for sorting: numbers in a name count as numbers, in a list of (number, "") and (-1, text)."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name.lower())]
