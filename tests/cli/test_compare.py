"""exitwave compare: one page, one table, exit codes; refusals before any work."""

import json

import pytest

from command import call, done, refused


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    done("simulate", "siemens", "--frames", 25, "--frame-px", 24, "--focus-distance-m", "inf", "-o", folder / "s.cxi")
    return folder


def test_names_files_and_results_end_up_in_one_page_and_one_file_of_figures(folder):
    scan, page, figures = folder / "s.cxi", folder / "page.html", folder / "figures.json"
    done("reconstruct", scan, "rpie", "--epochs", 2, "-o", folder / "old.h5")
    (folder / "job.yaml").write_text("solver: {name: rpie, alpha: 0.5, epochs: 2}")
    (folder / "two.yaml").write_text("[{name: rpie, epochs: 2}, {name: epie, epochs: 2}]")
    files = [folder / name for name in ("old.h5", "job.yaml", "two.yaml")]
    words = (scan, "epie", *files, "--epochs", 3, "--truth", scan)
    told = done("compare", *words, "-o", page, "--json", figures)
    assert [line.split()[0] for line in told.out.splitlines()[:5]] == ["solver", "epie", "old", "job", "two"]
    assert "epie: epoch 3/3" in told.err
    assert "two: epoch 4/4" in told.err
    assert page.read_text("utf-8").startswith("<!doctype html>")
    told = json.loads(figures.read_text("utf-8"))
    entries = told["entries"]
    errors = {name: entry["metrics"]["M-NRMSE"] for name, entry in entries.items()}
    assert told["best"]["name"] in sorted(errors, key=errors.__getitem__)[:2]
    assert told["best"]["decided_by"] in ("M-NRMSE", "seconds")
    assert {name: entry["epochs"] for name, entry in entries.items()} == {"epie": 3, "old": 2, "job": 3, "two": 4}
    assert all(0 < entry["metrics"]["M-NRMSE"] < 1 for entry in entries.values())


def test_solvers_may_have_options_of_their_own(folder):
    scan, page, figures = folder / "s.cxi", folder / "own.html", folder / "own.json"
    words = (scan, "rpie", "rpie --modes 2 --alpha 0.3 --epochs 1", "mpie  --no-phase-only --patience 1")
    told = done("compare", *words, "--epochs", 2, "--phase-only", "-o", page, "--json", figures, "--truth", scan)
    entries = json.loads(figures.read_text("utf-8"))["entries"]
    plain, own, kept = entries.values()
    assert list(entries) == ["rpie", "rpie --modes 2 --alpha 0.3 --epochs 1", "mpie --no-phase-only --patience 1"]
    assert (plain["epochs"], own["epochs"], kept["epochs"]) == (2, 1, 2)
    assert (plain["solver"]["name"], own["solver"]["name"], kept["solver"]["name"]) == ("refined", "refined", "mpie")
    assert plain["solver"]["phase_only"]
    assert own["solver"]["phase_only"]
    assert own["solver"]["solver"]["alpha"] == 0.3
    assert told.out.splitlines()[4].startswith("Best: ")
    assert told.out.splitlines()[4].strip("\n").partition(" against")[0] in page.read_text("utf-8")


def test_options_of_one_are_refused_as_those_of_all_are(folder):
    scan, page = folder / "s.cxi", folder / "p.html"
    assert "Did you mean --epochs" in refused(folder, "compare", scan, "rpie --epoch 2", "-o", page)
    assert "--modes" in refused(folder, "compare", scan, "rpie --modes 0", "-o", page)
    assert "drop_frames must be the same" in refused(folder, "compare", scan, "rpie --drop-frames 3", "-o", page)
    assert "did you mean rpie" in refused(folder, "compare", scan, "rpi --alpha 1", "-o", page)
    assert "given twice" in refused(folder, "compare", scan, "rpie --alpha 1", "rpie --alpha 1", "-o", page)
    job = folder / "own.yaml"
    job.write_text("solver: rpie")
    assert "stand in its file" in refused(folder, "compare", scan, f"{job} --modes 2", "-o", page)
    assert "describe it in a YAML file" in refused(folder, "compare", scan, "chain --modes 2", "-o", page)
    # How a scan is read is the same for all.
    assert "--energy-ev" in refused(folder, "compare", scan, "rpie --energy-ev 1", "-o", page)
    assert "No closing quotation" in refused(folder, "compare", scan, "rpie --alpha '1", "-o", page)


def test_mistakes_are_refused_in_one_line_before_any_work(folder):
    scan = folder / "s.cxi"
    assert "solvers are" in refused(folder, "compare", scan, "rpi", "-o", folder / "p.html")
    assert "end in .html" in refused(folder, "compare", scan, "rpie", "-o", folder / "p.h5")
    assert "at least one" in refused(folder, "compare", scan, "-o", folder / "p.html")
    assert "one of the files" in refused(folder, "compare", scan, "rpie", "-o", folder / "p.html", "--json", scan)
    assert "does not exist" in refused(folder, "compare", scan, "rpie", "-o", folder / "no" / "p.html")
    assert "cannot both be" in refused(
        folder, "compare", scan, "rpie", "-o", folder / "p.html", "--json", folder / "p.html"
    )


def test_a_comparison_in_which_nothing_was_found_says_so_and_exits_with_2(folder):
    spec = folder / "refused.yaml"
    spec.write_text("{name: rpie, epochs: 1}")
    outcome = call("compare", folder / "s.cxi", spec, "--device", "quantum", "-o", folder / "none.html")
    assert outcome.code == 2
    assert "quantum" in outcome.err
    assert (folder / "none.html").exists()
