"""ptypy data files as ptypy writes them: chunks, parts in files of their own, weights, energy in keV."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from exitwave.data.errors import FormatError
from exitwave.data.geometry import Geometry
from exitwave.data.patterns import ArrayPatterns
from exitwave.io import formats
from exitwave.io.assemble import ReadOptions
from exitwave.io.readers import ptyd

CHUNKS = {"0": [3, 4, 5], "1": [9, 10, 11], "2": [0, 1, 2], "10": [6, 7, 8]}


def write_ptyd(path, oracle, *, weights="2d", link=False, positions=True):
    with h5py.File(path, "w") as file:
        meta = file.create_group("meta")
        values = {"energy": 8.0, "distance": 1.5, "psize": [75e-6, 55e-6], "shape": [16, 20], "version": "0.1"}
        for name, value in {**values, "num_frames": 12, "center": [8, 10]}.items():
            meta[name] = value
        if weights == "2d":
            meta["weight2d"] = oracle.mask.astype(float)
        for name, indices in CHUNKS.items():
            target = file
            if link:
                part = path.with_name(f"{path.name}.part{int(name):03d}")
                file[f"chunks/{name}"] = h5py.ExternalLink(part.name, f"chunks/{name}")
                target = h5py.File(part, "w")
            chunk = target.create_group(f"chunks/{name}")
            chunk["data"] = oracle.patterns[indices].astype(np.int32)
            chunk["indices"] = np.asarray(indices)
            chunk["positions"] = oracle.positions_m[indices] if positions else np.zeros(0)
            each = np.broadcast_to(oracle.mask.astype(float), (3, 16, 20))
            chunk["weights"] = each if weights == "each" else np.zeros(0)
            if link:
                target.close()


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("weights", ["2d", "each", "none"])
def test_chunks_in_any_order_make_a_scan_in_frame_order(tmp_path, oracle, explain, link, weights):
    write_ptyd(tmp_path / "scan.h5", oracle, weights=weights, link=link)
    assert formats.detect(tmp_path / "scan.h5").name == "ptyd"
    scan = formats.read_scan(tmp_path / "scan.h5", ReadOptions())
    explain(scan)
    np.testing.assert_allclose(scan.positions_m, oracle.positions_m)
    assert torch.equal(scan.mask, oracle.scan.mask) == (weights != "none")
    assert not scan.patterns.in_memory
    assert scan.geometry.energy_ev == pytest.approx(8000.0)


def test_a_lost_part_is_named(tmp_path, oracle):
    write_ptyd(tmp_path / "scan.ptyd", oracle, link=True)
    (tmp_path / "scan.ptyd.part001").unlink()
    with pytest.raises(FormatError, match=r"scan\.ptyd\.part001"):
        formats.read_scan(tmp_path / "scan.ptyd", ReadOptions())


def test_chunks_without_positions_are_refused(tmp_path, oracle):
    write_ptyd(tmp_path / "scan.ptyd", oracle, positions=False)
    with pytest.raises(FormatError, match="positions"):
        formats.read_scan(tmp_path / "scan.ptyd", ReadOptions())


@pytest.mark.parametrize("focus", [None, float("inf"), 3e-3])
def test_a_scan_that_we_write_comes_back(tmp_path, oracle, explain, monkeypatch, focus):
    monkeypatch.setattr(ptyd, "FRAMES_PER_CHUNK", 5)
    scan = replace(oracle.scan, geometry=replace(oracle.scan.geometry, focus_distance_m=focus))
    ptyd.write(tmp_path / "scan.ptyd", scan)
    back = formats.read_scan(tmp_path / "scan.ptyd", ReadOptions())
    if focus is None:
        explain(back)
    assert torch.equal(back.frames(slice(None)), scan.frames(slice(None)))
    assert torch.equal(back.positions_m, scan.positions_m)
    assert torch.equal(back.mask, scan.mask)
    assert back.geometry.focus_distance_m == focus
    assert back.geometry.wavelength_m == pytest.approx(scan.geometry.wavelength_m)
    with h5py.File(tmp_path / "scan.ptyd") as file:
        assert sorted(file["chunks"]) == ["0", "1", "2"]
        assert file["meta/energy"].attrs["type"] == "scalar"
        assert file["chunks/0/data"].attrs["type"] == "array"


def test_electrons_are_not_written_as_photons(tmp_path, oracle):
    geometry = Geometry.from_voltage(300e3, 1.0, (1e-5, 1e-5))
    with pytest.raises(FormatError, match="electron"):
        ptyd.write(tmp_path / "scan.ptyd", replace(oracle.scan, geometry=geometry))
    assert not list(tmp_path.iterdir())


def test_more_than_ten_chunks_stay_in_order(tmp_path, oracle, monkeypatch):
    monkeypatch.setattr(ptyd, "FRAMES_PER_CHUNK", 1)
    frames = oracle.scan.frames(slice(None))
    ptyd.write(tmp_path / "scan.ptyd", replace(oracle.scan, patterns=ArrayPatterns(frames)))
    assert torch.equal(formats.read_scan(tmp_path / "scan.ptyd", ReadOptions()).frames(slice(None)), frames)
