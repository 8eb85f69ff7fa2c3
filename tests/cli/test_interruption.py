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


def test_resume_without_a_checkpoint_starts_at_the_beginning(scan: Path, tmp_path: Path) -> None:
    done(*words(scan, tmp_path / "out.h5", 3, "--resume"))
    assert len(read_result(tmp_path / "out.h5").history) == 3
