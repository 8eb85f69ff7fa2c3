"""4D-STEM as a microscopist comes to it: from the shell, in jobs, in reports."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import exitwave as ew
from command import done, refused


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stem") / "scan.cxi"
    done("simulate", "lattices", "--frame-px", 64, "--scan", "8x9", "--photons-per-frame", 1e4, "-o", path)
    return path


STATED = ("--semi-angle-mrad", 20, "--defocus-nm", 20)


def test_info_speaks_of_electrons_and_of_no_distance_that_nobody_stated(scan: Path) -> None:
    told = done("info", scan, *STATED).out
    assert "300 kV, wavelength 1.9687 pm" in told
    assert "1.25 mrad a pixel, to 40 mrad from the middle" in told
    assert "semi-angle 20 mrad, defocus 20 nm stated" in told
    assert "0.2461 angstrom" in told
    assert "electrons a frame" in told
    assert "a square angstrom" in told
    for word in ("photon", "away", "camera length", "keV"):
        assert word not in told


def test_a_camera_length_is_told_where_it_is_stated(scan: Path) -> None:
    told = done("info", scan, "--camera-length-m", 0.1, "--detector-pixel-m", 125e-6).out
    assert "1.25 mrad a pixel, to 40 mrad from the middle; camera length 10 cm" in told.replace("100 mm", "10 cm")


def test_the_disc_tells_the_angle_of_a_pixel_where_nothing_else_does(tmp_path: Path) -> None:
    made = ew.simulate_stem("lattices", microscope=ew.Microscope(scan="6x6"))
    np.savez(
        tmp_path / "cube.npz",
        diff3d=made.scan.frames(slice(None)).numpy().astype(np.uint16),
        xcoords=np.tile(np.arange(6.0), 6),
        ycoords=np.repeat(np.arange(6.0), 6),
    )
    words = ("--kv", 300, "--scan", "6x6", "--step-pm", 80)
    assert "--mrad-per-px" in refused(tmp_path, "info", tmp_path / "cube.npz", *words)
    told = json.loads(done("info", tmp_path / "cube.npz", *words, "--semi-angle-mrad", 20, "--json").out)
    assert told["pixel_angle_rad"][0] == pytest.approx(1.25e-3, rel=0.03)
    assert "by the bright disc" in done("info", tmp_path / "cube.npz", *words, "--semi-angle-mrad", 20).out


def test_a_negative_defocus_can_be_stated(scan: Path) -> None:
    assert "defocus -20 nm stated" in done("info", scan, "--defocus-nm", "-20").out


def test_the_report_tells_the_dose_that_info_tells(scan: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "out.h5", tmp_path / "out.html"
    words = ("--slices", 2, "--slice-spacing-m", 1e-8, "--epochs", 2, "-o", out, "--report", page)
    # Two epochs of few frames: whatever the verdict says.
    done("reconstruct", scan, "rpie", *STATED, *words)
    result = ew.read_result(out)
    assert float(result.estimate.probe.abs().square().sum()) == pytest.approx(1e4, rel=0.01)  # pyright: ignore
    assert re.search(r"(1e\+04|9\.9\de\+03|99\d\d|100\d\d) electrons per frame", page.read_text())
    assert result.geometry.angles_only
    assert result.geometry.optics is not None
    assert result.geometry.optics.words == "semi-angle 20 mrad, defocus 20 nm"


def test_everything_speaks_of_electrons(scan: Path, tmp_path: Path) -> None:
    out, page, view = tmp_path / "out.h5", tmp_path / "out.html", tmp_path / "view.html"
    shown = [done("reconstruct", scan, "rpie", *STATED, "--epochs", 2, "-o", out, "--report", page)]
    shown.append(done("evaluate", out, "--truth", scan))
    done("view", out, "-o", view)
    words = [each.out + each.err for each in shown] + [page.read_text(), view.read_text(), repr(ew.read(scan))]
    words += [repr(ew.inspect(ew.read(scan))), repr(ew.read_result(out))]
    words += [text.get_text() for axes in ew.read(scan).show().axes for text in (axes.title, axes.yaxis.label)]
    for text in words:
        # Names of options stand in the provenance as they are.
        assert "photon" not in text.replace("--prepare photons=", "").replace("photons_per_frame", "")


def test_a_job_states_the_same(scan: Path, tmp_path: Path) -> None:
    job = {
        "scan": str(scan),
        "solver": {"name": "rpie", "epochs": 1},
        "output": str(tmp_path / "out.h5"),
        "reading": {"defocus_nm": 20, "scan": "8x9", "step_pm": 80, "kv": 300, "aberrations": ["C12=5nm,30deg"]},
    }
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    done("run", tmp_path / "job.yaml")
    optics = ew.read_result(tmp_path / "out.h5").geometry.optics
    assert optics is not None
    assert optics.words == "defocus 20 nm, C12=5nm,30deg"


def test_options_of_photons_and_electrons_are_not_mixed(tmp_path: Path) -> None:
    assert "leave out --energy-ev" in refused(tmp_path, "simulate", "lattices", "--energy-ev", 9000, "-o", "a.cxi")
    assert "lattices" in refused(tmp_path, "simulate", "siemens", "--kv", 300, "-o", "a.cxi")
