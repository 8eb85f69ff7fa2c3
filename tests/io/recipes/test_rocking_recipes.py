"""Each shipped recipe of rocking curves on a file laid out as its facility does, and what lacks or is wrong in such files."""

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import exitwave as ew
from exitwave.data.errors import FormatError
from exitwave.io.recipes.schema import shipped_recipes
from rocking_curves import COLUMNS, FRAMES, ROWS, THETA_DEG, counts
from rocking_layouts import BEAM_PX, GEOMETRY, LAYOUTS

REAL = Path(__file__).parents[3].parent / "shared/data/bcdi_au_34idc_S0054.h5"


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


def test_angles_in_radians_are_read_where_that_is_stated(tmp_path):
    path, expected = written(tmp_path, "esrf_id27", np.radians(THETA_DEG))
    curve = read(path, angle_unit="rad", **expected["stated"])
    np.testing.assert_allclose(np.degrees(curve.angles_rad.numpy()), THETA_DEG)


def test_the_angle_of_the_rocked_circle_may_be_stated_beside_its_angles_in_the_file(tmp_path):
    path, _ = written(tmp_path, "aps_34idc")
    curve = read(path, angles=("theta=5,delta=30",))
    np.testing.assert_allclose(np.degrees(curve.angles_rad.numpy()), THETA_DEG)
    assert math.degrees(curve.diffraction.detector_angles_rad[0]) == pytest.approx(30)


def test_a_scan_with_positions_is_no_rocking_curve_though_its_file_has_angles(tmp_path):
    path, expected = written(tmp_path, "maxiv_nanomax_bragg")
    with h5py.File(path, "r+") as file:
        for axis in "xy":
            file[f"entry/measurement/pseudo/{axis}"] = np.arange(FRAMES)
        file["entry/measurement/eiger1m/frames"] = counts()
    assert type(ew.read(path, ew.ReadOptions(**GEOMETRY))) is ew.Scan
    assert read(path, recipe="maxiv_nanomax_bragg", **expected["stated"]).diffraction.rocked == "gonphi"


def test_circles_that_stand_where_none_can_are_named(tmp_path):
    path, _ = written(tmp_path, "aps_34idc", np.radians(THETA_DEG))
    with pytest.raises(FormatError, match=r"chi stands at 5\.16e\+03°"):
        read(path, angle_unit="rad")


def test_geometry_that_makes_no_voxels_is_named(tmp_path):
    path, _ = written(tmp_path, "aps_34idc")
    with pytest.raises(FormatError, match=r"voxels of .* Check energy, distance"):
        read(path, energy_ev=9e-6)


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
