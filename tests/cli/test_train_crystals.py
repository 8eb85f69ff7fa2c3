"""AutoPhaseNN on the command line: trained on made crystals and on measured ones, used by its folder, its wrong input named."""

from pathlib import Path

import pytest

from command import call, done, refused
from exitwave import read_result
from exitwave.data.estimate import BraggEstimate
from exitwave.io.weights import read_record

TINY = ("--epochs", 2, "--samples-per-epoch", 16, "--batch", 8, "--grid-px", 16, "--width", 0.5)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the rocking curve of a crystal and a network trained on made ones."""
    folder = tmp_path_factory.mktemp("crystals")
    curve = ("simulate", "crystal", "--frame-px", 32, "--angles", 32, "--photons-per-frame", "1e6")
    done(*curve, "-o", folder / "curve.cxi")
    outcome = done("train", "autophasenn", "--save", folder / "crystals", *TINY)
    assert "finished: 2 epochs" in outcome.out
    assert "exitwave reconstruct SCAN" in outcome.out
    assert "--probe" not in outcome.out
    return folder


def crystal(place: Path, *words: object) -> tuple[float, BraggEstimate]:
    done("reconstruct", place / "curve.cxi", *words, "-o", place / "out.h5")
    result = read_result(place / "out.h5")
    assert isinstance(result.estimate, BraggEstimate)
    (place / "out.h5").unlink()
    return result.residual, result.estimate


def test_a_trained_folder_and_the_network_of_the_package_reconstruct(place: Path) -> None:
    _, tiny = crystal(place, place / "crystals")
    assert tiny.object.shape == (32, 32, 32)
    assert bool(tiny.support.any())
    by_name, one = crystal(place, "autophasenn")
    by_network, other = crystal(place, "crystals")
    assert by_name == by_network < 0.2
    assert (one.object == other.object).all()


def test_a_measured_crystal_trains_further_from_weights(place: Path) -> None:
    words = ("--weights", place / "crystals", "--learning-rate", 1e-4, "--epochs", 1)
    outcome = done("train", "autophasenn", place / "curve.cxi", "--save", place / "tuned", *words)
    assert "finished: 1 epochs" in outcome.out
    assert len(read_record(place / "tuned")["crystals"]) == 1
    again = done("train", "autophasenn", place / "curve.cxi", "--save", place / "tuned", "--resume", *words)
    assert "trained already" in again.out


def test_help_shows_what_it_takes(place: Path) -> None:
    out = call("train", "autophasenn", "--help").out
    assert "[SCAN...]" in out
    assert "--samples-per-epoch" in out
    assert "--labels" not in out


def test_wrong_input_is_named(place: Path) -> None:
    done("simulate", "lines", "--frame-px", 32, "--frames", 16, "-o", place / "scan.cxi")
    line = refused(place, "train", "autophasenn", place / "scan.cxi", "--save", place / "never", *TINY)
    assert "autophasenn is for the rocking curve of a crystal, but this is a ptychography scan" in line
    line = refused(place, "reconstruct", place / "scan.cxi", place / "crystals", "-o", place / "never.h5")
    assert "is for the rocking curve of a crystal" in line
    assert "--grid-px" in refused(place, "train", "autophasenn", "--save", place / "never", "--grid-px", 20)
    line = refused(place, "train", "autophasenn", "--save", place / "crystals", *TINY)
    assert "holds a trained network" in line
    line = refused(place, "reconstruct", place / "curve.cxi", "autophasenn", "--grid-px", 64, "-o", place / "never.h5")
    assert "crystals was trained with grid_px 32 (here 64)" in line
