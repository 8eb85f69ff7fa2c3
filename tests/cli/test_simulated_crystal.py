"""The rocking curve of a made crystal from the command line: made, told, phased, judged; and which options belong to which sample."""

from pathlib import Path

import pytest
import torch

import exitwave as ew
from command import done, refused

SMALL = ("--frame-px", 20, "--angles", 20)


@pytest.fixture(scope="module")
def curve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("crystal") / "crystal.cxi"
    done("simulate", "crystal", *SMALL, "--peak-photons", 1e6, "--phase-span-rad", 1, "--seed", 2, "-o", path)
    return path


def test_the_file_holds_what_python_makes(curve: Path) -> None:
    experiment = ew.RockingExperiment(angles=20, peak_photons=1e6, phase_span_rad=1.0)
    made = ew.simulate_crystal(experiment, frame_px=20, seed=2)
    read, truth = ew.read(curve), ew.read_truth(curve)
    assert isinstance(read, ew.RockingCurve)
    assert isinstance(truth, ew.BraggEstimate)
    assert torch.equal(read.frames(slice(None)), made.scan.frames(slice(None)))
    assert torch.equal(truth.object, made.truth.object)
    assert torch.equal(truth.basis_m, made.truth.basis_m)
    assert read.diffraction == made.scan.diffraction


def test_it_is_phased_and_judged(curve: Path, tmp_path: Path) -> None:
    output = tmp_path / "crystal.h5"
    done("reconstruct", curve, "cdi", "--starts", 2, "--threshold", 0.12, "--sigma-start-px", 2, "-o", output)
    assert "Against the truth" in done("evaluate", output, "--truth", curve).out


def test_the_size_is_told(tmp_path: Path) -> None:
    told = done("simulate", "crystal", *SMALL, "--size-m", 300e-9, "-o", tmp_path / "c.cxi").out
    assert "20 angles of 20 x 20 pixels, a crystal of 300 nm" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("crystal", "--frames", 9), "leave out --frames (for siemens"),
        (("crystal", "--kv", 80), "leave out --kv (for lattices)"),
        (("siemens", "--aliens", 2, "--angles", 30), "leave out --angles, --aliens (for crystal)"),
        (("isolated", "--facets", 14), "leave out --facets and the like (for crystal)"),
        (("cristal",), "did you mean crystal?"),
        (("crystal", "--seed", -1), "seed is -1"),
        (("crystal", "--frame-px", 0), "at least 16 x 16"),
        (("crystal", "--position-error-px", 1), "need a scan"),
        (("crystal", "--oversampling", 0.9), "oversampling is 0.9"),
    ],
)
def test_what_is_no_part_of_a_sample_is_refused(tmp_path: Path, words: tuple[object, ...], said: str) -> None:
    assert said in refused(tmp_path, "simulate", *words, "-o", tmp_path / "x.cxi")
