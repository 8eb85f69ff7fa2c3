"""What the command line says of memory before a run, and of a run that went wrong after it."""

from dataclasses import replace

import pytest
import torch

from command import call, done, refused
from exitwave.cli.reconstruct import tell
from exitwave.data.patterns import ArrayPatterns
from exitwave.io.files import read, read_result, write
from exitwave.running.job import job_of
from exitwave.solvers.registry import solvers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("endings")
    done("simulate", "siemens", "--frames", 100, "--frame-px", 32, "--focus-distance-m", "inf", "-o", folder / "s.cxi")
    return folder


def rows(text: str) -> dict[str, str]:
    return {line[:16].strip(): line[17:] for line in text.splitlines()}


def test_info_says_what_fits_into_the_memory_that_is_allowed(folder):
    plenty, little = (rows(done("info", folder / "s.cxi", "--memory", m).out) for m in ("1GB", "3.2MB"))
    assert plenty["amplitudes"] == "400 KiB, held in memory"
    assert little["amplitudes"] == "400 KiB, read anew in every epoch, as they do not fit"
    assert little["memory"].startswith("3.05 MiB may be taken; ")
    holding = ", ".join(sorted(name for name, cls in solvers().items() if cls.stores_exit_waves))
    for row in plenty, little:
        assert f"1.56 MiB for each probe mode with a solver that holds them ({holding})" in row["exit waves"]


def test_doctor_says_where_what_does_not_fit_will_go_and_lists_the_solvers():
    told = rows(call("doctor").out)
    assert "free in" in told["scratch"]
    assert "rpie" in told["solvers"]


def test_amounts_of_memory_that_make_no_sense_are_refused(folder):
    words = ("reconstruct", folder / "s.cxi", "rpie", "-o", folder / "o.h5", "--memory")
    assert "free or allowed; allow more" in refused(folder, *words, "10kB")
    assert "no amount of memory; write 8GB" in (told := refused(folder, *words, "much"))
    assert "value error" not in told.lower()


def test_a_job_with_little_memory_gives_the_same_image_and_keeps_the_wish(folder):
    done("reconstruct", folder / "s.cxi", "rpie", "--epochs", 2, "-o", folder / "held.h5")
    done("reconstruct", folder / "s.cxi", "rpie", "--epochs", 2, "-o", folder / "streamed.h5", "--memory", "3.2MB")
    held, streamed = read_result(folder / "held.h5"), read_result(folder / "streamed.h5")
    assert held.residual == streamed.residual
    assert job_of(streamed).setup.memory == "3.2MB"


def test_a_run_that_diverged_says_what_was_saved_and_what_to_change_and_exits_with_2(folder, capsys):
    done("reconstruct", folder / "s.cxi", "rpie", "--epochs", 2, "-o", folder / "run.h5")
    result = read_result(folder / "run.h5")
    saved = "the estimate after epoch 5 was kept; rpie: lower object_gain"
    ending = f"diverged in epoch 9: the residual rose to 0.5, 20 times its lowest value; {saved}"
    diverged = replace(result, provenance={**result.provenance, "ending": ending})
    assert tell(diverged, job_of(result), folder / "run.h5", None) == 2
    out, err = capsys.readouterr()
    assert out.startswith("diverged in epoch 9: the residual rose to 0.5, 20 times its lowest value: ")
    assert err == f"exitwave: {saved}\n"


def test_a_failed_verdict_ends_with_3_once_the_result_is_written(folder, capsys):
    done("reconstruct", folder / "s.cxi", "rpie", "--epochs", 2, "-o", folder / "judged.h5")
    result = read_result(folder / "judged.h5")
    assert result.verdict is not None
    grades = {"sound": 0, "doubtful": 0, "failed": 3}
    for grade, code in grades.items():
        judged = replace(result, verdict=replace(result.verdict, grade=grade))
        assert tell(judged, job_of(result), folder / "judged.h5", None) == code
        assert f"verdict: {grade}" in capsys.readouterr().out
    assert tell(replace(result, verdict=None), job_of(result), folder / "judged.h5", None) == 0


def test_frames_in_the_wrong_order_end_a_command_with_3(folder):
    scan = read(folder / "s.cxi")
    shuffled = scan.frames(slice(None))[torch.randperm(len(scan), generator=torch.Generator().manual_seed(1))]
    write(replace(scan, patterns=ArrayPatterns(shuffled)), folder / "shuffled.cxi")
    outcome = call("reconstruct", folder / "shuffled.cxi", "rpie", "--epochs", 20, "-o", folder / "torn.h5")
    assert outcome.code == 3
    assert "verdict: failed" in outcome.out
    written = read_result(folder / "torn.h5").verdict
    assert written is not None
    assert written.grade == "failed"
