"""Exports keep signs, sizes and units, and other programs' readers understand them."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import tifffile
import torch
from matplotlib.image import imread

from exitwave.data.errors import InputError
from exitwave.data.result import Result
from exitwave.io import formats
from exitwave.io.export import amplitude_picture, complex_picture, export, phase_picture
from exitwave.io.results import read_result


@pytest.fixture(scope="module")
def result(oracle, truth) -> Result:
    return Result(
        estimate=truth,
        geometry=oracle.scan.geometry,
        object_pixel_m=oracle.scan.object_pixel_m,
        spec={"name": "rpie"},
        history=(0.5, 0.2),
    )


def test_cxi_holds_image_probe_and_the_scanned_mask(tmp_path, result, truth):
    export(result, tmp_path / "out.cxi")
    with h5py.File(tmp_path / "out.cxi") as file:
        assert file["cxi_version"][()] >= 140
        image = file["entry_1/image_1"]
        np.testing.assert_array_equal(image["data"][0], truth.object[0])
        np.testing.assert_allclose(image["image_size"], np.array([40, 44]) * result.object_pixel_m)
        assert image["data_space"].asstr()[()] == "real"
        np.testing.assert_array_equal(file["entry_1/instrument_1/source_1/illumination"][()], truth.probe)
        scanned = np.zeros((40, 44), dtype=bool)
        for row, column in truth.positions_px.int().tolist():
            scanned[row : row + 16, column : column + 20] = True
        np.testing.assert_array_equal(image["mask"][()] == 0x1000, scanned)
        assert not scanned.all()
    assert torch.equal(read_result(tmp_path / "out.cxi").estimate.object, truth.object)


@pytest.mark.parametrize(("name", "chosen"), [("out.npz", None), ("out.h5", "ptychodus"), ("anything", "npz")])
def test_ptychodus_products_come_back(tmp_path, result, truth, name, chosen):
    export(result, tmp_path / name, format=chosen)
    found = formats.detect(tmp_path / name)
    assert found.name == "ptychodus-product"
    estimate = found.read_estimate(tmp_path / name)
    assert torch.equal(estimate.object, truth.object)
    np.testing.assert_allclose(estimate.positions_px, truth.positions_px, atol=1e-9)


@pytest.mark.parametrize("slices", [1, 3])
def test_tiff_has_amplitude_and_phase_with_the_pixel_size_imagej_reads(tmp_path, result, truth, slices):
    obj = truth.object.repeat(slices, 1, 1) * torch.arange(1, slices + 1)[:, None, None]
    export(replace(result, estimate=replace(truth, object=obj)), tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        stack = file.asarray().reshape(slices, 2, 40, 44)
        assert stack.dtype == np.float32
        np.testing.assert_allclose(stack[:, 0], obj.abs(), rtol=1e-6)
        np.testing.assert_allclose(stack[:, 1], obj.angle(), atol=1e-6)
        assert file.imagej_metadata["unit"] == "um"
        assert file.imagej_metadata["channels"] == 2
        assert file.imagej_metadata["Labels"][:2] == ["amplitude", "phase (rad)"]
        for tag, size in (("XResolution", result.object_pixel_m[1]), ("YResolution", result.object_pixel_m[0])):
            pixels, microns = file.pages[0].tags[tag].value
            assert microns / pixels == pytest.approx(size * 1e6, rel=1e-4)


def test_png_writes_three_pictures_of_the_object_the_right_way_up(tmp_path, result):
    export(result, tmp_path / "out.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.png", "out_amplitude.png", "out_phase.png"]
    for name, picture in (("out_amplitude", amplitude_picture(result)), ("out_phase", phase_picture(result))):
        pixels = np.rint(255 * imread(tmp_path / f"{name}.png")[..., 0])
        np.testing.assert_array_equal(pixels, picture)
    pixels = np.rint(255 * imread(tmp_path / "out.png")[..., :3])
    np.testing.assert_array_equal(pixels, complex_picture(result))


def test_pictures_do_not_change_with_the_global_phase(result, truth):
    turned = replace(result, estimate=replace(truth, object=truth.object * np.exp(2.5j)))
    assert np.abs(phase_picture(turned).astype(int) - phase_picture(result)).max() <= 1
    assert np.abs(complex_picture(turned).astype(int) - complex_picture(result)).max() <= 1


def test_pictures_do_not_change_with_a_phase_ramp_which_the_probe_would_undo(result, truth):
    ramp = torch.exp(1j * (0.3 * torch.arange(40)[:, None] - 0.2 * torch.arange(44)))
    tilted = replace(result, estimate=replace(truth, object=truth.object * ramp))
    assert np.abs(phase_picture(tilted).astype(int) - phase_picture(result)).max() <= 1
    assert np.abs(complex_picture(tilted).astype(int) - complex_picture(result)).max() <= 3


def test_pictures_show_less_amplitude_darker_and_phase_as_grey_and_hue(result):
    obj = torch.ones(1, 40, 44, dtype=torch.complex64)
    obj[0, 16:20, 12:20] = 0.5
    obj[0, 22:26, 24:30] = np.exp(-1j)
    shown = replace(result, estimate=replace(result.estimate, object=obj))
    assert amplitude_picture(shown)[18, 15] < amplitude_picture(shown)[12, 15]
    assert phase_picture(shown)[24, 27] < phase_picture(shown)[12, 15]
    colours = complex_picture(shown).astype(int)
    assert np.abs(colours[24, 27] - colours[12, 15]).max() > 60
    unseen = np.argwhere(shown.estimate.light().numpy() == 0)[0]
    assert colours[tuple(unseen)].max() == 0


@pytest.mark.parametrize(("name", "chosen"), [("out.xyz", None), ("out", None), ("out.png", "jpeg")])
def test_an_unknown_format_names_the_known_ones(tmp_path, result, name, chosen):
    with pytest.raises(InputError, match="cxi, npz, tiff, png, ptychodus"):
        export(result, tmp_path / name, format=chosen)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out.cxi", "out.npz", "out.tif", "out.png"])
def test_a_missing_folder_is_named(tmp_path, result, name):
    with pytest.raises(InputError, match="does not exist"):
        export(result, tmp_path / "missing" / name)
