"""Shells complete commands, solvers, options and values."""

import subprocess
from pathlib import Path

import pytest

from command import done, refused
from exitwave import solvers

TAB = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
_exitwave
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shell") / "exitwave.bash"
    assert "startup file" in done("--install-completion", "--shell", "bash", "--output", path).out
    return path


def completed(script: Path, *words: str) -> set[str]:
    command = ["bash", "-c", TAB, "bash", str(script), "exitwave", *words]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_commands_solvers_options_and_values_are_completed(script: Path) -> None:
    assert completed(script, "rec") == {"reconstruct", "recipe"}
    assert completed(script, "reconstruct", "scan.h5", "r") == {name for name in solvers() if name[0] == "r"} - {
        "refined"
    }
    assert completed(script, "reconstruct", "scan.h5", "rpie", "--alph") == {"--alpha"}
    assert "--refine-positions" in completed(script, "reconstruct", "scan.h5", "rpie", "--refine-p")
    assert "angstrom" in completed(script, "info", "scan.h5", "--position-unit", "")
    assert completed(script, "train", "ptycho") == {"ptychonn", "ptychopinn"}


def test_the_startup_file_loads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".local/share/bash-completion/completions/exitwave"
    assert f"completion -> {path}" in done("--install-completion", "--shell", "bash").out
    assert str(path) in (tmp_path / ".bashrc").read_text()


def test_an_unknown_shell_is_refused(tmp_path: Path) -> None:
    assert "bash" in refused(tmp_path, "--install-completion", "--shell", "tcl")


def test_in_zsh_it_is_said_what_loads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ZSH", raising=False)
    monkeypatch.delenv("ZSH_CUSTOM", raising=False)
    assert "compinit" in done("--install-completion", "--shell", "zsh").out
    (script,) = (tmp_path / ".zsh").rglob("_*")
    # The name of the file is that of the function in it, or zsh completes nothing.
    assert f"{script.name}()" in script.read_text("utf-8")
    told = done("--install-completion", "--shell", "zsh", "--output", tmp_path / "script").out
    assert f"name it {script.name}" in told
