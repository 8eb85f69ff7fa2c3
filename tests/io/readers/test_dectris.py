import os
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
from exitwave.io.assemble import ReadOptions, assemble
from exitwave.io.readers import dectris
from format_files import write_dectris

Explain = Callable[[Scan], None]
DETECTOR = "entry/instrument/detector"


def read(path: Path, stated: ReadOptions) -> Scan:
    return assemble(dectris.read(path, stated), stated, path, "dectris")


@pytest.fixture
def master(tmp_path: Path, oracle: Any) -> Path:
    return write_dectris(tmp_path / "scan_master.h5", oracle)


@pytest.fixture
def stated(tmp_path: Path, oracle: Any) -> ReadOptions:
    np.savetxt(tmp_path / "positions.csv", oracle.positions_m * 1e6, delimiter=",", header="y_um,x_um")
    return ReadOptions(positions=tmp_path / "positions.csv")


def test_frames_are_gathered_from_the_files_beside_the_master(
    master: Path, stated: ReadOptions, oracle: Any, explain: Explain
) -> None:
    scan = read(master, stated)
    assert scan.patterns.shape == oracle.patterns.shape
    assert torch.equal(scan.mask, torch.from_numpy(oracle.mask))
    frames = scan.frames(torch.tensor([11, 4, 5, 0])).numpy()
    np.testing.assert_array_equal(frames[:, oracle.mask], oracle.patterns[[11, 4, 5, 0]][:, oracle.mask])
    np.testing.assert_allclose(scan.positions_m, oracle.positions_m, atol=1e-15)
    assert scan.geometry.energy_ev == pytest.approx(8000)
    assert scan.object_pixel_m == pytest.approx(oracle.scan.object_pixel_m, rel=1e-5)


def test_the_beam_is_brought_to_the_middle(master: Path, stated: ReadOptions, oracle: Any) -> None:
    with h5py.File(master, "r+") as file:
        file[f"{DETECTOR}/beam_center_y"][()], file[f"{DETECTOR}/beam_center_x"][()] = 7.0, 12.0
    frame = read(master, stated).frames(torch.tensor([3]))[0]
    assert frame[8, 10] == oracle.patterns[3, 7, 12]


def test_what_the_detector_was_never_told_must_be_stated(master: Path, stated: ReadOptions) -> None:
    with h5py.File(master, "r+") as file:
        file[f"{DETECTOR}/detector_distance"][()] = 0
        del file[f"{DETECTOR}/detectorSpecific/photon_energy"]
        for axis in "xy":
            file[f"{DETECTOR}/beam_center_{axis}"][()] = 0
    with pytest.raises(
        FormatError, match=r"energy \(--energy-ev, or --kv of electrons\), sample-detector distance \(--distance-m\)"
    ):
        read(master, stated)
    with h5py.File(master, "r+") as file:
        file["entry/instrument/beam/incident_wavelength"] = 1.5
    scan = read(master, ReadOptions(positions=stated.positions, distance_m=2.0))
    assert scan.geometry.wavelength_m == pytest.approx(1.5e-10)


def test_positions_must_be_given_and_the_message_says_how(master: Path) -> None:
    with pytest.raises(FormatError, match="--positions"):
        read(master, ReadOptions())


def test_a_missing_file_of_frames_is_named(master: Path, stated: ReadOptions) -> None:
    os.remove(master.parent / "scan_data_000002.h5")
    assert dectris.recognises(master)
    with pytest.raises(FormatError, match=r"scan_data_000002\.h5, which is not there"):
        read(master, stated)


def test_a_truncated_file_of_frames_is_reported(master: Path, stated: ReadOptions) -> None:
    os.truncate(master.parent / "scan_data_000002.h5", 600)
    with pytest.raises(FormatError, match=r"scan_data_000002\.h5.*damaged"):
        read(master, stated)


def test_a_file_of_frames_alone_is_no_master(master: Path) -> None:
    assert dectris.recognises(master)
    assert not dectris.recognises(master.parent / "scan_data_000001.h5")


def test_the_content_tells_the_format(master: Path) -> None:
    assert formats.detect(master).name == "dectris"


class TestElectrons:
    @pytest.fixture
    def microscope(self, master: Path) -> Path:
        with h5py.File(master, "r+") as file:
            file[f"{DETECTOR}/detectorSpecific/photon_energy"][()] = 300e3
            file[f"{DETECTOR}/detector_distance"][()] = 0
        return master

    def test_an_energy_beyond_x_rays_without_a_distance_is_of_electrons(self, microscope: Path) -> None:
        scan = read(microscope, ReadOptions(scan="3x4", step_nm=0.5, mrad_per_px=1.0))
        assert scan.geometry.particle == "electron"
        assert scan.geometry.wavelength_m == pytest.approx(1.96875e-12, rel=1e-5)
        assert "300 keV" in scan.provenance["electrons"]
        with pytest.raises(FormatError, match="--mrad-per-px"):
            read(microscope, ReadOptions(scan="3x4", step_nm=0.5))

    def test_a_detector_made_for_electrons_is_known_by_its_name(self, microscope: Path) -> None:
        stated = ReadOptions(scan="3x4", step_nm=0.5, mrad_per_px=1.0)
        with h5py.File(microscope, "r+") as file:
            file[f"{DETECTOR}/detectorSpecific/photon_energy"][()] = 80e3
        assert read(microscope, stated).geometry.particle == "photon"
        with h5py.File(microscope, "r+") as file:
            file[f"{DETECTOR}/description"] = "Dectris ARINA Si"
        assert read(microscope, stated).geometry.wavelength_m == pytest.approx(4.1757e-12, rel=1e-4)

    def test_an_energy_with_a_distance_is_of_photons(self, microscope: Path) -> None:
        with h5py.File(microscope, "r+") as file:
            file[f"{DETECTOR}/detector_distance"][()] = 1.0
        assert read(microscope, ReadOptions(scan="3x4", step_nm=0.5)).geometry.particle == "photon"
