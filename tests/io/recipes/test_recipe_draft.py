"""Drafts of recipes: where everything is recognised the draft reads the file, signs and axes by the oracle."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from command import call, done
from exitwave.data.errors import FormatError, UnknownFileError
from exitwave.data.rocking_curve import RockingCurve
from exitwave.io import formats
from exitwave.io.assemble import ReadOptions
from exitwave.io.files import read, read_prepared
from exitwave.io.recipes.draft import draft
from oracle import DETECTOR_PIXEL_M, DISTANCE_M, ENERGY_EV, Oracle
from rocking_curves import THETA_DEG
from rocking_layouts import LAYOUTS

Layout = Callable[[h5py.File, Oracle], None]


def one_group_each(file: h5py.File, oracle: Oracle) -> None:
    """Units in the names, a larger stack of darks beside, motors that did not move, the mask of a beamline."""
    file["measurement/eiger/frames"] = oracle.patterns.astype(np.uint16)
    file["measurement/eiger/dark"] = np.zeros((40, 16, 20), dtype=np.uint16)
    file["piezo/samy_um"], file["piezo/samx_um"] = oracle.positions_m.T * 1e6
    file["piezo/samz_um"], file["current"] = np.zeros(12), np.ones(12)
    # Coarse motors that stood still.
    file["base/y"], file["base/x"] = np.full(12, 3.5), np.full(12, -7.25)
    file["beamline/mono/energy_keV"] = ENERGY_EV / 1e3
    file["beamline/detector/z_mm"] = DISTANCE_M * 1e3
    file["beamline/detector/y_pixel_um"], file["beamline/detector/x_pixel_um"] = np.array(DETECTOR_PIXEL_M) * 1e6
    file["beamline/detector/bad_pixels"] = ~oracle.mask


def units_in_attributes(file: h5py.File, oracle: Oracle) -> None:
    """Everything in metres and joules or said so, numbers in attributes, one array of positions."""
    data = file.create_dataset("scan/images", data=np.moveaxis(oracle.patterns, 0, -1))
    data.attrs["wavelength_nm"] = oracle.scan.geometry.wavelength_m * 1e9
    file["scan"].attrs["detector_distance_m"] = DISTANCE_M
    for axis, size in zip("yx", DETECTOR_PIXEL_M, strict=True):
        file[f"detector/pixel_size_{axis}"] = size * 1e3
        file[f"detector/pixel_size_{axis}"].attrs["units"] = "mm"
    file["scan/positions"] = oracle.positions_m * 1e9
    file["scan/positions"].attrs["units"] = b"nm"
    file["detector/mask"] = oracle.mask.astype(np.uint8)


def a_dataset_for_each_frame(file: h5py.File, oracle: Oracle) -> None:
    """Numbers without leading zeros, two axes each, units to be guessed."""
    for number, frame in enumerate(oracle.patterns, 1):
        file[f"det/frame_{number}"] = frame.astype(np.uint32)
    file["stage/vertical"], file["stage/horizontal"] = oracle.positions_m.T * 1e6
    file["photonEnergy"], file["distance"] = ENERGY_EV / 1e3, DISTANCE_M * 1e3
    file["pixelSizeY"], file["pixelSizeX"] = np.array(DETECTOR_PIXEL_M)


@pytest.mark.parametrize("layout", [one_group_each, units_in_attributes, a_dataset_for_each_frame])
def test_a_draft_in_which_nothing_is_missing_reads_the_file(tmp_path, oracle, explain, layout: Layout):
    path, recipe = tmp_path / "scan.h5", tmp_path / "my.yaml"
    with h5py.File(path, "w") as file:
        layout(file, oracle)
    told = done("recipe", path, "-o", recipe).err
    assert "all that a reconstruction needs was recognised" in told
    scan = read(path, ReadOptions(recipe=str(recipe)))
    explain(scan)
    if layout is not a_dataset_for_each_frame:
        np.testing.assert_array_equal(scan.mask.numpy(), oracle.mask)
    assert done("recipe", path).out == recipe.read_text()


def test_a_raster_with_one_list_for_each_motor_is_recognised(tmp_path):
    frames = np.random.default_rng(0).poisson(5.0, (4, 6, 16, 16))
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["entry/data"] = frames
        file["entry/axis/y"], file["entry/axis/x"] = np.arange(4) * 0.3, np.arange(6) * 0.2
    recipe = tmp_path / "my.yaml"
    recipe.write_text(draft(tmp_path / "scan.h5").text)
    scan = read(
        tmp_path / "scan.h5",
        ReadOptions(recipe=str(recipe), energy_ev=8000.0, distance_m=2.0, detector_pixel_m=75e-6),
    )
    np.testing.assert_allclose(scan.positions_m.numpy()[[0, 1, 6]] * 1e6, [[0, 0], [0, 0.2], [0.3, 0]], atol=1e-12)


def test_an_energy_under_a_name_of_its_own_is_known_by_its_unit(tmp_path, oracle):
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        one_group_each(file, oracle)
        del file["beamline/mono/energy_keV"]
        file["beamline/mono/en"] = ENERGY_EV / 1e3
        file["beamline/mono/en"].attrs["units"] = "keV"
        file["ring/threshold"] = 4.0
        file["ring/threshold"].attrs["units"] = "keV"
    made = draft(path)
    assert made.missing == ()
    assert 'energy: {path: "beamline/mono/en", unit: keV}' in made.text


def test_what_is_missing_stands_as_a_comment_and_its_option_reads_the_file(tmp_path, oracle, explain):
    path, recipe = tmp_path / "scan.h5", tmp_path / "my.yaml"
    with h5py.File(path, "w") as file:
        one_group_each(file, oracle)
        del file["beamline/mono/energy_keV"]
    made = draft(path)
    recipe.write_text(made.text)
    assert made.missing == ("energy",)
    assert "state it with --energy-ev" in made.text
    explain(read(path, ReadOptions(recipe=str(recipe), energy_ev=ENERGY_EV)))


def test_more_frames_than_positions_are_said(tmp_path, oracle, explain):
    path, recipe = tmp_path / "scan.h5", tmp_path / "my.yaml"
    with h5py.File(path, "w") as file:
        one_group_each(file, oracle)
        del file["measurement/eiger/frames"]
        file["measurement/eiger/frames"] = np.concatenate([oracle.patterns, oracle.patterns[:3]]).astype(np.uint16)
    recipe.write_text((made := draft(path)).text)
    assert "that 12 positions belong to 15 frames, of which --prepare select=:N takes N" in made.guessed
    explain(read_prepared(path, ReadOptions(recipe=str(recipe)), ({"select": ":12"},)))


def test_an_unknown_hdf5_file_is_shown_with_what_each_part_may_be(tmp_path, oracle):
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        one_group_each(file, oracle)
        for number in range(300):
            file[f"log/value_{number}"] = "text"
    outcome = call("info", path)
    first, *tree = outcome.said.splitlines()
    assert outcome.code == 2
    assert f"exitwave recipe {path} > my.yaml" in first
    assert "measurement/eiger/frames  (12, 16, 20) uint16  <- frames?" in tree[0]
    assert any("samx_um" in line and "<- positions x?" in line for line in tree)
    assert any("energy_keV = 8  <- energy?" in line for line in tree)
    assert any("current  (12) float64  <- one for each frame" in line for line in tree)
    assert len(tree) < 30
    with pytest.raises(UnknownFileError, match="samy_um"):
        formats.detect(path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"BZh91AY&SY", "packed with bzip2; unpack it first (bunzip2"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "a PNG picture"),
        (b"y,x\n1,2\n", "it is text; a table of positions goes with --positions"),
        (b"", "it is empty"),
        (bytes(range(256)) * 9, "is of no known format; known are"),
    ],
)
def test_an_unknown_file_that_is_not_hdf5_is_not_told_to_take_a_recipe(tmp_path, content, told):
    path = tmp_path / "data.bin"
    path.write_bytes(content)
    line = call("info", path).err
    assert told in line
    assert "recipe" not in line.replace("HDF5 file with a recipe", "")


def test_a_pointer_of_git_lfs_is_named_as_one(tmp_path):
    path = tmp_path / "scan.cxi"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 8415321\n")
    for words in (("info", path), ("recipe", path), ("info", path, "--format", "cxi"), ("export", path, "-o", "a.nxs")):
        assert "pointer of Git LFS: the data (8415321 bytes) are still on the server" in call(*words).err
    with pytest.raises(FormatError, match="git lfs pull"):
        read(tmp_path / "scan.cxi")


def test_a_draft_of_what_is_no_hdf5_file_is_refused(tmp_path):
    Path(tmp_path / "a.txt").write_text("hello")
    assert "is not an HDF5 file" in call("recipe", tmp_path / "a.txt").err


@pytest.mark.parametrize("name", ["aps_34idc", "esrf_id27", "maxiv_nanomax_bragg", "soleil_sixs", "soleil_cristal"])
def test_a_draft_tells_a_rocking_curve_by_the_names_of_its_circles(tmp_path, name):
    path, recipe = tmp_path / "scan.h5", tmp_path / "my.yaml"
    with h5py.File(path, "w") as file:
        expected = LAYOUTS[name](file, THETA_DEG)
    made = draft(path)
    if name in ("soleil_sixs", "soleil_cristal"):
        # The angle in each frame bears no name of a circle there.
        assert "positions" in made.missing
        return
    recipe.write_text(made.text)
    lacking = {"energy_ev": 9000.0, **expected["stated"]}
    curve = read(path, ReadOptions(recipe=str(recipe), **lacking))
    assert isinstance(curve, RockingCurve)
    assert curve.diffraction.rocked == expected["rocked"]
    np.testing.assert_allclose(np.degrees(curve.angles_rad.numpy()), THETA_DEG)
