"""Nothing but a kind's own files asks of which kind a measurement or an estimate is."""

import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "exitwave"
FILES = sorted(SOURCE.rglob("*.py"))


def places(pattern: str) -> set[str]:
    return {path.relative_to(SOURCE).as_posix() for path in FILES if re.search(pattern, path.read_text("utf-8"))}


@pytest.mark.parametrize(
    ("pattern", "own"),
    [
        (r"support is", {"data/estimate.py", "problems/cdi.py", "solvers/cdi/phase_retrieval.py"}),
        (r"one_pattern", set[str]()),
        (r"\blen\((self\.)?(scan|measurement)\) == 1\b", {"data/scan.py", "data/checks.py"}),
    ],
)
def test_a_kind_is_known_to_its_own_files_alone(pattern, own):
    assert places(pattern) <= own
