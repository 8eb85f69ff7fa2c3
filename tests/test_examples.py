"""Every example runs, small, and keeps to the rules: short, and the first says what you will see."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(FOLDER.glob("**/*.py"))
FRAMES = "36"
LINES = {"measurement": 120}
"""Most lines of those that need more than 60: one with measurement, estimate, problem and solver, none of which may be missing."""
APART = "extending"
"""Register a solver or a format of their own, which other tests should not meet."""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if path.parent.name == APART:
        run = subprocess.run([sys.executable, str(path), FRAMES], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        said = run.stdout
    else:
        monkeypatch.setattr(sys, "argv", [str(path), FRAMES])
        runpy.run_path(str(path), run_name="__main__")
        said = capsys.readouterr().out
    assert len(said.splitlines()) >= 2


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_short_and_says_what_you_will_see(path):
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) <= LINES.get(path.stem, 60)
    assert lines[0].startswith('"""You will see ')


def test_there_are_examples():
    assert len(EXAMPLES) >= 6
