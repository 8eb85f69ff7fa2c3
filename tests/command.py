"""The command line as a user meets it: words in; exit code, standard output and standard error out."""

import contextlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

from exitwave.cli import answer
from exitwave.cli.reconstruct import FAILED_CODE


@dataclass(frozen=True)
class Outcome:
    """What a command left behind on the terminal."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Standard error without the names of phases, such as "reading scan.cxi ..."."""
        lines = self.err.splitlines(keepends=True)
        return "".join(line for line in lines if not line.endswith(" ...\n") or line.startswith("exitwave: "))


def call(*words: object) -> Outcome:
    """Run one command in this process. Python's warnings count as standard error, where a user would see them."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        code = answer([str(word) for word in words])
    return Outcome(
        code, out.getvalue(), err.getvalue() + "".join(f"{w.category.__name__}: {w.message}\n" for w in seen)
    )


def done(*words: object) -> Outcome:
    """Run a command that must do its work; what it says of an image that was made in two epochs is another matter."""
    outcome = call(*words)
    assert outcome.code in (0, FAILED_CODE), outcome.err
    return outcome


def refused(folder: Path, *words: object) -> str:
    """Run a command that must be refused: exit code 2, one line, and every file in `folder` as it was. The line."""
    before = contents(folder)
    outcome = call(*words)
    assert_one_line(outcome)
    assert contents(folder) == before, "a refused command changed files"
    return outcome.said.strip()


def assert_one_line(outcome: Outcome) -> None:
    """A refusal is exit code 2 and one line on standard error that is a sentence, not a traceback; what an unknown HDF5 file
    holds stands beneath it, indented.
    """
    assert outcome.code == 2, f"exit code {outcome.code}: {outcome.err or outcome.out}"
    assert outcome.said.startswith("exitwave: "), outcome.err
    lines = outcome.said.splitlines()
    beneath = lines[1:] if "is an HDF5 file of no known layout" in lines[0] else []
    assert len(lines) == 1 + len(beneath), f"more than one line: {outcome.err}"
    assert all(line.startswith("  ") for line in beneath), outcome.err
    assert "Traceback" not in outcome.err


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file of a folder and what is in it, hidden ones too."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
