"""Several scans on one command line: they share their probe, and each gets a result."""

import shutil
from pathlib import Path

import pytest
import yaml

import exitwave as ew
from command import done, refused

CASES = Path(__file__).parents[2].parent / "shared/cases/inputs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scans")
    done("simulate", "siemens", "--frames", 16, "--frame-px", 16, "-o", path / "first.cxi")
    done("simulate", "cells", "--frames", 12, "--frame-px", 16, "--seed", 4, "-o", path / "second.cxi")
    return path


def test_every_scan_gets_a_result_named_after_it(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    outcome = done("reconstruct", folder / "first.cxi", folder / "second.cxi", "rpie", "--epochs", 2, "-o", f"{out}/")
    assert sorted(path.name for path in out.iterdir()) == ["first.h5", "second.h5"]
    first, second = (ew.read_result(out / f"{name}.h5") for name in ("first", "second"))
    assert f"-> {out / 'second.h5'}" in outcome.out
    assert first.estimate.tensors()["probe"].equal(second.estimate.tensors()["probe"])
    assert len(second.estimate.tensors()["positions_px"]) == 12
    assert str(second.provenance["scan"]["file"]).endswith("second.cxi")
    assert second.provenance["shared_probe"]["scans"] == ["first.cxi", "second.cxi"]
    assert "M-NRMSE" in done("evaluate", out / "second.h5", "--truth", folder / "second.cxi", "--all").out
    assert "halves" in refused(out, "evaluate", out / "second.h5", "--split-half")


def test_the_solver_may_be_left_out(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = done("reconstruct", folder / "first.cxi", folder / "second.cxi", "--epochs", 1, "-o", out).out
    assert "no solver was named: newton" in told
    assert (out / "first.h5").is_file()


def test_a_job_lists_its_scans_and_the_command_line_says_the_same(folder: Path, tmp_path: Path) -> None:
    scans = [shutil.copy(folder / name, tmp_path / name) for name in ("first.cxi", "second.cxi")]
    job = {"scan": ["first.cxi", "second.cxi"], "solver": {"name": "lsqml", "epochs": 2}, "output": "of_job"}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    done("run", tmp_path / "job.yaml")
    done("reconstruct", *scans, "lsqml", "--epochs", 2, "-o", tmp_path / "of_words")
    for name in ("first.h5", "second.h5"):
        one, other = (ew.read_result(tmp_path / made / name) for made in ("of_job", "of_words"))
        assert one.estimate.object.equal(other.estimate.object)
    stored = one.provenance["job"]
    assert stored["scan"] == [str(path) for path in scans]


def test_views_of_one_object_are_asked_for_by_an_option(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "first.cxi", tmp_path / "again.cxi")
    out = tmp_path / "out"
    words = (folder / "first.cxi", tmp_path / "again.cxi", "rpie", "--epochs", 2, "--same-object", "-o", out)
    done("reconstruct", *words)
    first, again = (ew.read_result(out / f"{name}.h5").estimate.object for name in ("first", "again"))
    assert first.equal(again)


def test_scans_of_one_name_are_told_apart_by_their_folders(folder: Path, tmp_path: Path) -> None:
    for name, source in (("monday", "first.cxi"), ("tuesday", "second.cxi")):
        (tmp_path / name).mkdir()
        shutil.copy(folder / source, tmp_path / name / "scan.cxi")
    scans = (tmp_path / "monday/scan.cxi", tmp_path / "tuesday/scan.cxi")
    done("reconstruct", *scans, "rpie", "--epochs", 1, "-o", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["monday_scan.h5", "tuesday_scan.h5"]


class TestRefused:
    """Exit code 2, one line, no file touched."""

    def test_a_scan_that_is_not_there(self, folder: Path, tmp_path: Path) -> None:
        words = ("reconstruct", folder / "first.cxi", folder / "lost.cxi")
        for solver in ((), ("rpie",)):
            assert "lost.cxi does not exist" in refused(tmp_path, *words, *solver, "-o", tmp_path / "out")

    def test_a_scan_that_is_given_twice(self, folder: Path, tmp_path: Path) -> None:
        words = (folder / "first.cxi", folder / ".." / folder.name / "first.cxi", "rpie", "-o", tmp_path / "out")
        assert "is given twice" in refused(tmp_path, "reconstruct", *words)

    def test_one_file_for_several_results(self, folder: Path, tmp_path: Path) -> None:
        words = (folder / "first.cxi", folder / "second.cxi", "rpie", "-o")
        line = refused(tmp_path, "reconstruct", *words, tmp_path / "out.h5")
        assert "2 scans that share their probe give a result each; give a folder" in line
        (tmp_path / "there").touch()
        assert "give a folder" in refused(tmp_path, "reconstruct", *words, tmp_path / "there")

    def test_results_over_their_scans(self, folder: Path, tmp_path: Path) -> None:
        for name in ("first", "second"):
            shutil.copy(folder / f"{name}.cxi", tmp_path / f"{name}.h5")
        line = refused(tmp_path, "reconstruct", *tmp_path.glob("*.h5"), "rpie", "-o", tmp_path)
        assert "is the scan itself" in line

    def test_one_pattern_beside_a_scan(self, folder: Path, tmp_path: Path) -> None:
        pattern = tmp_path / "pattern.cxi"
        done("simulate", "isolated", "--frame-px", 16, "-o", pattern)
        (tmp_path / "out").mkdir()
        line = refused(tmp_path, "reconstruct", folder / "first.cxi", pattern, "rpie", "-o", tmp_path / "out")
        assert "rpie is for a ptychography scan" in line

    def test_a_report_or_a_start_for_several(self, folder: Path, tmp_path: Path) -> None:
        words = ("reconstruct", folder / "first.cxi", folder / "second.cxi", "rpie", "-o", tmp_path / "out")
        assert "exitwave report" in refused(tmp_path, *words, "--report", tmp_path / "page.html")
        assert "start from its probe" in refused(tmp_path, *words, "--start", tmp_path / "result.h5")

    def test_a_job_without_scans(self, tmp_path: Path) -> None:
        job = tmp_path / "job.yaml"
        job.write_text("scan: []\nsolver: rpie\noutput: out\n")
        assert "scan" in refused(tmp_path, "run", job)


@pytest.mark.skipif(not CASES.is_dir(), reason="the open cases are not here")
def test_two_files_of_one_beamline_are_reconstructed_together(tmp_path: Path) -> None:
    done("reconstruct", CASES / "good.h5", CASES / "second_scan.h5", "rpie", "--epochs", 8, "-o", tmp_path / "out")
    for name in ("good", "second_scan"):
        assert ew.read_result(tmp_path / f"out/{name}.h5").residual < 0.005
