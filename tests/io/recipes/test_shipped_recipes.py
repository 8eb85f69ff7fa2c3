"""Each shipped recipe on a file laid out as its facility does; the oracle tells whether signs and axes are right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from exitwave.data.errors import FormatError
from exitwave.data.scan import Scan
from exitwave.io import formats
from exitwave.io.assemble import ReadOptions
from exitwave.io.recipes import recipe
from exitwave.io.recipes.schema import shipped_recipes

ENERGY_EV, DISTANCE_M, PIXEL_Y_M, PIXEL_X_M = 8000.0, 1.5, 75e-6, 55e-6
WAVELENGTH_M = 1.239841984332e-6 / ENERGY_EV
CRYO = Path(__file__).parents[3].parent / "shared/data/cryo_4dstem_40x40.h5"
EVERYTHING = {"energy_ev": ENERGY_EV, "distance_m": DISTANCE_M, "detector_pixel_m": (PIXEL_Y_M, PIXEL_X_M)}
SQUARE = {"detector_pixel_m": (PIXEL_Y_M, PIXEL_X_M)}
"""Facilities that store one pixel size get the oblong pixels of the oracle stated."""


def aps_04id_polar(file: h5py.File, frames: np.ndarray, y: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    file["entry/data/data"] = frames.astype(np.uint32)
    attributes = file.create_group("entry/instrument/NDAttributes")
    attributes["Ypos"], attributes["Xpos"] = y * 1e6, x * 1e6
    attributes["DetectorDistance"] = np.full(12, DISTANCE_M * 1e3)
    attributes["BeamCenterX"], attributes["BeamCenterY"] = np.full(12, 10), np.full(12, 8)
    file["entry/instrument/bluesky/streams/baseline/mono_energy/value_start"] = ENERGY_EV / 1e3
    return SQUARE


def aps_09id_cssi(file: h5py.File, frames: np.ndarray, y: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    file["exchange/data"] = frames.astype(np.uint16)
    file["exchange/motor_pos"] = np.stack([x, y], axis=1) * 1e3
    return EVERYTHING


def aps_19id_isn(file: h5py.File, frames: np.ndarray, y: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    for block in range(3):
        name = f"isn_{block:05d}.h5"
        with h5py.File(Path(file.filename).parent / name, "w") as data:
            data["entry/data/data"] = frames[4 * block : 4 * block + 4].astype(np.uint32)
        file[f"PTYCHO/{name}"] = h5py.ExternalLink(name, "/entry/data/data")
    file["configs/photon_energy_eV"] = ENERGY_EV
    file["configs/pix_size_y"], file["configs/pix_size_x"] = PIXEL_Y_M, PIXEL_X_M
    file["configs/det_dist_mm"] = DISTANCE_M
    return {"distance_m": DISTANCE_M, "positions": table(file, y, x, "m")}


def aps_31id_lynx(file: h5py.File, frames: np.ndarray, y: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    stored = file.create_dataset("entry/data/eiger_4", data=frames.astype(np.uint32))
    stored.attrs["Photon_energy_kev"], stored.attrs["Detector_distance_m"] = [ENERGY_EV / 1e3], [DISTANCE_M]
    stored.attrs["Pixel_size"] = [PIXEL_X_M]
    stored.attrs["Center_x_pixel"], stored.attrs["Center_y_pixel"] = [10], [8]
    return {"positions": table(file, -y * 1e6, -x * 1e6, ""), **SQUARE}


def area_detector(file: h5py.File, frames: np.ndarray, y: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    file["entry/data/data"] = frames.astype(np.uint16)
    return {"positions": table(file, y * 1e9, x * 1e9, "nm"), **EVERYTHING}


def lcls_xpp(file: h5py.File, frames: np.ndarray, y: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    # Every other shot is too weak, one has no position.
    shots = np.zeros((26, *frames.shape[1:]))
    shots[:24:2] = frames
    ipm, ch03, ch05 = np.full(26, 500.0), np.full(26, 7.0), np.full(26, 7.0)
    ipm[:24:2], ch03[:24:2], ch05[:24:2] = 2500.0, -x * 1e6, -y * 1e6
    ipm[25], ch03[25] = 2500.0, np.nan
    file["jungfrau1M/image_img"] = shots
    file["lmc/ch03"], file["lmc/ch04"], file["lmc/ch05"], file["ipm2/sum"] = ch03, np.full(26, 9.0), ch05, ipm
    return EVERYTHING


def maxiv_nanomax(file: h5py.File, frames: np.ndarray, y: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    file["entry/measurement/eiger1m/frames"] = frames.astype(np.uint32)
    file["entry/measurement/pseudo/y"], file["entry/measurement/pseudo/x"] = -y * 1e6, -x * 1e6
    return EVERYTHING


def maxiv_nanomax_fly(file: h5py.File, frames: np.ndarray, y: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    """Three lines of four frames."""
    file["entry/measurement/eiger4m/frames"] = frames.astype(np.uint32).reshape(3, 4, *frames.shape[1:])
    for axis, values in (("y", y), ("x", x)):
        file[f"entry/measurement/npoint_buff/{axis}"] = -values.reshape(3, 4) * 1e6
    file["entry/snapshots/pre_scan/energy"] = [ENERGY_EV]
    return {"distance_m": DISTANCE_M, **SQUARE}


def nsls2_holoptycho(file: h5py.File, frames: np.ndarray, y: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    file["dp"] = frames.astype(np.float32)
    file["points"] = np.stack([-y, -x / 0.5]) * 1e6
    file["angle"] = 120.0
    hxn_numbers(file)
    return SQUARE


def nsls2_hxn_1(file: h5py.File, frames: np.ndarray, y: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    file["diff_data/merlin1/det_images"] = frames.astype(np.uint16)
    file["scan/scan_positions"] = np.stack([x, y]) * 1e6
    file["scan/energy"] = ENERGY_EV
    return {"distance_m": DISTANCE_M, **SQUARE}


def nsls2_hxn_2(file: h5py.File, frames: np.ndarray, y: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    file["diffamp"] = np.sqrt(frames)
    file["points"] = np.stack([x, y]) * 1e6
    hxn_numbers(file)
    return SQUARE


def hxn_numbers(file: h5py.File) -> None:
    file["lambda_nm"], file["z_m"], file["ccd_pixel_um"] = WAVELENGTH_M * 1e9, DISTANCE_M, PIXEL_X_M * 1e6


def nsls2_matlab(file: h5py.File, frames: np.ndarray, y: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    file["det_data"] = frames
    file["pos_xy"] = np.stack([np.arange(12.0), x * 1e6, y * 1e6])
    file["energy"], file["det_dist"] = np.array([[ENERGY_EV / 1e3]]), np.array([[DISTANCE_M * 1e6]])
    file["det_pixel_size"] = np.array([[PIXEL_X_M * 1e6]])
    return SQUARE


def psi_csaxs(file: h5py.File, frames: np.ndarray, y: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    file["entry/data/data"] = frames.astype(np.uint32)
    file["entry/instrument/monochromator/energy"] = ENERGY_EV / 1e3
    file["entry/instrument/monochromator/distance"] = -DISTANCE_M * 1e3
    file["entry/instrument/eiger_4/x_pixel_size"] = PIXEL_X_M * 1e6
    file["entry/instrument/eiger_4/y_pixel_size"] = PIXEL_Y_M * 1e6
    return {"positions": table(file, y * 1e6, x * 1e6, "")}


def ptychojl_4dstem(file: h5py.File, frames: np.ndarray, y: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    file["diffraction"] = frames.astype(np.uint32)
    turn = np.deg2rad(-58.7)
    file["scan_slow_index"] = (np.cos(turn) * y - np.sin(turn) * x) * 1e10 / 31.25
    file["scan_fast_index"] = (np.sin(turn) * y + np.cos(turn) * x) * 1e10 / 31.25
    file.attrs["scan_step_A"], file.attrs["voltage_kV"] = 31.25, 300.0
    file.attrs["disc_centre_rowcol"] = [8.2, 9.8]
    # The camera length and detector pixel that give the object pixel of the oracle.
    return {"distance_m": DISTANCE_M * WAVELENGTH_M / 1.96874e-12, **SQUARE}


def ptylab(file: h5py.File, frames: np.ndarray, y: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    file["ptychogram"] = frames.astype(np.float32)
    file["encoder"] = np.stack([y, x], axis=1)
    file["wavelength"], file["zo"], file["dxd"] = WAVELENGTH_M, DISTANCE_M, PIXEL_X_M
    return SQUARE


LAYOUTS = {
    layout.__name__: layout
    for layout in (
        aps_04id_polar, aps_09id_cssi, aps_19id_isn, aps_31id_lynx, area_detector, lcls_xpp, maxiv_nanomax, maxiv_nanomax_fly,
        nsls2_holoptycho, nsls2_hxn_1, nsls2_hxn_2, nsls2_matlab, psi_csaxs, ptychojl_4dstem, ptylab,
    )
}  # fmt: skip


def table(file: h5py.File, y: np.ndarray, x: np.ndarray, unit: str) -> Path:
    path = Path(file.filename).with_suffix(".csv")
    suffix = f"_{unit}" if unit else ""
    np.savetxt(path, np.stack([x, y], axis=1), delimiter=",", header=f"x{suffix},y{suffix}", comments="", fmt="%.12g")
    return path


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_shipped_recipe_knows_and_reads_its_files(
    name: str, tmp_path: Path, oracle: Any, explain: Callable[[Scan], None]
) -> None:
    path = tmp_path / "measured.h5"
    with h5py.File(path, "w") as file:
        known = LAYOUTS[name](file, oracle.patterns, *oracle.positions_m.T)
    assert formats.detect(path).name == "recipe"
    scan = formats.read_scan(path, ReadOptions(**known))
    assert scan.provenance["recipe"] == name
    explain(scan)


def test_no_shipped_recipe_goes_without_a_test() -> None:
    assert set(LAYOUTS) == {name for name, recipe in shipped_recipes().items() if recipe.rocking is None}


def test_a_facility_that_stores_no_positions_asks_for_them(tmp_path: Path, oracle: Any) -> None:
    with h5py.File(tmp_path / "measured.h5", "w") as file:
        area_detector(file, oracle.patterns, *oracle.positions_m.T)
    with pytest.raises(FormatError, match="--positions"):
        formats.read_scan(tmp_path / "measured.h5", ReadOptions(**EVERYTHING))


@pytest.mark.skipif(not CRYO.exists(), reason="the cryo 4D-STEM scan is not here")
def test_the_cryo_scan_reads_with_its_electrons() -> None:
    assert recipe.recognises(CRYO)
    scan = formats.read_scan(CRYO, ReadOptions())
    assert scan.patterns.shape == (1600, 256, 256)
    assert scan.geometry.particle == "electron"
    assert scan.geometry.wavelength_m == pytest.approx(1.96875e-12, rel=1e-4)
    assert scan.object_pixel_m == pytest.approx((4.65e-10, 4.65e-10))
    with h5py.File(CRYO) as file:
        frame, fast = file["diffraction"][803].astype(np.float32), file["scan_fast_index"][()]
    # The disc, centred at (126.0, 127.8), comes to the middle of the frame.
    np.testing.assert_array_equal(scan.frames(torch.tensor([803]))[0, 2:], frame[:-2])
    step = scan.positions_m[1] - scan.positions_m[0]
    assert float(step.norm()) == pytest.approx(31.25e-10)
    assert fast[1] - fast[0] == 1
    # Per fast step the shadow image moves by (-11.5, 7.0) pixels.
    assert float(step[0] / step[1]) == pytest.approx(-11.5 / 7.0, rel=0.01)
