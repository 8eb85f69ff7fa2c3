"""Files of rocking curves with something wrong in them: read as something sound, or refused in words; never a traceback."""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import exitwave as ew
from exitwave.data.errors import ExitwaveError
from mutations import byte_changes, bytes_changed, spoil_hdf5, tree_changes
from rocking_curves import THETA_DEG, made_curve
from rocking_files import STATED_ALL, write_cdiutils, write_cohere, write_p10, write_pynx, write_spec_folder
from rocking_layouts import LAYOUTS

some = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
"""Always the same examples, so that a run is repeatable; raise max_examples and drop derandomize to look for more."""


def _facility(name: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            LAYOUTS[name](file, THETA_DEG)

    return write


WRITERS: dict[str, Callable[[Path], None]] = {
    "own": lambda path: ew.write(made_curve(), path),
    "cdiutils": write_cdiutils,
    "pynx": write_pynx,
    **{name: _facility(name) for name in LAYOUTS},
}
STATED = {key: STATED_ALL[key] for key in ("distance_m", "detector_pixel_m")}


def sound_or_refused(path: Path, **stated: Any) -> None:
    with contextlib.suppress(ExitwaveError):
        read = ew.read(path, ew.ReadOptions(**stated))
        read.frames(slice(None))
        if isinstance(read, ew.RockingCurve):
            assert bool(read.angles_rad.isfinite().all())
            assert np.isfinite(read.scattering_vector).all()
            read.told()


@pytest.mark.parametrize("name", WRITERS)
@some
@given(changes=tree_changes)
def test_a_rocking_curve_with_wrong_contents(name: str, changes: Any) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "scan.cxi"
        WRITERS[name](path)
        spoil_hdf5(path, changes)
        sound_or_refused(path, **STATED)
        if name == "pynx":
            sound_or_refused(path, **STATED_ALL)


TEXTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cohere": (write_cohere, "conf/config_instr"),
    "spec": (write_spec_folder, "Staff20-1a.spec"),
    "fio": (write_p10, "crystal_00054.fio"),
}


@pytest.mark.parametrize("name", TEXTS)
@some
@given(changes=st.lists(byte_changes, min_size=1, max_size=1))
def test_a_rocking_curve_with_wrong_bytes_in_its_text(name: str, changes: Any) -> None:
    write, place = TEXTS[name]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "crystal_00054"
        read = write(path) or path
        text = (path / place).read_bytes()
        for how, where in changes[0]:
            text = bytes_changed(text, how, where)
        (path / place).write_bytes(text)
        sound_or_refused(read, **STATED)


@pytest.mark.parametrize("lost", ["conf/config_instr", "conf/config", "Staff20-1a.spec", "preprocessed_data"])
def test_an_experiment_of_cohere_that_lost_a_part(tmp_path: Path, lost: str) -> None:
    write_cohere(tmp_path / "exp")
    path = tmp_path / "exp" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    sound_or_refused(tmp_path / "exp", **STATED)
