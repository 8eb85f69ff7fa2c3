"""The examples of the gallery run, small, and each makes its picture."""

import re
import runpy
from pathlib import Path

import pytest
from matplotlib.figure import Figure

EXAMPLES = sorted((Path(__file__).parents[1] / "docs" / "gallery").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_of_the_gallery_makes_a_picture(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = re.sub(r"\bframes=\d+", "frames=36", re.sub(r"\bepochs=\d+", "epochs=2", path.read_text("utf-8")))
    small = tmp_path / path.name
    small.write_text(re.sub(r"(step_px, side =) .*", r"\1 4, 6", re.sub(r"\.split\(\d+\)", ".split(6)", text)), "utf-8")
    assert isinstance(runpy.run_path(str(small))["figure"], Figure)


def test_an_example_has_a_title_and_says_what_it_shows():
    for path in EXAMPLES:
        title, underline, empty, said = path.read_text("utf-8").removeprefix('"""\n').splitlines()[:4]
        assert underline == "=" * len(title), path.name
        assert not empty
        assert said


def test_there_are_enough_examples():
    assert len(EXAMPLES) >= 12
