"""The main job from the command line: a scan made, looked at, reconstructed, judged, shown, exported; killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import exitwave as ew
from exitwave.cli import answer

TOOL = [sys.executable, "-c", "from exitwave.cli import main; main()"]
PETRA = Path(__file__).parents[2].parent / "shared/data/PETRAIII_P25_Near_Field_Ptycho.cxi"
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def tool(*words: object) -> int:
    return answer([str(word) for word in words])


@pytest.fixture(scope="module")
def scan(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("job") / "scan.cxi"
    assert tool("simulate", "siemens", "--frames", 100, "--frame-px", 64, "--seed", 3, "-o", path) == 0
    return path


@pytest.fixture(scope="module")
def result(scan) -> Path:
    path = scan.with_name("result.h5")
    assert tool("reconstruct", scan, "mpie", "--epochs", 60, "-o", path, "--free-fraction", 0.05) == 0
    return path


def test_the_scan_is_described(scan, capsys):
    assert tool("info", scan) == 0
    told = capsys.readouterr().out
    assert "100 of 64 x 64 pixels" in told
    assert "8 keV" in told
    assert "nothing suspicious" in told
    assert tool("info", scan, "--json") == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 100


def test_the_reconstruction_is_close_to_the_truth(scan, result, capsys):
    assert tool("evaluate", result, "--truth", scan, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    # 0.03 is usual here; object and probe come from the data alone.
    assert told["M-NRMSE"] < 0.06
    assert told["FRC-half-bit"] > 0.9
    assert 0 < told["residual"] < told["free-residual"] < 0.02
    assert set(told["alignment"]["removed"]) == {"phase", "ramp", "scale", "shift"}
    assert told["provenance"]["scan"]["file"] == str(scan)


def test_halves_of_the_frames_agree(result, capsys):
    assert tool("evaluate", result, "--split-half", "--json") == 0
    assert json.loads(capsys.readouterr().out)["FRC-half-bit-split"] > 0.8


def test_the_report_and_the_exports_are_written(scan, result):
    assert tool("report", result, "-o", result.with_suffix(".html"), "--truth", scan) == 0
    assert "M-NRMSE" in result.with_suffix(".html").read_text()
    for ending in (".cxi", ".npz", ".tiff", ".png"):
        target = result.with_name("exported" + ending)
        assert tool("export", result, "-o", target) == 0
        assert target.stat().st_size > 1000
    assert (
        np.load(result.with_name("exported.npz"))["object"].shape[-2:]
        == ew.read_result(result).estimate.object.shape[-2:]
    )


def test_a_job_file_runs_a_chain_and_refuses_unknown_keys_by_name(scan, capsys):
    job = scan.with_name("job.yaml")
    job.write_text(
        "scan: scan.cxi\noutput: chained.h5\nprepare: [{crop: 48}]\nseed: 1\n"
        "solver:\n- {name: mpie, epochs: 4}\n- {name: rpie, epochs: 3, alpha: 0.5}\n"
    )
    assert tool("run", job) == 0
    made = ew.read_result(scan.with_name("chained.h5"))
    assert len(made.history) == 7
    assert made.estimate.probe.shape[-2:] == (48, 48)
    assert [stage["name"] for stage in made.spec["stages"]] == ["mpie", "rpie"]
    job.write_text(job.read_text() + "epohcs: 3\n")
    capsys.readouterr()
    assert tool("run", job) == 2
    assert "epohcs" in capsys.readouterr().err


def test_the_same_in_python(scan, tmp_path):
    loaded = ew.read(str(scan))
    made = ew.reconstruct(loaded, ew.chain(ew.MPIE(epochs=30), ew.RPIE(epochs=10, alpha=0.2)))
    ew.write(made, tmp_path / "r.h5")
    ew.report(made, tmp_path / "r.html")
    assert torch.equal(ew.read_result(tmp_path / "r.h5").estimate.object, made.estimate.object)
    assert ew.evaluate(made, truth=ew.read_truth(scan)).metrics["M-NRMSE"] < 0.1


def test_one_result_starts_another_or_lends_its_probe(scan, result, capsys):
    for option in ("--start", "--probe"):
        target = result.with_name("next.h5")
        assert tool("reconstruct", scan, "rpie", "--epochs", 2, option, result, "-o", target) == 0
        assert ew.read_result(target).history[0] < 0.1
    # A start has the object already; a probe alone does not.
    capsys.readouterr()


def test_the_same_seed_gives_the_same_file_content(scan):
    made = []
    for name in ("a.h5", "b.h5"):
        assert tool("reconstruct", scan, "rpie", "--epochs", 2, "--seed", 4, "-o", scan.with_name(name)) == 0
        made.append(ew.read_result(scan.with_name(name)).estimate.object)
    assert torch.equal(*made)


def test_the_help_answers_without_torch():
    code = "import sys; from exitwave.cli import answer; answer(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("words", [["reconstruct", "x.cxi", "rpie", "--help"], ["reconstruct", "--help"], ["doctor"]])
def test_help_of_solvers_and_the_doctor_answer(words, capsys):
    assert tool(*words) == 0
    assert capsys.readouterr().out


def started(scan: Path, output: Path, *more: str) -> "subprocess.Popen[str]":
    words = ["reconstruct", scan, "mpie", "--epochs", "300", "--checkpoint-every", "2", "-o", output, *more]
    return subprocess.Popen(
        [*TOOL, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ONE_THREAD
    )


def wait_for(path: Path) -> None:
    until = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < until, "no checkpoint appeared"
        time.sleep(0.02)


def test_a_killed_run_loses_no_file_and_resumes_exactly(scan, tmp_path):
    whole, broken = tmp_path / "whole.h5", tmp_path / "broken.h5"
    running = started(scan, broken)
    checkpoint = tmp_path / "broken.h5.checkpoint"
    wait_for(checkpoint)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert not broken.exists()
    with h5py.File(checkpoint):
        pass
    common = ["reconstruct", scan, "mpie", "--epochs", 300, "--checkpoint-every", 2]
    resumed = subprocess.run([*TOOL, *map(str, [*common, "-o", broken, "--resume"])], env=ONE_THREAD, check=False)
    straight = subprocess.run([*TOOL, *map(str, [*common, "-o", whole])], env=ONE_THREAD, check=False)
    assert (resumed.returncode, straight.returncode) == (0, 0)
    one, other = ew.read_result(broken), ew.read_result(whole)
    assert torch.equal(one.estimate.object, other.estimate.object)
    assert torch.equal(one.estimate.probe, other.estimate.probe)
    assert list(one.history) == list(other.history)
    assert not checkpoint.exists()


def test_ctrl_c_saves_the_last_estimate_and_names_it(scan, tmp_path):
    output = tmp_path / "stopped.h5"
    running = started(scan, output)
    wait_for(tmp_path / "stopped.h5.checkpoint")
    running.send_signal(signal.SIGINT)
    told, _ = running.communicate(timeout=120)
    assert running.returncode == 130
    assert str(output) in told
    assert "--resume" in told
    assert 0 < len(ew.read_result(output).history) < 300


@pytest.mark.skipif(not PETRA.exists(), reason=f"{PETRA.name} is not here")
def test_the_real_siemens_star_is_fitted_to_its_noise(tmp_path):
    output = tmp_path / "star.h5"
    assert tool("reconstruct", PETRA, "rpie", "--epochs", 40, "--focus-distance-m", 3.65e-3, "-o", output) == 0
    assert ew.read_result(output).residual <= 0.0114
