"""Each shipped recipe of rocking curves on a file laid out as its facility does, and what lacks or is wrong in such files."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import exitwave as ew
from exitwave.data.errors import FormatError
from exitwave.io.recipes.schema import shipped_recipes
from rocking_curves import COLUMNS, FRAMES, ROWS, STILL_DEG, THETA_DEG, counts

REAL = Path(__file__).parents[3].parent / "shared/data/bcdi_au_34idc_S0054.h5"
GEOMETRY = {"distance_m": 0.5, "detector_pixel_m": "55e-6x50e-6"}
BEAM_PX = (30.5, -2.0)
"""Row and column of the direct beam as files count them."""


def aps_34idc(file: h5py.File, angles: np.ndarray) -> dict[str, Any]:
    file["intensity"], file["theta_deg"] = counts(), angles
    file["monitor"] = np.linspace(1.0, 1.1, FRAMES)
    file.attrs.update({f"{name}_deg": value for name, value in STILL_DEG.items()})
    file.attrs.update({"energy_keV": 9.0, "detector_distance_m": 0.5, "pixel_size_m": 55e-6})
    return {"rocked": "theta", "angles": {"theta": None, **STILL_DEG}, "stated": {}}


def esrf_id01(file: h5py.File, angles: np.ndarray) -> dict[str, Any]:
    # Scans are links to files of their own; the first is one that moves another motor, without the detector.
    file["sample_1.1/instrument/positioners/eta"] = 10.0
    with h5py.File(Path(file.filename).with_name("scan0002.h5"), "w") as scan:
        scan["1.1/measurement/mpx1x4"] = counts()
        motors = {"eta": angles, "phi": 3.0, "delta": 35.0, "nu": -1.5, "mononrj": 9.0}
        for name, value in motors.items():
            scan[f"1.1/instrument/positioners/{name}"] = value
        detector = scan.create_group("1.1/instrument/mpx1x4")
        detector["distance"], detector["y_pixel_size"], detector["x_pixel_size"] = 0.5, 55e-6, 50e-6
        detector["beam_center_y"], detector["beam_center_x"] = BEAM_PX
    file["sample_2.1"] = h5py.ExternalLink("scan0002.h5", "/1.1")
    return {"rocked": "eta", "angles": {"eta": None, "phi": 3.0, "delta": 35.0, "nu": -1.5}, "beam": True, "stated": {}}


def esrf_id27(file: h5py.File, angles: np.ndarray) -> dict[str, Any]:
    file["sample_1.1/measurement/eiger"] = counts()
    file["sample_1.1/instrument/positioners/nath"] = angles
    file["sample_1.1/instrument/calibration/wavelength"] = 1.3776
    stated = {**GEOMETRY, "direct_beam": f"{BEAM_PX[0]}x{BEAM_PX[1]}"}
    return {"rocked": "nath", "angles": {"nath": None}, "beam": True, "stated": stated}


def maxiv_nanomax_bragg(file: h5py.File, angles: np.ndarray) -> dict[str, Any]:
    file["entry/measurement/eiger500k/frames"], file["entry/measurement/gonphi"] = counts(), angles
    still = {"gontheta": 7.0, "gonphi": 1.0, "gamma": 20.0, "delta": 11.0}
    for name, value in {**still, "energy": 9000.0}.items():
        file[f"entry/snapshots/post_scan/{name}"] = [value]
    return {"rocked": "gonphi", "angles": {**still, "gonphi": None}, "stated": GEOMETRY}


def soleil_sixs(file: h5py.File, angles: np.ndarray) -> dict[str, Any]:
    file["com/scan_data/actuator_1_1"], file["com/scan_data/data_12"] = angles, counts()
    still = {"mu": 0.3, "omega": 5.0, "delta": 30.0, "gamma": 2.0}
    for name, value in still.items():
        file[f"com/SIXS/i14-c-cx1-ex-med-v-dif-group.1/i14-{name}.1/position"] = value
    file["com/SIXS/i14-c-c02-op-mono/energy"] = [9.0]
    return {"rocked": "mu", "angles": {**still, "mu": None}, "stated": GEOMETRY}


def soleil_cristal(file: h5py.File, angles: np.ndarray) -> dict[str, Any]:
    file["exp_0054/scan_data/actuator_1_1"], file["exp_0054/scan_data/data_04"] = angles, counts()
    file["exp_0054/scan_config/name"] = "ascan_i06-c-c07-ex-mg_omega"
    still = {"omega": 15.0, "phi": 4.0}
    for name, value in still.items():
        file[f"exp_0054/CRISTAL/i06-c-c07-ex-mg_{name}/position"] = value
    for name, value in {"delta": 30.0, "gamma": 2.0}.items():
        file[f"exp_0054/CRISTAL/Diffractometer/i06-c-c07-ex-dif-{name}/position"] = value
    file["exp_0054/CRISTAL/Monochromator/energy"] = [9.0]
    return {"rocked": "omega", "angles": {**still, "omega": None, "delta": 30.0, "gamma": 2.0}, "stated": GEOMETRY}


LAYOUTS: dict[str, Callable[[h5py.File, np.ndarray], dict[str, Any]]] = {
    layout.__name__: layout
    for layout in (aps_34idc, esrf_id01, esrf_id27, maxiv_nanomax_bragg, soleil_cristal, soleil_sixs)
}


def written(tmp_path: Path, name: str, angles: np.ndarray = THETA_DEG) -> tuple[Path, dict[str, Any]]:
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        return path, LAYOUTS[name](file, angles)


def read(path: Path, **stated: Any) -> ew.RockingCurve:
    curve = ew.read(path, ew.ReadOptions(**stated))
    assert isinstance(curve, ew.RockingCurve)
    return curve


def test_no_shipped_recipe_of_rocking_curves_goes_without_a_test():
    assert set(LAYOUTS) == {name for name, recipe in shipped_recipes().items() if recipe.rocking is not None}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_rocking_curve_of_a_facility_is_read_with_all_it_says(tmp_path, name):
    path, expected = written(tmp_path, name)
    curve = read(path, **expected["stated"])
    assert curve.provenance["recipe"] == name
    np.testing.assert_array_equal(curve.frames(slice(None)), counts())
    np.testing.assert_allclose(np.degrees(curve.angles_rad.numpy()), THETA_DEG)
    diffraction, circles = curve.diffraction, curve.diffraction.diffractometer
    assert diffraction.rocked == expected["rocked"]
    named = zip(
        (*circles.sample_circles, *circles.detector_circles),
        (*curve.posed.sample_angles_rad, *diffraction.detector_angles_rad),
        strict=True,
    )
    expected_deg = {**expected["angles"], expected["rocked"]: THETA_DEG[FRAMES // 2]}
    assert {circle.name: pytest.approx(math.degrees(angle)) for circle, angle in named} == expected_deg
    beam = (BEAM_PX[0] - ROWS // 2, BEAM_PX[1] - COLUMNS // 2) if expected.get("beam") else (0.0, 0.0)
    assert diffraction.direct_beam_px == beam
    assert curve.geometry.energy_ev == pytest.approx(9000, rel=1e-4)
    assert curve.geometry.distance_m == 0.5
    assert curve.geometry.detector_pixel_m == (55e-6, 55e-6 if name == "aps_34idc" else 50e-6)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize(
    ("angles", "message"),
    [
        (THETA_DEG[:-1], "11 angles of .* for 12 frames"),
        (np.radians(THETA_DEG), "--angle-unit rad"),
        (np.degrees(THETA_DEG) * 10, "--angle-unit deg"),
        (THETA_DEG * np.nan, "of which 0 are numbers"),
    ],
    ids=["one less", "radians", "in no unit", "no numbers"],
)
def test_wrong_angles_are_named(tmp_path, name, angles, message):
    path, expected = written(tmp_path, name, angles)
    with pytest.raises(ew.ExitwaveError, match=message):
        read(path, **expected["stated"])


@pytest.mark.parametrize("name", LAYOUTS)
def test_angles_in_radians_are_read_where_that_is_stated(tmp_path, name):
    path, expected = written(tmp_path, name, np.radians(THETA_DEG))
    curve = read(path, angle_unit="rad", **expected["stated"])
    np.testing.assert_allclose(np.degrees(curve.angles_rad.numpy()), THETA_DEG)


@pytest.mark.parametrize("name", LAYOUTS)
def test_angles_stay_in_the_order_of_the_file(tmp_path, name):
    order = np.random.default_rng(1).permutation(FRAMES)
    path, expected = written(tmp_path, name, THETA_DEG[order])
    np.testing.assert_allclose(np.degrees(read(path, **expected["stated"]).angles_rad.numpy()), THETA_DEG[order])


def test_of_several_scans_one_must_be_chosen(tmp_path):
    path, _ = written(tmp_path, "esrf_id01")
    with h5py.File(path, "r+") as file:
        file.copy("sample_2.1", "sample_13.1")
    with pytest.raises(FormatError, match=r"2 scans, sample_2\.1, sample_13\.1; choose one with --entry"):
        read(path)
    assert [read(path, entry=name).provenance["entry"] for name in ("sample_13.1", "2")] == [
        "sample_13.1",
        "sample_2.1",
    ]
    with pytest.raises(FormatError, match=r"no scan '4'.* there are sample_2\.1"):
        read(path, entry="4")


def test_a_lost_file_of_a_scan_is_named(tmp_path):
    path, _ = written(tmp_path, "esrf_id01")
    (tmp_path / "scan0002.h5").unlink()
    with pytest.raises(FormatError, match=r"scan0002\.h5, which is not there"):
        read(path)
    with pytest.raises(FormatError, match="holds no scan"):
        read(path, recipe="esrf_id01")


def test_a_detector_that_a_link_leads_to_is_named_where_it_is_lost(tmp_path):
    path, expected = written(tmp_path, "esrf_id27")
    with h5py.File(path, "r+") as file:
        del file["sample_1.1/measurement/eiger"]
        file["sample_1.1/measurement/eiger"] = h5py.ExternalLink("eiger_0000.h5", "/entry/data")
    with pytest.raises(FormatError, match=r"eiger_0000\.h5, which is not there"):
        read(path, **expected["stated"])


def test_missing_circles_are_named_with_the_option_that_states_them(tmp_path):
    path, _ = written(tmp_path, "esrf_id01")
    for name in ("delta", "nu"):
        with h5py.File(tmp_path / "scan0002.h5", "r+") as file:
            del file[f"1.1/instrument/positioners/{name}"]
    with pytest.raises(FormatError, match=r"angles of nu, delta, .*--angles nu=0,delta=0"):
        read(path, recipe=str(_edited(tmp_path, "esrf_id01")))
    curve = read(path, recipe=str(_edited(tmp_path, "esrf_id01")), angles=("nu=-1.5,delta=35",))
    np.testing.assert_allclose(np.degrees(curve.diffraction.detector_angles_rad), (-1.5, 35))


def _edited(tmp_path: Path, name: str) -> Path:
    """A shipped recipe that looks for less, as a user would copy it."""
    import exitwave.io.recipes as recipes

    text = (Path(recipes.__file__).parent / f"{name}.yaml").read_text("utf-8")
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("recognise"))
    path = tmp_path / "mine.yaml"
    path.write_text(f"{kept}\nrecognise: [instrument/positioners/phi]\n", "utf-8")
    return path


def test_two_circles_that_turn_are_named(tmp_path):
    path, _ = written(tmp_path, "aps_34idc")
    with h5py.File(path, "r+") as file:
        del file.attrs["delta_deg"]
        file.attrs["delta_deg"] = 32 + np.linspace(0, 0.1, FRAMES)
    with pytest.raises(FormatError, match=r"delta turns by 0\.1° while theta is rocked .*--angles delta=DEGREES"):
        read(path)
    read(path, angles=("delta=32",))


def test_the_whitefield_divides_and_what_hardly_counts_is_not_trusted(tmp_path):
    path, _ = written(tmp_path, "aps_34idc")
    whitefield = np.full((ROWS, COLUMNS), 100.0)
    whitefield[:, :3], whitefield[4, 8], whitefield[0, 0], whitefield[1, 1] = 80.0, 0.0, np.nan, 10.0
    with h5py.File(path, "r+") as file:
        file["whitefield"] = whitefield
        file["darkfield"] = np.where(np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) == 47, 100, 0)
    curve = read(path)
    frames = curve.frames(torch.tensor([7]))[0].numpy()
    np.testing.assert_allclose(frames[5:, :3], counts()[7, 5:, :3] / 0.8, rtol=1e-6)
    np.testing.assert_allclose(frames[5:, 3:], counts()[7, 5:, 3:])
    expected = np.ones((ROWS, COLUMNS), dtype=bool)
    expected[4, 8] = expected[0, 0] = expected[1, 1] = expected.ravel()[47] = False
    expected.ravel()[47] = False
    np.testing.assert_array_equal(curve.mask, expected)
    assert curve.background is None
    assert "3 pixels below 0.2" in curve.provenance["whitefield"]


def test_a_darkfield_of_counts_everywhere_is_the_background(tmp_path):
    path, _ = written(tmp_path, "aps_34idc")
    with h5py.File(path, "r+") as file:
        file["darkfield"] = np.full((ROWS, COLUMNS), 0.5)
    curve = read(path)
    assert bool(curve.mask.all())
    assert bool((curve.background == 0.5).all())


@pytest.mark.parametrize("kind", ["whitefield", "darkfield"])
def test_a_correction_of_another_shape_is_named_with_both_shapes(tmp_path, kind):
    path, _ = written(tmp_path, "aps_34idc")
    np.save(tmp_path / "image.npy", np.ones((COLUMNS, ROWS)))
    with pytest.raises(FormatError, match=f"{kind} .* has shape 14 x 10 but its frames are 10 x 14"):
        read(path, **{kind: tmp_path / "image.npy"})


def test_a_whitefield_in_which_the_detector_would_not_count_is_refused(tmp_path):
    path, _ = written(tmp_path, "aps_34idc")
    np.save(tmp_path / "image.npy", np.eye(ROWS, COLUMNS))
    with pytest.raises(FormatError, match="even light"):
        read(path, whitefield=tmp_path / "image.npy")


@pytest.mark.skipif(not REAL.exists(), reason="needs shared/data/bcdi_au_34idc_S0054.h5")
def test_the_measured_gold_crystal_is_read_as_its_beamline_left_it():
    curve = read(REAL)
    assert tuple(curve.patterns.shape) == (201, 256, 256)
    assert math.degrees(curve.step_rad) == pytest.approx(0.005, rel=1e-3)
    spacing_m = 2 * math.pi / np.linalg.norm(curve.scattering_vector)
    assert spacing_m == pytest.approx(4.08e-10 / math.sqrt(3), rel=0.01)
    # The darkfield marks 13 hot pixels, with counts below one a frame: subtracted, they would all be below zero.
    with h5py.File(REAL) as file:
        hot, whitefield = file["darkfield"][()] > 0, file["whitefield"][()]
    assert not bool(curve.mask[torch.from_numpy(hot)].any())
    assert int((~curve.mask).sum()) == int((hot | (whitefield < 0.2 * np.median(whitefield[whitefield > 0]))).sum())
    assert curve.monitor is not None
