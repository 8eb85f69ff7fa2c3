from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from exitwave.data.errors import FormatError
from exitwave.data.scan import Scan
from exitwave.io.assemble import ReadOptions, assemble
from exitwave.io.recipes import recipe
from exitwave.io.recipes.schema import load_recipe, parse_recipe, shipped_recipes

Explain = Callable[[Scan], None]
GENERIC = """
title: test
frames: {path: frames}
positions:
  unit: um
  y: [{path: y}]
  x: [{path: x}]
energy: {value: 8, unit: keV}
distance: {value: 1.5, unit: m}
detector_pixel: {value: 55, unit: um}
detector_pixel_y: {value: 75, unit: um}
"""


def read(path: Path, stated: ReadOptions) -> Scan:
    return assemble(recipe.read(path, stated), stated, path, "recipe")


@pytest.fixture
def measured(tmp_path: Path, oracle: Any) -> Path:
    path = tmp_path / "measured.h5"
    with h5py.File(path, "w") as file:
        file["frames"] = oracle.patterns
        file["y"], file["x"] = oracle.positions_m.T * 1e6
    return path


def written(tmp_path: Path, text: str) -> ReadOptions:
    (tmp_path / "mine.yaml").write_text(text)
    return ReadOptions(recipe=str(tmp_path / "mine.yaml"))


def changed(path: Path, **datasets: Any) -> None:
    with h5py.File(path, "r+") as file:
        for name, value in datasets.items():
            if name in file:
                del file[name]
            file[name] = value


def test_a_recipe_of_ones_own_reads_any_hdf5_file(measured: Path, tmp_path: Path, explain: Explain) -> None:
    scan = read(measured, written(tmp_path, GENERIC))
    explain(scan)
    assert scan.geometry.energy_ev == pytest.approx(8000)
    assert not scan.patterns.in_memory


def test_positions_combine_datasets_with_factors_and_angles(
    measured: Path, tmp_path: Path, oracle: Any, explain: Explain
) -> None:
    y, x = oracle.positions_m.T * 1e6
    turn = np.deg2rad(30)
    changed(measured, u=(np.cos(turn) * y - np.sin(turn) * x) / 2, v=np.sin(turn) * y + np.cos(turn) * x, theta=30.0)
    with h5py.File(measured, "r+") as file:
        file.attrs["step"] = 2.0
        del file["x"], file["y"]
    angle = "angle: {path: theta, unit: deg}"
    text = GENERIC.replace(
        "y: [{path: y}]", f'y: [{{path: u, by: "@step", {angle}, of: cos}}, {{path: v, {angle}, of: abs sin}}]'
    ).replace(
        "x: [{path: x}]",
        f'x: [{{path: u, times: -1, by: "@step", {angle}, of: sin}}, {{path: v, {angle}, of: abs cos}}]',
    )
    explain(read(measured, written(tmp_path, text)))


def test_sign_flip_and_swapped_columns_are_part_of_the_recipe(
    measured: Path, tmp_path: Path, oracle: Any, explain: Explain
) -> None:
    changed(measured, table=oracle.positions_m[:, ::-1] * [1e6, -1e6])
    text = GENERIC.replace("{path: y}", "{path: table, component: 1}").replace(
        "{path: x}", "{path: table, component: 0}"
    )
    explain(
        read(measured, written(tmp_path, text.replace("unit: um\n", "unit: um\n  sign: sample\n  flip: [1, -1]\n")))
    )


@pytest.mark.parametrize("shape", ["upright", "turned"])
def test_two_coordinates_are_found_along_either_axis(
    measured: Path, tmp_path: Path, oracle: Any, explain: Explain, shape: str
) -> None:
    table = oracle.positions_m * 1e6
    changed(measured, table=table if shape == "upright" else table.T)
    text = GENERIC.replace("{path: y}", "{path: table, component: 0}").replace(
        "{path: x}", "{path: table, component: 1}"
    )
    explain(read(measured, written(tmp_path, text)))


def test_a_turned_detector_is_turned_back(measured: Path, tmp_path: Path, oracle: Any, explain: Explain) -> None:
    changed(measured, frames=oracle.patterns.transpose(0, 2, 1))
    text = GENERIC.replace("{path: frames}", "{path: frames, orientation: transpose}")
    # The pixel sizes are those of the detector as it stands, before it is turned.
    text = text.replace("value: 55,", "value: 75.0,").replace("value: 75, ", "value: 55, ")
    explain(read(measured, written(tmp_path, text)))


def test_amplitudes_and_frames_on_the_last_axis(measured: Path, tmp_path: Path, oracle: Any, explain: Explain) -> None:
    changed(measured, frames=np.moveaxis(np.sqrt(oracle.patterns), 0, -1))
    text = GENERIC.replace("{path: frames}", "{path: frames, values: amplitude, layout: y x frame}")
    explain(read(measured, written(tmp_path, text)))


def test_a_raster_can_be_placed_by_its_rows_and_columns(measured: Path, tmp_path: Path, oracle: Any) -> None:
    changed(measured, frames=oracle.patterns.reshape(3, 4, 16, 20))
    text = GENERIC.replace("{path: frames}", "{path: frames, layout: row column y x}")
    text = text.replace("{path: y}", "{scan: row, times: 0.5}").replace("{path: x}", "{scan: column, times: 0.25}")
    scan = read(measured, written(tmp_path, text))
    np.testing.assert_allclose(scan.positions_m[[0, 1, 4, 11]] * 1e6, [[0, 0], [0, 0.25], [0.5, 0], [1, 0.75]])


def test_only_frames_within_the_range_of_the_monitor_are_kept(measured: Path, tmp_path: Path, oracle: Any) -> None:
    changed(measured, beam=np.arange(12.0))
    with h5py.File(measured, "r+") as file:
        file["y"][5] = np.nan
    text = GENERIC.replace("unit: um\n", "unit: um\n  drop_missing: true\n", 1)
    scan = read(measured, written(tmp_path, text + "monitor: {path: beam, keep: [3, 9]}"))
    assert scan.monitor.tolist() == [3, 4, 6, 7, 8]
    np.testing.assert_array_equal(scan.frames(torch.tensor([2]))[0], oracle.patterns[6])
    with pytest.raises(FormatError, match="keeps none of 12"):
        read(measured, written(tmp_path, text + "monitor: {path: beam, keep: [30, 90]}"))


def test_masks_background_and_beam_centre_are_read(measured: Path, tmp_path: Path, oracle: Any) -> None:
    changed(measured, good=oracle.mask.astype(np.uint8), dark=np.full((2, 16, 20), 3.0))
    text = GENERIC + "mask: {path: good, good: nonzero}\nbackground: dark\n"
    scan = read(measured, written(tmp_path, text))
    assert torch.equal(scan.mask, torch.from_numpy(oracle.mask))
    assert scan.background[1, 1] == 3
    centre = "beam_centre: {y: {value: 5, unit: px}, x: {value: 12, unit: px}}\n"
    frame = read(measured, written(tmp_path, text + centre)).frames(torch.tensor([0]))[0]
    assert frame[8, 10] == oracle.patterns[0, 5, 12]


def test_numbers_can_take_the_unit_that_the_file_gives(measured: Path, tmp_path: Path) -> None:
    changed(measured, z=-1500.0)
    with h5py.File(measured, "r+") as file:
        file["z"].attrs["units"] = "mm"
    text = GENERIC.replace("{value: 1.5, unit: m}", "{path: z, unit: file, absolute: true}")
    assert read(measured, written(tmp_path, text)).geometry.distance_m == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("frames:", "fames:"),
            "unknown key fames, did you mean frames.*; frames is missing|frames is missing; unknown key",
        ),
        (("unit: um", "unti: um"), "unknown key positions.unti, did you mean unit"),
        (("{path: y}", "{path: y, tims: 2}"), "unknown key positions.y.0.tims, did you mean times"),
        (("unit: keV", "unit: kilovolts"), "energy: 'kilovolts' is no known unit"),
        (("{value: 1.5, unit: m}", "{unit: m}"), "distance: give either path or value"),
        (("  x: [{path: x}]\n", ""), "positions: give terms for both y and x"),
        (("{path: frames}", "{path: frames, orientation: sideways}"), "frames.orientation: Input should be 'identity'"),
        (("title: test", "title: [unclosed"), "is not YAML"),
    ],
)
def test_a_wrong_recipe_says_which_key_is_wrong(change: tuple[str, str], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        parse_recipe(GENERIC.replace(*change), "mine.yaml")


def test_an_unknown_recipe_is_refused_with_those_there_are() -> None:
    with pytest.raises(FormatError, match="lcls_xpp"):
        load_recipe("nowhere")


def test_frames_that_are_not_where_the_recipe_says_are_reported(measured: Path, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no frames at pictures, where the recipe"):
        read(measured, written(tmp_path, GENERIC.replace("path: frames", "path: pictures")))


def test_a_file_that_no_shipped_recipe_fits_needs_one(measured: Path) -> None:
    assert not recipe.recognises(measured)
    with pytest.raises(FormatError, match="--recipe"):
        read(measured, ReadOptions())


def test_every_shipped_recipe_says_how_its_files_are_known() -> None:
    recipes = shipped_recipes()
    assert len(recipes) >= 14
    for shipped in recipes.values():
        assert shipped.title
        assert shipped.about
        assert shipped.recognise


def test_datasets_of_one_frame_each_follow_in_the_order_of_their_numbers(
    measured: Path, tmp_path: Path, oracle: Any, explain: Explain
) -> None:
    with h5py.File(measured, "a") as file:
        del file["frames"]
        for number, frame in enumerate(oracle.patterns, 8):
            file[f"det/frame_{number}"] = frame[None]
    explain(read(measured, written(tmp_path, GENERIC.replace("path: frames", "path: det/*"))))


@pytest.mark.parametrize(("rows", "columns"), [(3, 4), (4, 4), (4, 3)])
@pytest.mark.parametrize("fast_y", [False, True])
def test_one_list_of_each_motor_serves_a_raster(tmp_path: Path, rows: int, columns: int, fast_y: bool) -> None:
    path, frames = tmp_path / "raster.h5", np.random.default_rng(0).poisson(5.0, (rows, columns, 8, 6))
    if fast_y and rows == columns:
        pytest.skip("nobody can tell")
    y, x = (
        (np.arange(columns) * 2.0, np.arange(rows) * 3.0)
        if fast_y
        else (np.arange(rows) * 2.0, np.arange(columns) * 3.0)
    )
    with h5py.File(path, "w") as file:
        file["frames"], file["y"], file["x"] = frames, y, x
    scan = read(path, written(tmp_path, GENERIC.replace("path: frames", "path: frames, layout: row column y x")))
    row, column = (index.ravel() for index in np.indices((rows, columns)))
    expected = np.stack([y[column], x[row]] if fast_y else [y[row], x[column]], axis=1) * 1e-6
    np.testing.assert_allclose(scan.positions_m.numpy(), expected)


@pytest.mark.parametrize("way", ["option", "layout", "frames in a row"])
def test_exposures_at_each_position_are_summed_when_asked(
    measured: Path, tmp_path: Path, oracle: Any, explain: Explain, way: str
) -> None:
    parts = np.stack([oracle.patterns // 3, oracle.patterns // 3, oracle.patterns - 2 * (oracle.patterns // 3)], axis=1)
    changed(measured, frames=parts.reshape(-1, *parts.shape[2:]) if way == "frames in a row" else parts)
    layout = "frames, layout: frame exposure y x" if way == "layout" else "frames"
    stated = written(tmp_path, GENERIC.replace("path: frames", f"path: {layout}"))
    if way == "option":
        with pytest.raises(FormatError, match=r"(\d+) positions with 3 exposures each: --sum-exposures"):
            read(measured, stated)
    explain(read(measured, replace(stated, sum_exposures=way != "layout")))


def test_a_file_that_a_virtual_dataset_needs_is_named(measured: Path, tmp_path: Path, oracle: Any) -> None:
    layout = h5py.VirtualLayout(oracle.patterns.shape, oracle.patterns.dtype)
    layout[:5] = h5py.VirtualSource("run_1.h5", "data", (5, *oracle.patterns.shape[1:]))
    layout[5:] = h5py.VirtualSource("run_2.h5", "data", (len(oracle.patterns) - 5, *oracle.patterns.shape[1:]))
    with h5py.File(tmp_path / "run_1.h5", "w") as file:
        file["data"] = oracle.patterns[:5]
    with h5py.File(measured, "a") as file:
        del file["frames"]
        file.create_virtual_dataset("frames", layout)
    with pytest.raises(FormatError, match=r"other files, of which 1 are not there: run_2.h5"):
        read(measured, written(tmp_path, GENERIC))


@pytest.mark.parametrize("lost", ["frames", "y"])
def test_a_file_that_a_link_leads_to_is_named(measured: Path, tmp_path: Path, lost: str) -> None:
    with h5py.File(measured, "a") as file:
        del file[lost]
        file[f"raw/{lost}"] = h5py.ExternalLink("elsewhere.h5", "/data")
        text = GENERIC.replace(f"path: {lost}", f"path: raw/{lost}")
    with pytest.raises(FormatError, match=r"it should be in elsewhere.h5, which is not there"):
        read(measured, written(tmp_path, text))
