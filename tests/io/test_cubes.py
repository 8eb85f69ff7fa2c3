"""Files of electron microscopes: the raster of an asymmetric object comes out with the right rows, columns, steps and signs."""

import os
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import vendor_files as files
from exitwave.data import prepare
from exitwave.data.errors import FormatError, InputError
from exitwave.data.geometry import electron_wavelength_m, photon_wavelength_m
from exitwave.data.scan import Scan
from exitwave.io import formats
from exitwave.io.assemble import ReadOptions
from oracle import DETECTOR_PIXEL_M, DISTANCE_M, ENERGY_EV, HEIGHT, WIDTH, pattern

ROWS, COLUMNS, STEP_PX = 3, 5, (4, 3)
DISTANCE = DISTANCE_M * photon_wavelength_m(ENERGY_EV) / electron_wavelength_m(100e3)
"""At which electrons of 100 kV give the object pixel of the oracle."""


@pytest.fixture
def cube(oracle: Any) -> np.ndarray:
    """(3, 5, 16, 20): the window moves 4 rows down and 3 columns to the right."""
    frames = [
        pattern(oracle.object, oracle.probe, 4 * row, 3 * column) for row in range(ROWS) for column in range(COLUMNS)
    ]
    return np.stack(frames).reshape(ROWS, COLUMNS, HEIGHT, WIDTH)


def stated(oracle: Any) -> ReadOptions:
    """Geometry and steps of the raster, for whatever the file does not say."""
    pixel_y, pixel_x = oracle.scan.object_pixel_m
    step_nm = 1e9 * STEP_PX[0] * pixel_y, 1e9 * STEP_PX[1] * pixel_x
    return ReadOptions(kv=100.0, distance_m=DISTANCE, detector_pixel_m=DETECTOR_PIXEL_M, step_nm=step_nm)


def read(path: Path, options: ReadOptions) -> Scan:
    """A scan, for that it must be."""
    scan = formats.read_scan(path, options)
    assert isinstance(scan, Scan)
    return scan


def write_npy(path: Path, cube: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, cube.astype("u2"))


def write_fortran_npy(path: Path, cube: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, np.asfortranarray(cube.astype("u2")))


def detector_first(write: Callable[[Path, np.ndarray], None]) -> Callable[[Path, np.ndarray], None]:
    return lambda path, cube: write(path, cube.transpose(2, 3, 0, 1).astype("u2"))


WRITERS: dict[str, tuple[str, Callable[[Path, np.ndarray], None]]] = {
    "empad": ("empad", files.write_empad),
    "empad, other words": ("empad", lambda path, cube: files.write_empad(path, cube, xml="pix")),
    "merlin": ("merlin", files.write_mib),
    "merlin, 32 bit, longer header": ("merlin", lambda path, cube: files.write_mib(path, cube, kind="U32", header=768)),
    "dm4": ("dm", files.write_dm4),
    "dm3, highest byte first": ("dm", lambda path, cube: files.write_dm4(path, cube, version=3, order=">")),
    "dm4, scan fastest": ("dm", lambda path, cube: files.write_dm4(path, cube, swapped=False)),
    "dm4, told by the tag": ("dm", lambda path, cube: files.write_dm4(path, cube, units=("", ""))),
    "dm4, scan fastest by the tag": (
        "dm",
        lambda path, cube: files.write_dm4(path, cube, swapped=False, units=("", "")),
    ),
    "emd": ("emd", files.write_emd),
    "prismatic": ("emd", files.write_prismatic),
    "abtem": ("abtem", files.write_abtem_zarr),
    "abtem 0": ("abtem", files.write_abtem_hdf5),
    "npy": ("npy", write_npy),
    "npy, order of Fortran": ("npy", write_fortran_npy),
    "mat 5": ("mat", files.write_mat5),
    "mat 5, detector first": ("mat", detector_first(files.write_mat5)),
    "mat 7.3": ("mat", files.write_mat73),
    "mat 7.3, detector first": ("mat", detector_first(files.write_mat73)),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_raster_has_the_right_rows_columns_and_signs(
    tmp_path: Path, oracle: Any, cube: np.ndarray, explain: Callable[[Scan], None], kind: str
) -> None:
    name, write = WRITERS[kind]
    write(tmp_path / "data", cube)
    assert formats.detect(tmp_path / "data").name == name
    scan = read(tmp_path / "data", stated(oracle))
    if name == "empad":
        scan = prepare.crop(scan, (HEIGHT, WIDTH), (64, 64))
    assert scan.geometry.particle == "electron"
    explain(scan)
    # Out of order and more than once, as batches ask for them.
    wanted = torch.tensor([14, 2, 2, 9])
    torch.testing.assert_close(scan.frames(wanted), scan.frames(slice(None))[wanted])


@pytest.mark.parametrize(
    "kind", ["empad", "merlin", "dm4", "dm4, scan fastest", "npy", "emd", "mat 7.3, detector first"]
)
def test_frames_stay_in_the_file(tmp_path: Path, oracle: Any, cube: np.ndarray, kind: str) -> None:
    WRITERS[kind][1](tmp_path / "data", cube)
    assert not formats.read_scan(tmp_path / "data", stated(oracle)).patterns.in_memory


def test_a_block_file_tells_raster_step_and_voltage(tmp_path: Path, cube: np.ndarray) -> None:
    dim = np.minimum(files.embedded(cube, 32), 255)
    files.write_blo(tmp_path / "data", dim)
    scan = read(tmp_path / "data", ReadOptions(distance_m=0.2, detector_pixel_m=1e-4))
    assert scan.geometry.wavelength_m == pytest.approx(2.5079e-12, rel=1e-4)
    places = scan.positions_m.numpy() / 1e-9
    np.testing.assert_allclose(places, [(2 * r, 3 * c) for r in range(ROWS) for c in range(COLUMNS)])
    np.testing.assert_array_equal(scan.frames(slice(None)).numpy(), dim.reshape(-1, 32, 32))


def test_a_header_that_contradicts_the_length_of_the_file_is_refused(tmp_path: Path, cube: np.ndarray) -> None:
    files.write_blo(tmp_path / "data", files.embedded(cube, 32) * 0)
    raw = (tmp_path / "data").read_bytes()
    # Rows, then the side of a frame.
    for place, value, fault in ((26, 7, "15 frames but is said to be a raster of 7 rows"), (20, 40, "of another kind")):
        (tmp_path / "data").write_bytes(raw[:place] + struct.pack("<H", value) + raw[place + 2 :])
        with pytest.raises(FormatError, match=fault):
            formats.read_scan(tmp_path / "data", ReadOptions(mrad_per_px=0.5))


@pytest.mark.parametrize("write", [files.write_prismatic, files.write_abtem_zarr])
def test_a_simulation_says_voltage_steps_and_detector(
    tmp_path: Path, cube: np.ndarray, write: Callable[[Path, np.ndarray], None]
) -> None:
    write(tmp_path / "data", cube)
    scan = read(tmp_path / "data", ReadOptions())
    assert scan.geometry.energy_ev == pytest.approx(80e3)
    # 1 / (rows x 0.02 per angstrom), 1 / (columns x 0.03 per angstrom).
    assert scan.object_pixel_m == pytest.approx((1e-10 / (HEIGHT * 0.02), 1e-10 / (WIDTH * 0.03)))
    np.testing.assert_allclose(scan.positions_m[[1, COLUMNS]].numpy(), [(0, 3e-10), (2e-10, 0)], atol=1e-15)


def test_a_dm4_says_voltage_steps_and_detector(tmp_path: Path, cube: np.ndarray) -> None:
    for swapped in (True, False):
        files.write_dm4(tmp_path / "data", cube, swapped=swapped)
        scan = read(tmp_path / "data", ReadOptions())
        assert scan.geometry.energy_ev == pytest.approx(300e3)
        assert scan.object_pixel_m == pytest.approx((1e-9 / (HEIGHT * 0.2), 1e-9 / (WIDTH * 0.1)))
        np.testing.assert_allclose(scan.positions_m[[1, COLUMNS]].numpy(), [(0, 0.3e-9), (0.5e-9, 0)], rtol=1e-6)


def test_py4dstem_says_steps_and_detector_and_asks_for_the_voltage(tmp_path: Path, cube: np.ndarray) -> None:
    files.write_emd(tmp_path / "data", cube, step_angstrom=(2.0, 3.0))
    with pytest.raises(FormatError, match="--kv"):
        formats.read_scan(tmp_path / "data", ReadOptions())
    scan = read(tmp_path / "data", ReadOptions(kv=300.0))
    assert scan.object_pixel_m == pytest.approx((1e-10 / (HEIGHT * 0.02), 1e-10 / (WIDTH * 0.03)))
    np.testing.assert_allclose(scan.positions_m[[1, COLUMNS]].numpy(), [(0, 3e-10), (2e-10, 0)], atol=1e-15)
    # What is stated wins.
    told = read(tmp_path / "data", ReadOptions(kv=300.0, mrad_per_px=0.5, step_nm=1.0))
    assert told.geometry.pixel_angle_rad == pytest.approx((5e-4, 5e-4))
    assert float(told.positions_m[1, 1]) == pytest.approx(1e-9)


def test_the_name_of_an_empad_file_tells_the_raster(tmp_path: Path, oracle: Any, cube: np.ndarray) -> None:
    path = tmp_path / "scan_x5_y3.raw"
    files.write_empad(path, cube, xml=None)
    scan = read(path, stated(oracle))
    assert len(np.unique(scan.positions_m[:, 0].numpy())) == 3


def test_the_xml_of_an_empad_file_is_read_in_its_place(tmp_path: Path, oracle: Any, cube: np.ndarray) -> None:
    path = tmp_path / "first.raw"
    files.write_empad(path, cube)
    scan = read(path.with_suffix(".xml"), stated(oracle))
    assert scan.patterns.shape == (15, 128, 128)
    os.remove(path)
    with pytest.raises(FormatError, match=r"first\.raw, which is not beside it"):
        formats.read_scan(path.with_suffix(".xml"), stated(oracle))


def test_without_a_raster_it_is_asked_for_and_then_taken(
    tmp_path: Path, oracle: Any, cube: np.ndarray, explain: Any
) -> None:
    files.write_mib(tmp_path / "data", cube, hdr=False)
    with pytest.raises(FormatError, match="--scan"):
        formats.read_scan(tmp_path / "data", stated(oracle))
    explain(read(tmp_path / "data", replace(stated(oracle), scan="3x5")))


def test_a_scan_of_other_size_is_refused_in_one_line(tmp_path: Path, oracle: Any, cube: np.ndarray) -> None:
    files.write_mib(tmp_path / "data", cube)
    with pytest.raises(InputError, match="15 diffraction patterns but 20 positions"):
        formats.read_scan(tmp_path / "data", replace(stated(oracle), scan=(4, 5))).settled()
    files.write_empad(tmp_path / "raw", cube[:2])
    (tmp_path / "raw.xml").write_text('<root><raw_file filename="raw"/><pix_x>5</pix_x><pix_y>3</pix_y></root>')
    with pytest.raises(FormatError, match=r"10 frames but is said to be a raster of 3 rows and 5 columns.*--scan 2x5"):
        formats.read_scan(tmp_path / "raw", stated(oracle))


@pytest.mark.parametrize("kind", ["npy", "emd", "mat 5", "dm4", "abtem"])
def test_a_scan_that_contradicts_the_axes_of_a_cube_is_refused(
    tmp_path: Path, oracle: Any, cube: np.ndarray, kind: str
) -> None:
    WRITERS[kind][1](tmp_path / "data", cube)
    with pytest.raises(FormatError, match=r"raster of 3 x 5 but scan is 5x3; leave out --scan"):
        formats.read_scan(tmp_path / "data", replace(stated(oracle), scan="5x3"))


@pytest.mark.parametrize(
    ("kind", "fault"), [("merlin", "truncated"), ("empad", "truncated"), ("dm4", "truncated"), ("npy", "readable")]
)
def test_a_cut_file_is_named_so(tmp_path: Path, oracle: Any, cube: np.ndarray, kind: str, fault: str) -> None:
    WRITERS[kind][1](tmp_path / "data", cube)
    os.truncate(tmp_path / "data", os.path.getsize(tmp_path / "data") - 1500)
    with pytest.raises(FormatError, match=fault):
        formats.read_scan(tmp_path / "data", replace(stated(oracle), format=WRITERS[kind][0]))


def test_raw_mode_of_a_merlin_is_named_with_the_way_out(tmp_path: Path, oracle: Any, cube: np.ndarray) -> None:
    files.write_mib(tmp_path / "data", cube, kind="R64")
    with pytest.raises(FormatError, match="raw mode"):
        formats.read_scan(tmp_path / "data", stated(oracle))


def test_a_file_of_one_cube_is_read_and_one_of_several_asks_for_a_recipe(
    tmp_path: Path, oracle: Any, cube: np.ndarray, explain: Any
) -> None:
    with h5py.File(tmp_path / "one", "w") as file:
        file["frames"], file["kv"] = cube, 100.0
    explain(read(tmp_path / "one", stated(oracle)))
    with h5py.File(tmp_path / "one", "a") as file:
        file["positions"] = np.zeros((15, 2))
    with pytest.raises(FormatError):
        formats.read_scan(tmp_path / "one", stated(oracle))
    with h5py.File(tmp_path / "two", "w") as file:
        file["datacube_1/data"] = file["datacube_2/data"] = cube
    with pytest.raises(FormatError, match="several cubes"):
        formats.read_scan(tmp_path / "two", stated(oracle))


def test_frames_of_edf_and_cbf_files_are_ordered_by_their_numbers(tmp_path: Path, oracle: Any, explain: Any) -> None:
    np.savetxt(tmp_path / "positions.csv", oracle.positions_m, delimiter=",", header="y_m,x_m", comments="")
    options = ReadOptions(
        positions=tmp_path / "positions.csv", energy_ev=8000.0, distance_m=1.5, detector_pixel_m=(75e-6, 55e-6)
    )
    for ending in ("cbf", "edf"):
        folder = tmp_path / ending
        folder.mkdir()
        for number, frame in enumerate(oracle.patterns):
            if ending == "cbf":
                files.write_cbf(folder / f"f_{number}.cbf", frame)
            else:
                files.write_edf(folder / f"f_{number}.edf", frame[None])
        assert formats.detect(folder).name == "edf-cbf"
        explain(read(folder, options))
    whole = (tmp_path / "cbf" / "f_3.cbf").read_bytes()
    for part in (20, len(whole) - 100):
        (tmp_path / "cbf" / "f_3.cbf").write_bytes(whole[:part])
        with pytest.raises(FormatError, match=r"f_3\.cbf"):
            formats.read_scan(tmp_path / "cbf", options).frames(slice(None))


@pytest.mark.parametrize(("module", "kind"), [("fabio", "cbf"), ("zarr", "abtem")])
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, cube: np.ndarray, monkeypatch: pytest.MonkeyPatch, module: str, kind: str
) -> None:
    if kind == "cbf":
        files.write_cbf(tmp_path / "data", cube[0, 0])
    else:
        files.write_abtem_zarr(tmp_path / "data", cube)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(FormatError, match=r"exitwave\[formats\]"):
        formats.read_scan(tmp_path / "data", ReadOptions(energy_ev=8000.0))


def test_a_merlin_at_a_beamline_counts_photons(tmp_path: Path, cube: np.ndarray) -> None:
    files.write_mib(tmp_path / "data", cube)
    scan = read(tmp_path / "data", ReadOptions(energy_ev=8000.0, distance_m=1.0, detector_pixel_m=55e-6, step_nm=100.0))
    assert scan.geometry.particle == "photon"
    assert scan.geometry.wavelength_m == pytest.approx(photon_wavelength_m(8000.0))
