"""Good files for tests of bad ones."""

import shutil
from pathlib import Path

import pytest

from command import done


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan of 16 frames with nothing wrong."""
    path = tmp_path_factory.mktemp("good") / "scan.cxi"
    done("simulate", "siemens", "--frames", 16, "--frame-px", 16, "-o", path)
    return path


@pytest.fixture(scope="module")
def result(good: Path) -> Path:
    path = good.with_name("result.h5")
    done("reconstruct", good, "rpie", "--epochs", 1, "-o", path)
    return path


@pytest.fixture
def scan(good: Path, tmp_path: Path) -> Path:
    """A copy of the good scan, to be spoilt."""
    return Path(shutil.copy(good, tmp_path / "scan.cxi"))
