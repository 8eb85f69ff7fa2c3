"""Rocking curves as other programs keep them: read with angles, axes and masks, or refused with what to do."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

import exitwave as ew
from exitwave.data.errors import ExitwaveError, FormatError, InputError
from rocking_curves import COLUMNS, FRAMES, ROWS, STILL_DEG, THETA_DEG, counts
from rocking_files import (
    DIRECT_BEAM_PX,
    ROI,
    STATED_ALL,
    spec_text,
    write_autophasenn,
    write_cdiutils,
    write_cohere,
    write_p10,
    write_pynx,
    write_spec_folder,
)


def read(path, **stated) -> ew.RockingCurve:
    curve = ew.read(path, ew.ReadOptions(**stated))
    assert isinstance(curve, ew.RockingCurve)
    return curve


def angles_deg(curve) -> dict[str, float]:
    circles = curve.diffraction.diffractometer
    named = zip(
        (*circles.sample_circles, *circles.detector_circles),
        (*curve.posed.sample_angles_rad, *curve.diffraction.detector_angles_rad),
        strict=True,
    )
    return {circle.name: float(np.degrees(angle)) for circle, angle in named}


def check_34_id_c(curve) -> None:
    """The crystal of the made files, whatever wrote them."""
    np.testing.assert_allclose(curve.frames(slice(None)), counts(), rtol=1e-6)
    np.testing.assert_allclose(np.degrees(curve.angles_rad.numpy()), THETA_DEG, atol=1e-6)
    assert curve.diffraction.rocked == "theta"
    assert angles_deg(curve) == pytest.approx({"theta": 0.22, **STILL_DEG})
    assert curve.geometry.energy_ev == pytest.approx(9000)
    assert curve.geometry.distance_m == pytest.approx(0.5)


def test_a_folder_of_tiff_takes_its_angles_from_the_spec_file_beside_it(tmp_path):
    curve = read(write_spec_folder(tmp_path), detector_pixel_m=55e-6)
    check_34_id_c(curve)
    assert curve.provenance["spec_scan"] == 54
    np.testing.assert_array_equal(curve.monitor, 1000 + np.arange(FRAMES))


def test_a_folder_whose_spec_file_says_nothing_of_it_is_a_stack_without_positions(tmp_path):
    folder = write_spec_folder(tmp_path)
    shutil.move(folder, tmp_path / "frames_S0099")
    with pytest.raises(FormatError, match=r"holds no scan positions .* rocking curve of a crystal --diffractometer"):
        read(tmp_path / "frames_S0099")
    stated = {"detector_pixel_m": 55e-6, "energy_ev": 9000.0, "distance_m": 0.5, "diffractometer": "34-id-c"}
    check_34_id_c(
        read(tmp_path / "frames_S0099", rocking_angles=tmp_path / "Staff20-1a.spec:54", rocked="theta", **stated)
    )


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("", "does not say which of its scans"),
        (":7", "does not say a scan 7; there are 53, 54"),
        (":53", "column theta"),
    ],
)
def test_a_scan_that_a_spec_file_lacks_is_named_with_those_it_has(tmp_path, number, message):
    tifffile.imwrite(tmp_path / "frames.tif", counts())
    (tmp_path / "log").write_text(spec_text(), "utf-8")
    with pytest.raises(FormatError, match=message):
        read(
            tmp_path / "frames.tif",
            **{**STATED_ALL, "rocking_step_deg": None, "rocking_angles": tmp_path / f"log{number}"},
        )


def test_a_spec_scan_that_was_cut_off_is_named(tmp_path):
    folder = write_spec_folder(tmp_path)
    text = spec_text()
    (tmp_path / "Staff20-1a.spec").write_text(text[: text.index("300 0.25") + 3], "utf-8")
    with pytest.raises(FormatError, match=r"scan 54 .*does not hold 4 numbers in each row"):
        read(folder)


@pytest.mark.parametrize("with_spec", [True, False])
def test_an_experiment_of_cohere_is_read_with_its_settings(tmp_path, with_spec):
    settings = (
        {} if with_spec else {"energy": 9.0, "detdist": 500.0, "scanmot": "th", "scanmot_del": 0.005, "theta": 0.22}
    )
    write_cohere(tmp_path / "exp", with_spec=with_spec, **settings, **({} if with_spec else STILL_DEG))
    curve = read(tmp_path / "exp")
    check_34_id_c(curve)
    assert curve.geometry.detector_pixel_m == (55e-6, 55e-6)


def test_settings_of_cohere_win_over_its_spec_file(tmp_path):
    write_cohere(tmp_path / "exp", energy=10.0, delta=33.0)
    curve = read(tmp_path / "exp")
    assert curve.geometry.energy_ev == pytest.approx(10e3)
    assert angles_deg(curve)["delta"] == pytest.approx(33.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preprocessed": False}, "run cohere's preprocessing"),
        ({"diffractometer": "1id"}, "no diffractometer '1id'"),
        ({"with_spec": False}, "--rocking-angles FILE"),
        ({"with_spec": False, "scanmot": "th", "scanmot_del": 0.005}, "angles of delta, gamma"),
        ({"with_spec": False, "scanmot": "samx"}, "rocked circle is 'samx'"),
    ],
)
def test_what_an_experiment_of_cohere_lacks_is_named(tmp_path, settings, message):
    write_cohere(tmp_path / "exp", **settings)
    with pytest.raises(ExitwaveError, match=message):
        read(tmp_path / "exp")


def test_a_scan_of_p10_takes_its_angles_from_the_text_beside_it(tmp_path):
    curve = read(write_p10(tmp_path / "crystal_00054"))
    np.testing.assert_array_equal(curve.frames(slice(None)), counts())
    np.testing.assert_allclose(np.degrees(curve.angles_rad.numpy()), THETA_DEG, atol=1e-6)
    expected = {"om": THETA_DEG[FRAMES // 2], "phi": 5.5, "gam": 0.5, "del": 31.25}
    assert angles_deg(curve) == pytest.approx(expected)
    assert curve.diffraction.diffractometer.name == "P10"
    assert curve.diffraction.direct_beam_px == (0.0, 0.0)
    assert curve.geometry.energy_ev == pytest.approx(9000)
    np.testing.assert_array_equal(curve.mask, np.eye(ROWS, COLUMNS) == 0)


def test_a_scan_of_p10_in_which_no_circle_turned_is_one_without_positions(tmp_path):
    with pytest.raises(FormatError, match="holds no scan positions"):
        read(write_p10(tmp_path / "crystal_00054", moved="samx"))


def test_a_text_of_p10_that_was_cut_off_is_named(tmp_path):
    master = write_p10(tmp_path / "crystal_00054")
    fio = tmp_path / "crystal_00054/crystal_00054.fio"
    text = fio.read_text("utf-8")
    fio.write_text(text[: text.index(" 7 0.5") + 2], "utf-8")
    with pytest.raises(FormatError, match=r"\.fio are not 3 numbers each"):
        read(master)
    master = write_p10(tmp_path / "short", THETA_DEG[:8])
    with pytest.raises(FormatError, match="8 angles of om for 12 frames"):
        read(master)


def test_a_cropped_rocking_curve_of_cdiutils_is_read(tmp_path):
    write_cdiutils(tmp_path / "S54_preprocessed_data.cxi")
    curve = read(tmp_path / "S54_preprocessed_data.cxi")
    np.testing.assert_array_equal(curve.frames(slice(None)), counts())
    np.testing.assert_allclose(np.degrees(curve.angles_rad.numpy()), THETA_DEG)
    circles = curve.diffraction.diffractometer
    assert [circle.axis for circle in (*circles.sample_circles, *circles.detector_circles)] == ["x-", "y-", "y-", "x-"]
    assert (circles.rows, circles.columns) == ("y-", "x+")
    assert list(angles_deg(curve).values())[1:] == pytest.approx([3.0, -1.5, 35.0])
    assert curve.geometry.energy_ev == pytest.approx(9000)
    assert curve.geometry.detector_pixel_m == (55e-6, 50e-6)
    assert int((~curve.mask).sum()) == 1
    # The direct beam falls where it did on the whole detector.
    row, column = curve.diffraction.direct_beam_px
    assert (row + ROWS // 2 + ROI[2], column + COLUMNS // 2 + ROI[4]) == DIRECT_BEAM_PX


def test_axes_that_cdiutils_left_in_the_frame_of_xrayutilities_are_turned(tmp_path):
    for name, turned in (("cxi", False), ("xu", True)):
        write_cdiutils(tmp_path / name)
        if turned:
            with h5py.File(tmp_path / name, "r+") as file:
                group = file["entry_1/geometry_1"]
                for place, axes in (
                    ("sample_circles", ["y-", "z-"]), ("detector_circles", ["z-", "y-"]),
                    ("detector_axis0_orientation", "z-"), ("detector_axis1_orientation", "y+"), ("is_cxi", False),
                ):  # fmt: skip
                    del group[place]
                    group[place] = axes
    assert read(tmp_path / "xu").diffraction == read(tmp_path / "cxi").diffraction


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("geometry_1/sample_circles", ["q-", "y-"], "expected an axis such as"),
        ("geometry_1/sample_circles", ["x-"], "does not say the axes"),
        ("source_1/energy", np.linspace(8900, 9100, FRAMES), "scan of the energy"),
        (
            "geometry_1/angles/sample_outofplane_angle",
            THETA_DEG[:5],
            "5 angles of sample_outofplane_angle for 12 frames",
        ),
        ("geometry_1/angles/sample_outofplane_angle", 3.0, "the angle of no circle is known for each frame"),
    ],
)
def test_what_is_wrong_in_a_file_of_cdiutils_is_named(tmp_path, place, value, message):
    write_cdiutils(tmp_path / "scan.cxi")
    with h5py.File(tmp_path / "scan.cxi", "r+") as file:
        del file[f"entry_1/{place}"]
        file[f"entry_1/{place}"] = value
    with pytest.raises(FormatError, match=message):
        read(tmp_path / "scan.cxi")


@pytest.mark.parametrize("worked_on", [False, True])
def test_the_data_of_a_crystal_in_a_file_of_pynx_are_read_where_their_geometry_is_stated(tmp_path, worked_on):
    write_pynx(tmp_path / "data.cxi", worked_on=worked_on)
    with pytest.raises(FormatError, match=r"on which diffractometer .* --diffractometer"):
        read(tmp_path / "data.cxi")
    stated = {
        name: value for name, value in STATED_ALL.items() if name not in ("energy_ev", "distance_m", "detector_pixel_m")
    }
    curve = read(tmp_path / "data.cxi", **stated)
    expected, trusted = counts().astype(np.float32), np.ones((FRAMES, ROWS, COLUMNS), dtype=bool)
    trusted[4, 2, 3] = False
    if worked_on:
        expected[2, 7, 8], trusted[2, 7, 8] = 0, False
    np.testing.assert_array_equal(curve.frames(slice(None)), expected)
    np.testing.assert_array_equal(curve.trusted, trusted)
    np.testing.assert_allclose(np.degrees(curve.angles_rad.numpy()), THETA_DEG)


def test_a_training_example_of_autophasenn_is_read_where_its_geometry_is_stated(tmp_path):
    write_autophasenn(tmp_path / "crystal.npz")
    check_34_id_c(read(tmp_path / "crystal.npz", **STATED_ALL))


def test_a_mere_stack_is_read_where_everything_is_stated(tmp_path):
    tifffile.imwrite(tmp_path / "frames.tif", counts())
    curve = read(tmp_path / "frames.tif", **STATED_ALL, direct_beam="7.5x-3")
    check_34_id_c(curve)
    assert curve.diffraction.direct_beam_px == (7.5 - ROWS // 2, -3 - COLUMNS // 2)
    for name, save in (("angles.txt", np.savetxt), ("angles.npy", np.save)):
        save(tmp_path / name, THETA_DEG)
        stated = {**STATED_ALL, "rocking_step_deg": None, "rocking_angles": tmp_path / name}
        check_34_id_c(read(tmp_path / "frames.tif", **stated))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"diffractometer": None}, "--diffractometer, one of 34-ID-C"),
        ({"diffractometer": "NanoMX"}, "did you mean nanomax"),
        ({"angles": ("theta=0,chi=90,phi=0,delta=3",)}, "angles of gamma, .*--angles gamma=0"),
        ({"angles": ("tetha=0",)}, "no circle 'tetha' .did you mean theta"),
        ({"angles": ("theta 0",)}, "write circles and degrees"),
        ({"rocked": None, "rocking_step_deg": None}, "--rocked theta --rocking-angles FILE"),
        ({"rocked": "gamma"}, "one that carries the sample: theta, chi, phi"),
        ({"rocking_angles": Path("x")}, "state one of them"),
        ({"rocking_angles": Path("nowhere.txt"), "rocking_step_deg": None}, r"nowhere\.txt does not exist"),
        ({"scan": "3x4"}, "scan of reading is for scans"),
        ({"rotation_deg": 3.0}, "rotation_deg of reading is for scans"),
        ({"orientation": "flipud"}, "orientation of reading is for scans"),
        ({"direct_beam": 5.0}, "expected row and column"),
        ({"energy_ev": None}, "--energy-ev"),
        ({"rocking_step_deg": 0.0}, "have the same angle of theta"),
        ({"angles": ("theta=0,chi=90,phi=0,delta=0,gamma=0",)}, "no third dimension.*--direct-beam"),
    ],
)  # fmt: skip
def test_what_lacks_or_is_stated_wrongly_is_named(tmp_path, changes, message):
    tifffile.imwrite(tmp_path / "frames.tif", counts())
    with pytest.raises((FormatError, InputError), match=message):
        read(tmp_path / "frames.tif", **{**STATED_ALL, **changes})


def test_a_diffractometer_of_ones_own_is_read_from_yaml(tmp_path):
    tifffile.imwrite(tmp_path / "frames.tif", counts())
    (tmp_path / "mine.yaml").write_text("sample: {theta: y+}\ndetector: {delta: y+}\nrows: y+\ncolumns: x-\n", "utf-8")
    stated = {**STATED_ALL, "diffractometer": str(tmp_path / "mine.yaml"), "angles": ("delta=30",)}
    circles = read(tmp_path / "frames.tif", **stated).diffraction.diffractometer
    assert (circles.name, circles.rows, circles.columns) == ("mine", "y+", "x-")
    for text, message in (
        ("sample: {theta: w+}\ndetector: {}", "sample.theta"),
        ("- 3", "wrong"),
        ("a: [", "not YAML"),
    ):
        (tmp_path / "mine.yaml").write_text(text, "utf-8")
        with pytest.raises(FormatError, match=message):
            read(tmp_path / "frames.tif", **stated)


def test_the_circle_that_lifts_the_detector_at_a_beamline_lifts_it():
    # Of each beamline it is known which circle that is; the other one turns it sideways.
    up = {
        "34-ID-C": "gamma",
        "ID01": "delta",
        "P10": "del",
        "P10-EH2": "e2_t02",
        "NanoMAX": "delta",
        "CRISTAL": "delta",
    }
    for name, circle in up.items():
        circles = ew.load_diffractometer(name)
        angles = tuple(np.radians(20.0) * (each.name == circle) for each in circles.detector_circles)
        still = tuple(0.0 for _ in circles.sample_circles)
        geometry = ew.BraggGeometry(
            diffractometer=circles,
            sample_angles_rad=still,
            detector_angles_rad=angles,
            rocked=circles.sample_circles[0].name,
        )
        z, y, x = geometry.scattering_vector(ew.Geometry.from_energy(9000.0, 0.5, (55e-6, 55e-6)))
        assert y > 0
        assert z < 0
        assert abs(x) < 1e-6 * y


def test_a_format_of_one_scan_refuses_to_choose_among_several(tmp_path):
    write_cohere(tmp_path / "exp")
    with pytest.raises(InputError, match="leave out entry"):
        read(tmp_path / "exp", entry="3")


def test_options_of_rocking_curves_are_refused_for_a_scan_with_positions(tmp_path):
    np.savetxt(tmp_path / "positions.csv", np.random.default_rng(1).random((FRAMES, 2)), delimiter=",")
    tifffile.imwrite(tmp_path / "frames.tif", counts())
    with pytest.raises(InputError, match=r"rocked of reading is for rocking curves, but the file is a scan"):
        ew.read(tmp_path / "frames.tif", ew.ReadOptions(positions=tmp_path / "positions.csv", rocked="theta"))
