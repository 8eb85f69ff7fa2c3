import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from exitwave.data.errors import FormatError, InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.geometry import JOULE_PER_EV, Geometry
from exitwave.data.patterns import ArrayPatterns
from exitwave.data.scan import Scan
from exitwave.io import formats
from exitwave.io.assemble import ReadOptions, assemble
from exitwave.io.readers import cxi

ENERGY_EV, DISTANCE_M, DETECTOR_PIXEL_M = 8000.0, 1.5, (75e-6, 55e-6)
Explain = Callable[[Scan], None]
STAR = Path(__file__).parents[3].parent / "shared/data/PETRAIII_P25_Near_Field_Ptycho.cxi"
TRANSLATION = "entry_1/sample_1/geometry_1/translation"
DETECTOR = "entry_1/instrument_1/detector_1"


def read(path: Path, stated: ReadOptions | None = None) -> Scan:
    stated = stated or ReadOptions()
    return assemble(cxi.read(path, stated), stated, path, "cxi")


@pytest.fixture
def foreign(tmp_path: Path, oracle: Any) -> Path:
    """As cdtools writes it: sample translations (frame, 3), usual basis vectors, wavelength beside energy."""
    path = tmp_path / "foreign.cxi"
    xyz = np.zeros((12, 3))
    xyz[:, 1], xyz[:, 0] = oracle.positions_m.T
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        file[TRANSLATION] = xyz.astype(np.float32)
        file["entry_1/instrument_1/source_1/energy"] = ENERGY_EV * JOULE_PER_EV
        detector = file.create_group(DETECTOR)
        detector["data"] = oracle.patterns.astype(np.int32)
        detector["distance"] = np.float32(DISTANCE_M)
        detector["y_pixel_size"], detector["x_pixel_size"] = DETECTOR_PIXEL_M
        dy, dx = DETECTOR_PIXEL_M
        detector["basis_vectors"] = np.array([[0, -dx], [-dy, 0], [0, 0]])
        file["entry_1/data_1/data"] = h5py.SoftLink(f"/{DETECTOR}/data")
        file["entry_1/data_1/translation"] = h5py.SoftLink(f"/{TRANSLATION}")
    return path


def put(path: Path, name: str, value: object) -> None:
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        if value is not None:
            file[name] = value


def test_a_scan_comes_back_as_it_was_written(tmp_path: Path, oracle: Any, explain: Explain) -> None:
    path = tmp_path / "scan.cxi"
    scan = replace(oracle.scan, background=torch.rand(oracle.scan.frame_shape))
    cxi.write(path, scan)
    again = read(path)
    explain(again)
    torch.testing.assert_close(again.frames(slice(None)), scan.frames(slice(None)), rtol=0, atol=0)
    torch.testing.assert_close(again.positions_m, scan.positions_m, rtol=0, atol=0)
    assert torch.equal(again.mask, scan.mask)
    torch.testing.assert_close(again.monitor, scan.monitor)
    torch.testing.assert_close(again.background, scan.background)
    assert again.geometry == scan.geometry
    assert again.provenance["written_from"] == {"sample": "oracle"}
    assert not again.patterns.in_memory


@pytest.mark.parametrize("focus", [3.65e-3, math.inf])
def test_near_field_and_electron_scans_come_back_as_such(tmp_path: Path, oracle: Any, focus: float) -> None:
    near = Geometry.from_energy(ENERGY_EV, DISTANCE_M, DETECTOR_PIXEL_M, focus)
    for geometry in (near, Geometry.from_voltage(300e3, 0.3, (1e-5, 2e-5))):
        cxi.write(tmp_path / "scan.cxi", replace(oracle.scan, geometry=geometry))
        assert read(tmp_path / "scan.cxi").geometry == geometry


def test_fractions_of_counts_are_kept(tmp_path: Path, oracle: Any) -> None:
    frames = oracle.scan.frames(slice(None)).clone()
    frames[-1, 3, 4] = 0.25
    cxi.write(tmp_path / "scan.cxi", replace(oracle.scan, patterns=ArrayPatterns(frames)))
    with h5py.File(tmp_path / "scan.cxi") as file:
        assert file[f"{DETECTOR}/data"].dtype == np.float32
    assert torch.equal(read(tmp_path / "scan.cxi").frames(slice(None)), frames)


def test_whole_counts_are_stored_as_such_one_frame_to_a_chunk(tmp_path: Path, oracle: Any) -> None:
    cxi.write(tmp_path / "scan.cxi", oracle.scan)
    with h5py.File(tmp_path / "scan.cxi") as file:
        assert file["entry_1/data_1/data"].dtype == np.uint32
        assert file["entry_1/data_1/data"].chunks == (1, *oracle.scan.frame_shape)
        assert file["entry_1/data_1/data"].id.get_storage_size() < 0.7 * 4 * oracle.patterns.size
        assert file[TRANSLATION].attrs["convention"] == "sample"
        np.testing.assert_array_equal(file["entry_1/exitwave/probe_positions_yx"][()], oracle.positions_m)


def test_a_failing_write_leaves_the_old_file_alone(tmp_path: Path, oracle: Any) -> None:
    class Broken:
        shape = oracle.scan.patterns.shape
        in_memory = True

        def read(self, index: torch.Tensor) -> torch.Tensor:
            raise InputError("the source went away")

    path = tmp_path / "scan.cxi"
    path.write_bytes(b"precious")
    with pytest.raises(InputError, match="went away"):
        cxi.write(path, replace(oracle.scan, patterns=Broken()))
    assert path.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["scan.cxi"]


def test_sample_translations_of_cdtools_put_frames_where_the_object_is(foreign: Path, explain: Explain) -> None:
    scan = read(foreign)
    explain(scan)
    assert scan.provenance["position_sign"] == "sample"


def test_without_basis_vectors_the_usual_ones_are_meant(foreign: Path, explain: Explain) -> None:
    put(foreign, f"{DETECTOR}/basis_vectors", None)
    explain(read(foreign))


def test_basis_vectors_may_be_stored_either_way(foreign: Path, explain: Explain) -> None:
    dy, dx = DETECTOR_PIXEL_M
    put(foreign, f"{DETECTOR}/basis_vectors", np.array([[0, -dy, 0], [-dx, 0, 0]]))
    explain(read(foreign))


def test_a_detector_mounted_otherwise_is_read_by_its_basis_vectors(
    foreign: Path, oracle: Any, explain: Explain
) -> None:
    """Rows along +x, columns along -y in the laboratory; what the frames show is the same."""
    dy, dx = DETECTOR_PIXEL_M
    put(foreign, f"{DETECTOR}/basis_vectors", np.array([[dy, 0], [0, -dx], [0, 0]]))
    xyz = np.zeros((12, 3))
    xyz[:, 0], xyz[:, 1] = -oracle.positions_m[:, 0], oracle.positions_m[:, 1]
    put(foreign, TRANSLATION, xyz)
    explain(read(foreign))


def test_a_stated_sign_turns_the_positions_round(foreign: Path) -> None:
    stated = read(foreign, ReadOptions(position_sign="probe"))
    torch.testing.assert_close(stated.positions_m, -read(foreign).positions_m)
    assert stated.provenance["position_sign"] == "probe"


def test_a_stated_rotation_turns_the_positions(foreign: Path) -> None:
    turned = read(foreign, ReadOptions(rotation_deg=90.0))
    y, x = read(foreign).positions_m.T
    torch.testing.assert_close(turned.positions_m, torch.stack([-x, y], dim=1), atol=1e-15, rtol=0)
    assert turned.provenance["rotation_deg"] == 90.0
    with pytest.raises(InputError, match="angle in degrees"):
        read(foreign, ReadOptions(rotation_deg=float("nan")))


@pytest.mark.parametrize("mark", ["group", "program"])
def test_ptychodus_stores_where_the_probe_is(foreign: Path, explain: Explain, mark: str) -> None:
    put(foreign, f"{DETECTOR}/basis_vectors", None)
    if mark == "group":
        put(foreign, "entry_1/ptychodus/exposure_time_s", 0.1)
    else:
        put(foreign, "entry_1/process_1/program", "Ptychodus")
    scan = read(foreign)
    explain(scan)
    assert scan.provenance["position_sign"] == "probe"


@pytest.mark.parametrize("name", ["creator", "program_name"])
def test_pynx_stores_coordinates_along_the_first_axis(foreign: Path, explain: Explain, name: str) -> None:
    with h5py.File(foreign, "r+") as file:
        xyz = file[TRANSLATION][()].T
        del file[TRANSLATION], file[f"{DETECTOR}/basis_vectors"], file["entry_1/data_1/translation"]
        file[TRANSLATION] = xyz
        if name == "creator":
            file.attrs["creator"] = "PyNX"
        else:
            file["entry_1/program_name"] = "PyNX 2022.1"
    scan = read(foreign)
    explain(scan)
    assert scan.provenance["position_sign"] == "probe"


def test_three_frames_are_not_taken_for_three_coordinates(foreign: Path, oracle: Any) -> None:
    with h5py.File(foreign, "r+") as file:
        xyz, frames = file[TRANSLATION][:3], file[f"{DETECTOR}/data"][:3]
        del file[TRANSLATION], file[f"{DETECTOR}/data"]
        file[TRANSLATION], file[f"{DETECTOR}/data"] = xyz, frames
    np.testing.assert_allclose(read(foreign).positions_m.numpy(), oracle.positions_m[:3], atol=1e-12)


def test_a_raster_that_keeps_its_scan_axes_is_flattened(foreign: Path, explain: Explain) -> None:
    with h5py.File(foreign, "r+") as file:
        xyz, frames = file[TRANSLATION][()], file[f"{DETECTOR}/data"][()]
        del file[TRANSLATION], file[f"{DETECTOR}/data"]
        file[TRANSLATION] = xyz.reshape(3, 4, 3)
        file[f"{DETECTOR}/data"] = frames.reshape(3, 4, *frames.shape[1:])
    explain(read(foreign))


def test_either_place_of_the_frames_may_be_the_real_one(foreign: Path, explain: Explain) -> None:
    with h5py.File(foreign, "r+") as file:
        del file["entry_1/data_1/data"]
        file["entry_1/data_1/data"] = h5py.SoftLink("/nothing/there")
    explain(read(foreign))


def test_mask_bits_other_than_has_signal_speak_against_a_pixel(foreign: Path, oracle: Any) -> None:
    bits = np.zeros(oracle.mask.shape, dtype=np.uint32)
    bits[0, 1], bits[2, 3], bits[4, 5], bits[6, 7] = 0x1000, 0x1001, 0x10, 0x10000
    put(foreign, f"{DETECTOR}/mask", bits)
    mask = read(foreign).mask
    assert mask[0, 1]
    assert int((~mask).sum()) == 3


def test_wavelength_is_preferred_to_energy(foreign: Path) -> None:
    put(foreign, "entry_1/instrument_1/source_1/wavelength", 1.5e-10)
    assert read(foreign).geometry.wavelength_m == pytest.approx(1.5e-10)


def test_an_energy_with_a_unit_is_read_in_it(foreign: Path) -> None:
    put(foreign, "entry_1/instrument_1/source_1/energy", 9.0)
    with h5py.File(foreign, "r+") as file:
        file["entry_1/instrument_1/source_1/energy"].attrs["units"] = "keV"
    assert read(foreign).geometry.energy_ev == pytest.approx(9000)


def test_an_energy_that_cannot_be_joule_is_refused_unless_one_is_stated(foreign: Path) -> None:
    put(foreign, "entry_1/instrument_1/source_1/energy", 8000.0)
    with pytest.raises(FormatError, match=r"8000 J.*--energy-ev"):
        read(foreign)
    assert read(foreign, ReadOptions(energy_ev=8000)).geometry.energy_ev == pytest.approx(8000)


def test_missing_pixel_sizes_follow_from_basis_vectors_or_are_square(foreign: Path) -> None:
    put(foreign, f"{DETECTOR}/x_pixel_size", None)
    assert read(foreign).geometry.detector_pixel_m == pytest.approx(DETECTOR_PIXEL_M)
    put(foreign, f"{DETECTOR}/basis_vectors", None)
    assert read(foreign).geometry.detector_pixel_m == pytest.approx((75e-6, 75e-6))


def test_a_missing_distance_follows_from_the_corner_along_the_normal(foreign: Path) -> None:
    put(foreign, f"{DETECTOR}/distance", None)
    with pytest.raises(FormatError, match="--distance-m"):
        read(foreign)
    put(foreign, f"{DETECTOR}/corner_position", np.array([5e-4, 6e-4, DISTANCE_M]))
    assert read(foreign).geometry.distance_m == pytest.approx(DISTANCE_M)


@pytest.mark.parametrize("name", ["data_dark", "dark"])
def test_dark_frames_are_averaged(foreign: Path, oracle: Any, name: str) -> None:
    height, width = oracle.scan.frame_shape
    put(foreign, f"{DETECTOR}/{name}", np.stack([np.zeros((height, width)), np.full((height, width), 3.0)]))
    assert torch.equal(read(foreign).background, torch.full((height, width), 1.5))


def test_monitor_is_read(foreign: Path) -> None:
    put(foreign, "entry_1/data_1/monitor", np.linspace(1, 2, 12))
    assert read(foreign).monitor[-1] == 2


def test_positions_in_a_file_of_their_own_win(foreign: Path, tmp_path: Path, oracle: Any) -> None:
    table = "y_um,x_um\n" + "\n".join(f"{y},{x}" for y, x in oracle.positions_m * 2e6)
    (tmp_path / "positions.csv").write_text(table)
    scan = read(foreign, ReadOptions(positions=tmp_path / "positions.csv"))
    np.testing.assert_allclose(scan.positions_m.numpy(), 2 * oracle.positions_m, rtol=1e-12)


def test_the_illumination_is_read_as_probe(foreign: Path, oracle: Any, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no probe"):
        cxi.read_probe(foreign)
    put(foreign, "entry_1/instrument_1/source_1/illumination", oracle.probe)
    np.testing.assert_allclose(cxi.read_probe(foreign).numpy(), oracle.probe[None].astype(np.complex64))


def test_a_probe_that_pynx_reconstructed_is_turned_the_right_way_up(tmp_path: Path, oracle: Any) -> None:
    with h5py.File(tmp_path / "result.cxi", "w") as file:
        file.attrs["creator"] = "PyNX"
        file["entry_1/result_2/data"] = oracle.probe[None, ::-1].astype(np.complex64)
        file["entry_1/probe"] = h5py.SoftLink("/entry_1/result_2")
        file["entry_last"] = h5py.SoftLink("/entry_1")
    np.testing.assert_array_equal(cxi.read_probe(tmp_path / "result.cxi").numpy()[0], oracle.probe.astype(np.complex64))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (TRANSLATION, None, "no scan positions"),
        (TRANSLATION, np.zeros((11, 3)), "12 diffraction patterns but 11 positions"),
        (TRANSLATION, np.zeros((12, 5)), r"\(12, 5\)"),
        (f"{DETECTOR}/mask", np.zeros((3, 3), np.uint32), r"mask has shape \(3, 3\)"),
        (f"{DETECTOR}/data", np.zeros((12, 16, 20), np.complex64), "complex64; expected photon counts"),
        (f"{DETECTOR}/data", np.zeros((16, 20)), r"\(16, 20\); expected axes"),
        (f"{DETECTOR}/data", None, "no diffraction patterns"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(foreign: Path, name: str, value: object, message: str) -> None:
    put(foreign, name, value)
    with pytest.raises(InputError, match=message):
        read(foreign).settled()


def test_the_truth_lies_apart_and_comes_back(tmp_path: Path, oracle: Any, truth: PtychoEstimate) -> None:
    path = tmp_path / "scan.cxi"
    cxi.write(path, oracle.scan)
    with pytest.raises(FormatError, match="holds no truth"):
        cxi.read_truth(path)
    cxi.write_truth(path, truth)
    again = cxi.read_truth(path)
    for name in ("object", "probe", "positions_px"):
        assert torch.equal(getattr(again, name), getattr(truth, name))
    with h5py.File(path, "r+") as file:
        # A reader of scans that looked at the truth would stumble here.
        del file["entry_1/exitwave_truth/object"]
        file["entry_1/exitwave_truth/object"] = h5py.ExternalLink("gone.h5", "/x")
    assert len(read(path)) == 12


def test_truth_can_be_written_with_the_scan_and_replaced(tmp_path: Path, oracle: Any, truth: PtychoEstimate) -> None:
    path = tmp_path / "scan.cxi"
    cxi.write(path, oracle.scan, truth=truth)
    cxi.write_truth(path, replace(truth, object=2 * truth.object))
    assert torch.equal(cxi.read_truth(path).object, 2 * truth.object)


def test_other_hdf5_files_are_not_taken_for_cxi(tmp_path: Path, foreign: Path) -> None:
    assert cxi.recognises(foreign)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["entry/data/data"] = np.zeros((3, 4, 5))
    assert not cxi.recognises(tmp_path / "other.h5")
    assert not cxi.recognises(tmp_path / "nothing.h5")


@pytest.mark.skipif(not STAR.exists(), reason="the PETRA III near-field scan is not here")
def test_the_petra_near_field_scan_reads_with_its_geometry() -> None:
    scan = read(STAR, ReadOptions(focus_distance_m=3.65e-3))
    assert scan.patterns.shape == (200, 100, 100)
    assert int((~scan.mask).sum()) == 5
    assert scan.geometry.near_field
    assert scan.geometry.wavelength_m == pytest.approx(0.09795e-9, rel=1e-4)
    assert scan.geometry.magnification == pytest.approx(307.8, rel=1e-3)
    assert scan.object_pixel_m[0] == pytest.approx(178.7e-9, rel=1e-3)
    with h5py.File(STAR) as file:
        frame = file["entry_1/data_1/data"][117]
        x, y, _ = file[TRANSLATION][117].astype(float)
    np.testing.assert_array_equal(scan.frames(torch.tensor([117])).numpy()[0], frame)
    # With the signs turned round the star does not reconstruct: residual 0.024 instead of 0.010 after 6 epochs of ePIE.
    np.testing.assert_allclose(scan.positions_m[117].numpy(), (y, x))


def test_the_content_tells_the_format(foreign: Path) -> None:
    assert formats.detect(foreign).name == "cxi"
