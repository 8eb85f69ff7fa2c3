"""Runs that are killed or interrupted lose at most the last checkpoint interval, never a file, and go on exactly."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from command import call, done
from exitwave import read_result
from exitwave.io.checkpoints import read_checkpoint

# Python leaves SIGINT ignored where its parent did, as in background jobs.
MAIN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from exitwave.cli import main; main()"
ENDLESS = 10**6


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "scan.cxi"
    done("simulate", "siemens", "--frames", 25, "--frame-px", 24, "--focus-distance-m", "inf", "-o", path)
    return path


def words(scan: Path, output: Path, epochs: int, *more: object) -> list[str]:
    # Without settling, an epoch does not depend on how many are still to come, so that a run can be ended anywhere.
    options = ("--epochs", epochs, "--settle", 0, "--checkpoint-every", 2, "-o", output, *more)
    return ["reconstruct", str(scan), "mpie", *map(str, options)]


def ended_by(number: int, scan: Path, output: Path, *more: object) -> tuple[int, str]:
    """Start an endless run, send it a signal once it has saved a checkpoint of its own; exit code and standard output."""
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    command = [sys.executable, "-c", MAIN, *words(scan, output, ENDLESS, *more)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            # However long that takes: the machine may be busy, and a run that ends by itself is told below.
            while not (checkpoint.exists() and checkpoint.stat().st_mtime_ns > before):
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.01)
            process.send_signal(number)
            out, _ = process.communicate()
        finally:
            process.kill()
    return process.returncode, out


PRESSED = """
import os, signal, sys
from exitwave.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
written = os.pwrite

def press_once(descriptor, data, offset):
    os.pwrite = written
    os.kill(os.getpid(), signal.SIGINT)
    return written(descriptor, data, offset)

os.pwrite = press_once
main(sys.argv[1:])
"""
"""Ctrl-C while the first checkpoint is written, in a process of its own."""


def test_a_killed_run_resumes_exactly(scan: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    output.write_text("an older result")
    code, _ = ended_by(signal.SIGKILL, scan, output)
    assert code == -signal.SIGKILL
    assert output.read_text() == "an older result"
    saved = read_checkpoint(tmp_path / "out.h5.checkpoint")
    assert saved.epoch % 2 == 0
    assert len(saved.history) == saved.epoch
    epochs = saved.epoch + 3
    done(*words(scan, output, epochs, "--resume"))
    done(*words(scan, tmp_path / "whole.h5", epochs))
    resumed, whole = read_result(output), read_result(tmp_path / "whole.h5")
    assert torch.equal(resumed.estimate.object, whole.estimate.object)
    assert torch.equal(resumed.estimate.probe, whole.estimate.probe)
    assert resumed.history == whole.history
    assert resumed.residual == whole.residual
    assert not (tmp_path / "out.h5.checkpoint").exists(), "a finished run needs no checkpoint"


def test_ctrl_c_saves_the_last_estimate_and_says_where(scan: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    code, out = ended_by(signal.SIGINT, scan, output)
    assert code == 130
    assert f"the last estimate is in {output}; go on with --resume" in out
    interrupted = read_result(output)
    done_epochs = interrupted.provenance["epochs"]
    assert interrupted.provenance["ending"] == f"interrupted after epoch {done_epochs}"
    assert len(interrupted.history) == done_epochs
    # Not the last even epoch: the state at the interruption itself.
    assert read_checkpoint(tmp_path / "out.h5.checkpoint").epoch == done_epochs
    done(*words(scan, output, done_epochs + 3, "--resume"))
    done(*words(scan, tmp_path / "whole.h5", done_epochs + 3))
    assert torch.equal(read_result(output).estimate.object, read_result(tmp_path / "whole.h5").estimate.object)


def test_ctrl_c_while_a_checkpoint_is_written_waits_for_it(scan: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PRESSED, *words(scan, tmp_path / "out.h5", 20)]
    program = subprocess.run(command, capture_output=True, text=True, check=False)
    assert program.returncode == 130, program.stderr
    assert read_checkpoint(tmp_path / "out.h5.checkpoint").epoch == 2
    assert read_result(tmp_path / "out.h5").provenance["ending"] == "interrupted after epoch 2"
    assert not list(tmp_path.glob(".*partial"))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--alpha", 0.9), "use the same options to resume"),
        (("--seed", 1), "another scan, preparation or seed"),
        (("--prepare", "select=::2"), "another scan, preparation or seed"),
        (("--free-fraction", 0.1), "another scan, preparation or seed"),
        (("--modes", 2), "use the same modes and start to resume"),
    ],
)
def test_another_run_is_not_resumed(scan: Path, tmp_path: Path, more: tuple[object, ...], expected: str) -> None:
    checkpoint = tmp_path / "out.h5.checkpoint"
    done(*words(scan, tmp_path / "other.h5", 2))
    _interrupted(scan, tmp_path / "out.h5")
    saved = checkpoint.read_bytes()
    outcome = call(*words(scan, tmp_path / "out.h5", 6, "--resume", *more))
    assert outcome.code == 2
    assert expected in outcome.err
    assert checkpoint.read_bytes() == saved


def _interrupted(scan: Path, output: Path) -> None:
    """Leave the checkpoint of a run that was interrupted after two epochs."""
    from exitwave.running.job import make_job, run_job

    def press(step: object, problem: object) -> None:
        if getattr(step, "epoch", 0) == 2:
            raise KeyboardInterrupt

    solver = {"name": "mpie", "epochs": 6, "settle": 0.0}
    run_job(make_job({"scan": scan, "solver": solver, "output": output, "checkpoint_every": 2}, "test"), press)


def test_resume_without_a_checkpoint_starts_at_the_beginning_and_says_so(scan: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    said = done(*words(scan, output, 3, "--resume")).out
    assert said.startswith(f"nothing to resume: there is no {output}.checkpoint; the run starts at its beginning\n")
    assert f"--start {output} begins with its image" in done(*words(scan, output, 3, "--resume")).out
    assert len(read_result(tmp_path / "out.h5").history) == 3


PRESSED_IN = """
import importlib, os, signal, sys, time
from exitwave.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)

def press(*_, **__):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)

def press_in_steps(*_, **__):
    press()
    yield

module, owner, name = sys.argv[1:4]
place = importlib.import_module(module)
setattr(getattr(place, owner) if owner else place, name, press_in_steps if name == "solve" else press)
main(sys.argv[4:])
"""
"""Ctrl-C in the midst of a function, in a process of its own."""


@pytest.mark.parametrize(
    ("place", "phase"),
    [
        (("exitwave.io.files", "formats", "read_scan"), "reading scan.cxi"),
        (("exitwave.running.examined", "", "examine"), "examining the frames"),
        (("exitwave.problems.initial_guess", "", "guess_probe"), "finding the probe"),
        (("exitwave.solvers.ptychography.pie", "MPIE", "solve"), "working on the first epoch"),
    ],
)
def test_ctrl_c_before_the_first_epoch_says_in_what_and_what_is_kept(
    scan: Path, tmp_path: Path, place: tuple[str, ...], phase: str
) -> None:
    output = tmp_path / "out.h5"
    command = [sys.executable, "-c", PRESSED_IN, *place, *words(scan, output, 20)]
    program = subprocess.run(command, capture_output=True, text=True, check=False)
    assert program.returncode == 130, program.stderr
    assert program.stderr.splitlines()[-1] == f"exitwave: interrupted while {phase}; nothing of this run is kept"
    assert not list(tmp_path.iterdir())


def test_ctrl_c_before_a_resumed_run_has_begun_leaves_its_checkpoint(scan: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    _interrupted(scan, output)
    place = ("exitwave.io.files", "formats", "read_scan")
    command = [sys.executable, "-c", PRESSED_IN, *place, *words(scan, output, 20, "--resume")]
    program = subprocess.run(command, capture_output=True, text=True, check=False)
    assert program.stdout.startswith(f"going on from {output}.checkpoint: 2 epochs done")
    assert f"{output}.checkpoint holds what was reached, 2 epochs: the same command with --resume" in program.stderr


def test_ctrl_c_while_the_fit_is_measured_keeps_all_epochs(scan: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    place = ("exitwave.running.reconstruct", "", "_result")
    command = [sys.executable, "-c", PRESSED_IN, *place, *words(scan, output, 3)]
    program = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "holds what was reached, 3 epochs" in program.stderr
    assert read_checkpoint(tmp_path / "out.h5.checkpoint").epoch == 3


def test_half_a_scan_that_was_interrupted_is_not_compared(scan: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.h5"
    done(*words(scan, output, 2))
    place = ("exitwave.solvers.ptychography.pie", "MPIE", "solve")
    command = [sys.executable, "-c", PRESSED_IN, *place, "evaluate", str(output), "--split-half"]
    program = subprocess.run(command, capture_output=True, text=True, check=False)
    assert program.returncode == 130
    assert program.stdout == ""
    assert "interrupted while working on the first epoch" in program.stderr
