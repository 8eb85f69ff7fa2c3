"""What a command writes to a log, as that of a batch job: a line for every phase, in order, and no terminal's codes."""

import re
from pathlib import Path

import pytest

from command import call, done
from exitwave.cli import work_line
from exitwave.data.progress import in_parts, phase


def test_a_log_names_every_phase_once_and_in_order(tmp_path: Path) -> None:
    done("simulate", "circuit", "--frame-px", 32, "--frames", 36, "-o", tmp_path / "scan.cxi")
    told = done("reconstruct", tmp_path / "scan.cxi", "rpie", "--epochs", 2, "-o", tmp_path / "out.h5").err
    assert re.fullmatch(
        r"(?s)reading scan\.cxi \.\.\.\nexamining the frames \.\.\.\n.*setting up the problem \.\.\.\n.*"
        r"rpie: epoch 1/2 .*\nrpie: epoch 2/2 .*\nmeasuring how well the image fits \.\.\.\njudging the image \.\.\.\n"
        r"writing .*out\.h5 \.\.\.\n",
        told,
    )
    assert "\r" not in told
    assert "\033" not in told
    lines = told.splitlines()
    assert all(lines.count(line) == 1 for line in lines)


def test_a_phase_within_another_makes_no_line_twice(capsys: pytest.CaptureFixture[str]) -> None:
    with work_line.telling_work(), phase("outer"):
        for _ in range(3):
            with phase("inner"):
                pass
    assert capsys.readouterr().err == "outer ...\ninner ...\n"


def test_parts_are_told_of_once_and_only_when_they_take_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with work_line.telling_work():
        list(in_parts("quick", range(5)))
        monkeypatch.setattr(work_line, "QUIET_S", -1.0)
        list(in_parts("slow", range(5)))
    assert capsys.readouterr().err == "slow ...\n"


def test_what_is_refused_says_one_line_beside_the_phases(tmp_path: Path) -> None:
    (tmp_path / "scan.cxi").write_bytes(b"nothing")
    outcome = call("info", tmp_path / "scan.cxi")
    assert outcome.err.startswith("reading scan.cxi ...\nexitwave: ")
    assert len(outcome.said.splitlines()) == 1
