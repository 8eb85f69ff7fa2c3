from pathlib import Path

import h5py
import numpy as np
import pytest

from exitwave.data.errors import FormatError
from exitwave.io.positions import read_positions

YX = np.array([[1.0, 20.0], [2.5, 30.0], [3.0, 50.0]])


@pytest.mark.parametrize(
    ("content", "unit"),
    [
        ("1 20\n2.5 30\n3 50\n", None),
        ("y,x\n1,20\n2.5,30\n3,50\n", None),
        ("x_um,y_um\n20,1\n30,2.5\n50,3\n", "um"),
        ("# frame; X [nm]; Y [nm]\n0; 20; 1\n1; 30; 2.5\n2; 50; 3\n", "nm"),
        ("# made by a beamline\n# date 2026\nposition_y_m\tposition_x_m\n1\t20\n2.5\t30\n3\t50\n", "m"),
        ("1 20\n2,5 30\n3 50\n", None),
        ("1,0\t20,0\n2,5\t3,0e1\n3,0\t50,0\n", None),
        ("Bild; Y (um); X (um)\n0; 1,0; 20,00\n1; 2,5; 30\n2; 3; 50\n", "um"),
        ("frame x_mm y_mm\n2 30 2.5\n3 50 3\n1 20 1\n", "mm"),
        ("y_um,x_um,trigger number\n0.5,19,1\n1.5,21,1\n2,30,2\n3,30,2\n3,50,3\n", "um"),
        ("t,probe_position_x_px,probe_position_y_px\n9,20,1\n9,30,2.5\n9,50,3\n", "px"),
    ],
)
def test_text_tables_are_read_by_their_column_names(tmp_path: Path, content: str, unit: str | None) -> None:
    path = tmp_path / "positions.txt"
    path.write_text(content)
    positions, found = read_positions(path)
    np.testing.assert_array_equal(positions, YX)
    assert found == unit


@pytest.mark.parametrize(
    "content",
    [
        "1 2 3\n4 5 6\n",
        "a,b,c\n1,2,3\n",
        "y,x,x\n1,2,3\n",
        "y,z\n1,2\n",
        "y_um,x_nm\n1,2\n",
        "y,x\n",
        "1 2\n3\n",
        "1,5 2\n1.5 3\n",
        "1,5,2,5\n",
        "frame,y,x\n0.5,1,2\n",
        "1 2\nhi ho\n",
    ],
)
def test_a_table_that_could_mean_several_things_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "positions.txt"
    path.write_text(content)
    with pytest.raises(FormatError):
        read_positions(path)


def test_numpy_arrays_are_read_upright_or_turned(tmp_path: Path) -> None:
    for array in (YX, YX.T):
        np.save(tmp_path / "positions.npy", array)
        np.testing.assert_array_equal(read_positions(tmp_path / "positions.npy")[0], YX)
    np.save(tmp_path / "positions.npy", np.zeros((4, 5)))
    with pytest.raises(FormatError, match=r"\(4, 5\)"):
        read_positions(tmp_path / "positions.npy")


def test_hdf5_positions_are_found_by_name_with_their_unit(tmp_path: Path) -> None:
    path = tmp_path / "positions.h5"
    with h5py.File(path, "w") as file:
        file["scan/y"], file["scan/x"], file["scan/index"] = YX[:, 0], YX[:, 1], np.arange(3)
        file["scan/y"].attrs["units"] = file["scan/x"].attrs["units"] = "um"
    positions, unit = read_positions(path)
    np.testing.assert_array_equal(positions, YX)
    assert unit == "um"


def test_old_pty_chi_positions_are_metres(tmp_path: Path) -> None:
    path = tmp_path / "para.h5"
    with h5py.File(path, "w") as file:
        file["ppX"], file["ppY"] = YX[None, :, 1], YX[None, :, 0]
    positions, unit = read_positions(path)
    np.testing.assert_array_equal(positions, YX)
    assert unit == "m"


def test_hdf5_positions_of_unclear_place_are_refused_with_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "positions.h5"
    with h5py.File(path, "w") as file:
        file["first"], file["second"] = YX, YX
    with pytest.raises(FormatError, match="first, second"):
        read_positions(path)


def test_missing_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="does not exist"):
        read_positions(tmp_path / "nothing.txt")
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    with pytest.raises(FormatError, match="neither text"):
        read_positions(tmp_path / "noise")
