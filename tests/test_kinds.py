"""Nothing but a kind's own files asks of which kind a measurement or an estimate is."""

import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "exitwave"
FILES = sorted(SOURCE.rglob("*.py"))


def places(pattern: str) -> set[str]:
    return {path.relative_to(SOURCE).as_posix() for path in FILES if re.search(pattern, path.read_text("utf-8"))}


CDI = places(r"support is") & {f"solvers/cdi/{path.name}" for path in (SOURCE / "solvers" / "cdi").glob("*.py")}


@pytest.mark.parametrize(
    ("pattern", "own"),
    [
        (
            r"support is",
            {
                "data/estimate.py",
                "evaluation/verdict/cdi.py",
                *(f"problems/{name}.py" for name in ("cdi", "stated_support")),
                *CDI,
            },
        ),
        (r"one_pattern", set[str]()),
        (r"\blen\((self\.)?(scan|measurement)\) == 1\b", {"data/scan.py", "data/checks.py"}),
    ],
)
def test_a_kind_is_known_to_its_own_files_alone(pattern, own):
    assert places(pattern) <= own
