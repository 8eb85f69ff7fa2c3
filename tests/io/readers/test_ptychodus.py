"""ptychodus, pty-chi and fold_slice files as these programs write them: old and new names, signs, matching by index."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from exitwave.data.errors import FormatError
from exitwave.data.geometry import Geometry
from exitwave.data.result import Result
from exitwave.io import formats, npz_arrays
from exitwave.io.assemble import ReadOptions
from exitwave.io.readers import ptychodus, ptychodus_patterns
from format_files import write_patterns, write_product, write_training

STATED = {"energy_ev": 8000.0, "distance_m": 1.5, "detector_pixel_m": (75e-6, 55e-6)}


@pytest.mark.parametrize("names", ["new", "old"])
@pytest.mark.parametrize("pixel_as", ["attribute", "dataset"])
def test_diffraction_and_product_files_make_a_scan(tmp_path, oracle, explain, names, pixel_as):
    write_patterns(tmp_path / "diffraction.h5", oracle, pixel_as=pixel_as)
    write_product(tmp_path / "product.h5", oracle, names)
    scan = formats.read_scan(tmp_path / "diffraction.h5", ReadOptions(positions=tmp_path / "product.h5"))
    explain(scan)
    assert torch.equal(scan.mask, oracle.scan.mask)
    assert scan.geometry.detector_pixel_m == pytest.approx((75e-6, 55e-6))
    assert scan.provenance["positions_file"].endswith("product.h5")
    assert not scan.patterns.in_memory


def test_patterns_and_positions_are_matched_by_index(tmp_path, oracle, explain):
    write_patterns(tmp_path / "diffraction.h5", oracle, indexes=np.array([7, 8, 1, 2, 11, 0]))
    write_product(tmp_path / "product.h5", oracle, order=np.array([11, 10, 9, 8, 0, 2, 1]))
    scan = formats.read_scan(tmp_path / "diffraction.h5", ReadOptions(positions=tmp_path / "product.h5"))
    assert len(scan) == 5
    kept = [8, 1, 2, 11, 0]
    assert torch.equal(scan.frames(slice(None)), oracle.scan.frames(torch.tensor(kept)))
    np.testing.assert_allclose(scan.positions_m, oracle.positions_m[kept])


def test_positions_of_another_scan_are_refused(tmp_path, oracle):
    write_patterns(tmp_path / "diffraction.h5", oracle, indexes=np.array([0, 1, 2]))
    write_product(tmp_path / "product.h5", oracle, order=np.array([9, 10, 11]))
    with pytest.raises(FormatError, match="another scan"):
        formats.read_scan(tmp_path / "diffraction.h5", ReadOptions(positions=tmp_path / "product.h5"))


def test_a_diffraction_file_alone_asks_for_positions(tmp_path, oracle):
    write_patterns(tmp_path / "diffraction.h5", oracle)
    with pytest.raises(FormatError, match="--positions"):
        formats.read_scan(tmp_path / "diffraction.h5", ReadOptions())


def test_positions_may_also_stand_in_a_table(tmp_path, oracle, explain):
    write_patterns(tmp_path / "diffraction.h5", oracle)
    np.savetxt(tmp_path / "positions.csv", oracle.positions_m, delimiter=",", header="y_m,x_m", comments="")
    explain(formats.read_scan(tmp_path / "diffraction.h5", ReadOptions(positions=tmp_path / "positions.csv", **STATED)))


@pytest.mark.parametrize("kind", ["product", "fold_slice"])
def test_the_para_file_beside_a_dp_file_is_found_by_name(tmp_path, oracle, explain, kind):
    with h5py.File(tmp_path / "scan7_dp.hdf5", "w") as file:
        file.create_dataset("dp", data=oracle.patterns.astype(np.float32), compression="lzf")
    if kind == "product":
        write_product(tmp_path / "scan7_para.hdf5", oracle)
        stated = ReadOptions()
    else:
        with h5py.File(tmp_path / "scan7_para.hdf5", "w") as file:
            file["ppX"], file["ppY"] = oracle.positions_m[:, 1:2], oracle.positions_m[:, :1]
        stated = ReadOptions(**STATED)
    scan = formats.read_scan(tmp_path / "scan7_dp.hdf5", stated)
    explain(scan)
    assert scan.provenance["format"] == "ptychi"
    assert scan.provenance["positions_file"].endswith("scan7_para.hdf5")


def test_a_stated_para_file_wins_over_the_one_beside(tmp_path, oracle, explain):
    with h5py.File(tmp_path / "scan7_dp.hdf5", "w") as file:
        file["dp"] = oracle.patterns
    with h5py.File(tmp_path / "scan7_para.hdf5", "w") as file:
        file["ppX"] = file["ppY"] = np.zeros(12)
    write_product(tmp_path / "other.h5", oracle)
    explain(formats.read_scan(tmp_path / "scan7_dp.hdf5", ReadOptions(positions=tmp_path / "other.h5")))


def test_npz_variants_are_read_too(tmp_path, oracle, explain, truth):
    pixel_y, pixel_x = oracle.scan.object_pixel_m
    np.savez(tmp_path / "diffraction.npz", patterns=oracle.patterns, indexes=np.arange(12), bad_pixels=~oracle.mask)
    np.savez_compressed(
        tmp_path / "product.npz",
        name="oracle",
        comments="",
        detector_object_distance_m=1.5,
        probe_energy_eV=8000.0,
        probe_position_indexes=np.arange(12),
        probe_position_x_m=oracle.positions_m[:, 1],
        probe_position_y_m=oracle.positions_m[:, 0],
        probe=oracle.probe[None, None],
        probe_pixel_width_m=pixel_x,
        probe_pixel_height_m=pixel_y,
        object=oracle.object[None],
        object_pixel_width_m=pixel_x,
        object_pixel_height_m=pixel_y,
        object_center_x_m=oracle.positions_m[0, 1] + 12 * pixel_x,
        object_center_y_m=oracle.positions_m[0, 0] + 12 * pixel_y,
        object_layer_spacing_m=[],
    )
    stated = ReadOptions(positions=tmp_path / "product.npz")
    explain(formats.read_scan(tmp_path / "diffraction.npz", stated))
    assert formats.detect(tmp_path / "diffraction.npz").name == "ptychodus"
    assert formats.detect(tmp_path / "product.npz").name == "ptychodus-product"
    np.testing.assert_allclose(
        ptychodus.read_estimate(tmp_path / "product.npz").positions_px, truth.positions_px, atol=1e-9
    )


@pytest.mark.parametrize("names", ["new", "old"])
def test_a_product_gives_its_estimate_in_our_pixels(tmp_path, oracle, truth, names):
    write_product(tmp_path / "product.h5", oracle, names)
    found = formats.detect(tmp_path / "product.h5")
    estimate = found.read_estimate(tmp_path / "product.h5")
    assert torch.equal(estimate.object, truth.object)
    assert torch.equal(estimate.probe, truth.probe)
    assert torch.equal(found.read_probe(tmp_path / "product.h5"), truth.probe)
    np.testing.assert_allclose(estimate.positions_px, truth.positions_px, atol=1e-6)
    with pytest.raises(FormatError, match="holds no diffraction patterns"):
        formats.read_scan(tmp_path / "product.h5", ReadOptions())


def test_a_product_without_an_image_is_refused_as_a_start(tmp_path, oracle):
    write_product(tmp_path / "para.h5", oracle, with_object=False)
    with pytest.raises(FormatError, match="lacks object"):
        ptychodus.read_estimate(tmp_path / "para.h5")


@pytest.mark.parametrize("object_shape", [(40, 44), (41, 45)])
def test_a_product_that_we_write_comes_back(tmp_path, oracle, truth, object_shape):
    obj = torch.nn.functional.pad(truth.object, (0, object_shape[1] - 44, 0, object_shape[0] - 40))
    result = Result(
        estimate=replace(truth, object=obj),
        geometry=oracle.scan.geometry,
        object_pixel_m=oracle.scan.object_pixel_m,
        spec={"name": "rpie"},
        history=(0.5, 0.2),
    )
    ptychodus.write_product(tmp_path / "product.h5", result)
    npz_arrays.write(tmp_path / "product.npz", {k: np.asarray(v) for k, v in ptychodus.product_values(result).items()})
    for name in ("product.h5", "product.npz"):
        back = ptychodus.read_estimate(tmp_path / name)
        assert torch.equal(back.object, obj)
        assert torch.equal(back.probe, truth.probe)
        np.testing.assert_allclose(back.positions_px, truth.positions_px, atol=1e-9)
    with h5py.File(tmp_path / "product.h5") as file:
        assert file["object"].attrs["pixel_height_m"] == pytest.approx(oracle.scan.object_pixel_m[0])
        assert file["probe"].shape == (1, 1, 16, 20)
        assert file.attrs["photon_energy_eV"] == pytest.approx(8000)
        assert file["loss_values"][()].tolist() == [0.5, 0.2]
        assert "object_pixel_height_m" not in file.attrs


def test_training_files_count_positions_from_the_middle_of_the_object(tmp_path, oracle, truth, explain):
    write_training(tmp_path / "training.h5", oracle, truth)
    found = formats.detect(tmp_path / "training.h5")
    assert found.name == "ptychodus-training"
    explain(formats.read_scan(tmp_path / "training.h5", ReadOptions()))
    estimate = found.read_estimate(tmp_path / "training.h5")
    np.testing.assert_allclose(estimate.positions_px, truth.positions_px)
    assert estimate.probe.shape == (1, 16, 20)


@pytest.mark.parametrize("focus", [None, 3e-3, float("inf")])
def test_a_scan_that_we_write_comes_back(tmp_path, oracle, explain, focus):
    scan = replace(oracle.scan, geometry=replace(oracle.scan.geometry, focus_distance_m=focus))
    ptychodus_patterns.write_diffraction(tmp_path / "scan.h5", scan)
    assert formats.detect(tmp_path / "scan.h5").name == "ptychodus"
    back = formats.read_scan(tmp_path / "scan.h5", ReadOptions())
    assert torch.equal(back.frames(slice(None)), scan.frames(slice(None)))
    assert torch.equal(back.mask, scan.mask)
    assert torch.equal(back.positions_m, scan.positions_m)
    assert back.geometry.focus_distance_m == focus
    assert back.object_pixel_m == pytest.approx(scan.object_pixel_m)


def test_a_near_field_pair_knows_its_detector_pixel_from_the_magnification(tmp_path, oracle):
    geometry = Geometry.from_energy(8000.0, 1.12, (55e-6, 55e-6), 3.65e-3)
    with h5py.File(tmp_path / "a_dp.h5", "w") as file:
        file["dp"] = oracle.patterns
    write_product(tmp_path / "a_para.h5", oracle)
    with h5py.File(tmp_path / "a_para.h5", "r+") as file:
        file.attrs.update({"far_field": False, "focus_object_distance_m": 3.65e-3, "detector_object_distance_m": 1.12})
        pixel = geometry.object_pixel_m((16, 20))
        file["object"].attrs.update({"pixel_height_m": pixel[0], "pixel_width_m": pixel[1]})
    scan = formats.read_scan(tmp_path / "a_dp.h5", ReadOptions())
    assert scan.geometry.detector_pixel_m == pytest.approx((55e-6, 55e-6))
    assert scan.object_pixel_m == pytest.approx(pixel)


def test_damaged_positions_are_named(tmp_path, oracle):
    with h5py.File(tmp_path / "a_para.h5", "w") as file:
        file["probe_position_x_m"], file["probe_position_y_m"] = np.zeros(12), np.zeros(11)
    with pytest.raises(FormatError, match="12 x but 11 y"):
        ptychodus.read_product(tmp_path / "a_para.h5")
