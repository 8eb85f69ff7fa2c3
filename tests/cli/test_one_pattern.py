"""One pattern of an isolated object from the command line: simulate, look, phase, judge, report, export."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

import exitwave as ew
from command import done, refused
from exitwave.evaluation.comparison import align_estimate
from exitwave.physics.fourier import conjugate_inverse

CDI = ("cdi", "--starts", 3, "--cycles", 2, "--hio", 100)


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("isolated") / "pattern.cxi"
    done("simulate", "isolated", "--frame-px", 56, "--photons-per-frame", 1e7, "--seed", 1, "-o", path)
    return path


@pytest.fixture(scope="module")
def phased(pattern: Path) -> Path:
    path = pattern.with_name("out.h5")
    done("reconstruct", pattern, *CDI, "--free-fraction", 0.05, "-o", path)
    return path


def test_info_describes_one_pattern(pattern):
    out = done("info", pattern).out
    assert "frame / object" in out
    assert "nothing suspicious" in out
    assert "overlap" not in out
    assert "raar" not in out


def test_the_object_is_found_and_judged_against_the_truth(pattern, phased):
    found = json.loads(done("evaluate", phased, "--truth", pattern, "--json").out)
    assert found["M-NRMSE"] < 0.12
    assert found["M-SSIM-phase"] > 0.9
    assert found["alignment"]["removed"] == ["phase", "scale", "shift", "twin"]
    assert 0 < found["residual"] < found["free-residual"] < 0.1


def test_a_result_holds_support_and_spread_and_comes_back(phased):
    result = ew.read_result(phased)
    assert result.estimate.support.dtype == torch.bool
    assert not bool(result.estimate.object[~result.estimate.support].any())
    assert result.spread.object.shape == result.estimate.object.shape
    ew.write(result, phased.with_name("again.h5"))
    again = ew.read_result(phased.with_name("again.h5"))
    assert torch.equal(again.estimate.support, result.estimate.support)


def test_a_result_starts_another_run(pattern, phased):
    output = pattern.with_name("more.h5")
    done("reconstruct", pattern, "er", "--epochs", 5, "--start", phased, "-o", output)
    first, second = ew.read_result(phased), ew.read_result(output)
    assert second.residual <= first.residual
    assert second.history[0] == pytest.approx(first.residual, rel=0.2)


def test_the_report_speaks_of_the_object_and_not_of_a_probe(pattern, phased):
    done("report", phased, "--truth", pattern)
    page = phased.with_suffix(".html").read_text("utf-8")
    assert "Isolated object phased from its pattern" in page
    assert "Support in the whole frame" in page
    assert "<h2>Probe</h2>" not in page
    assert "twin image turned back" in page


def test_pictures_are_exported(phased):
    done("export", phased, "-o", phased.with_name("figure.svg"))
    assert phased.with_name("figure.svg").read_bytes().startswith(b"<?xml")
    done("export", phased, "-o", phased.with_name("picture.png"), "--plain")
    assert phased.with_name("picture_phase.png").exists()


def test_a_job_describes_several_starts(pattern):
    job = pattern.with_name("job.yaml")
    member = "[{name: er, epochs: 5}, {name: hio, epochs: 20}, {name: er, epochs: 5}]"
    job.write_text(f"{{scan: pattern.cxi, output: job.h5, solver: {{name: best_of, starts: 2, member: {member}}}}}")
    done("run", job)
    assert len(ew.read_result(pattern.with_name("job.h5")).history) == 60


def test_a_tiff_without_positions_is_read_as_one_pattern(pattern):
    frame = ew.read(pattern).frames(slice(None))[0].numpy()
    path = pattern.with_name("pattern.tif")
    tifffile.imwrite(path, frame.astype(np.float32))
    geometry = ("--energy-ev", 8000, "--distance-m", 2, "--detector-pixel-m", 75e-6)
    done("reconstruct", path, "hio", "--epochs", 20, *geometry, "-o", pattern.with_name("tiff.h5"))
    direct = pattern.with_name("direct.h5")
    done("reconstruct", pattern, "hio", "--epochs", 20, "-o", direct)
    same = ew.read_result(pattern.with_name("tiff.h5")).estimate.object
    assert torch.equal(same, ew.read_result(direct).estimate.object)


def test_options_of_scans_are_refused(pattern, tmp_path):
    assert "leave out --frames" in refused(tmp_path, "simulate", "isolated", "--frames", 9, "-o", tmp_path / "x.cxi")
    focused = ("simulate", "isolated", "--focus-distance-m", 1, "-o", tmp_path / "x.cxi")
    assert "leave out --focus-distance-m" in refused(tmp_path, *focused)
    out = ("-o", tmp_path / "x.h5")
    assert "leave out modes" in refused(tmp_path, "reconstruct", pattern, "hio", "--modes", 2, *out)
    assert "cdi, cdi_raar, er, hio can reconstruct it" in refused(tmp_path, "reconstruct", pattern, "rpie", *out)
    assert "described in a YAML job" in refused(tmp_path, "reconstruct", pattern, "best_of", *out)


def test_halves_of_one_pattern_are_refused(phased, tmp_path):
    assert "one pattern of an isolated object has no halves to compare" in refused(
        tmp_path, "evaluate", phased, "--split-half"
    )


def test_methods_are_compared_as_twins_of_one_another(pattern, tmp_path):
    solvers = ("hio", "cdi_raar", "--epochs", 300)
    done("compare", pattern, *solvers, "--truth", pattern, "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "Difference from truth" in page
    assert "Probe, strongest mode" not in page
    truth = ew.read_truth(pattern)
    turned = replace(truth, object=conjugate_inverse(truth.object) * 2j)
    laid = align_estimate(turned, truth).object
    assert float((laid - truth.object).norm() / truth.object.norm()) < 0.01


def test_a_support_is_stated_by_shape_or_file_and_kept_in_the_job(pattern, tmp_path):
    np.save(tmp_path / "support.npy", np.ones((24, 24)))
    job = tmp_path / "job.yaml"
    job.write_text(f"{{scan: {pattern}, output: out.h5, support: support.npy, solver: {{name: hio, epochs: 4}}}}")
    done("run", job)
    result = ew.read_result(tmp_path / "out.h5")
    assert result.provenance["job"]["support"] == str(tmp_path / "support.npy")
    assert int(result.estimate.support.sum()) == 24 * 24
    assert result.free_residual is not None
    done("reconstruct", pattern, "hio", "--epochs", 4, "--support", "circle:12", "-o", tmp_path / "circle.h5")
    assert 400 < int(ew.read_result(tmp_path / "circle.h5").estimate.support.sum()) < 500
    wrong = ("reconstruct", pattern, "hio", "--support", "square:3", "-o", tmp_path / "x.h5")
    assert "does not exist" in refused(tmp_path, *wrong)


def test_one_pattern_needs_no_solver_named(pattern, tmp_path):
    out = done("reconstruct", pattern, "--starts", 1, "--cycles", 1, "--hio", 2, "--er", 0, "-o", tmp_path / "x.h5").out
    assert "no solver was named: cdi" in out
