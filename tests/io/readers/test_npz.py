"""PtychoPINN archives in each dialect, SLAC archives, and what must not be guessed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from exitwave.data.errors import FormatError
from exitwave.data.geometry import Geometry
from exitwave.data.patterns import ArrayPatterns
from exitwave.io import formats, npz_arrays
from exitwave.io.assemble import ReadOptions
from exitwave.io.readers import npz
from format_files import write_slac

STATED = {"energy_ev": 8000.0, "distance_m": 1.5, "detector_pixel_m": (75e-6, 55e-6)}


def arrays_of(oracle, truth, **patterns):
    corners = truth.positions_px.numpy()
    coords = {"ycoords": corners[:, 0] + 8, "xcoords": corners[:, 1] + 10}
    start = {f"{name}_start": value for name, value in coords.items()}
    return coords | start | {"probeGuess": oracle.probe, "scan_index": np.zeros(12), **patterns}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dialect", ["counts", "amplitude by key", "stated amplitude", "stated counts", "frames last"])
def test_every_dialect_is_read(tmp_path, oracle, truth, explain, dialect, save):
    counts, stated = oracle.patterns, ReadOptions(**STATED)
    roots = np.sqrt(counts)
    if dialect == "counts":
        arrays = arrays_of(oracle, truth, diff3d=counts.astype(np.uint16))
    elif dialect == "amplitude by key":
        arrays = arrays_of(oracle, truth, diffraction=roots)
    elif dialect == "stated amplitude":
        arrays, stated = arrays_of(oracle, truth, diff3d=roots), ReadOptions(values="amplitude", **STATED)
    elif dialect == "stated counts":
        arrays, stated = arrays_of(oracle, truth, diffraction=counts), ReadOptions(values="counts", **STATED)
    else:
        arrays = arrays_of(oracle, truth, diff3d=counts.astype(np.int32).transpose(1, 2, 0))
    save(tmp_path / "data.npz", **arrays)
    assert formats.detect(tmp_path / "data.npz").name == "npz"
    scan = formats.read_scan(tmp_path / "data.npz", stated)
    rounded = replace(scan, patterns=ArrayPatterns(scan.frames(slice(None)).round()))
    np.testing.assert_allclose(scan.frames(slice(None)), rounded.frames(slice(None)), rtol=1e-5, atol=1e-3)
    explain(rounded)
    assert scan.patterns.in_memory == (save is np.savez_compressed)


def test_floats_that_may_be_either_are_not_guessed(tmp_path, oracle, truth):
    np.savez(tmp_path / "a.npz", **arrays_of(oracle, truth, diff3d=np.sqrt(oracle.patterns)))
    with pytest.raises(FormatError, match="--values counts or --values amplitude"):
        formats.read_scan(tmp_path / "a.npz", ReadOptions(**STATED))
    np.savez(tmp_path / "b.npz", **arrays_of(oracle, truth, diffraction=oracle.patterns * 1e4))
    with pytest.raises(FormatError, match="--values"):
        formats.read_scan(tmp_path / "b.npz", ReadOptions(**STATED))


def test_an_archive_without_geometry_says_which_options_supply_it(tmp_path, oracle, truth):
    np.savez(tmp_path / "a.npz", **arrays_of(oracle, truth, diff3d=oracle.patterns.astype(np.uint16)))
    with pytest.raises(FormatError, match=r"--energy-ev.*--distance-m.*--detector-pixel-m"):
        formats.read_scan(tmp_path / "a.npz", ReadOptions())


def test_python_objects_are_never_loaded(tmp_path, oracle, truth):
    arrays = arrays_of(oracle, truth, diff3d=np.array([{"run": "code"}] * 12, dtype=object))
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(FormatError, match="Python objects"):
        formats.read_scan(tmp_path / "a.npz", ReadOptions(**STATED))
    np.savez(tmp_path / "b.npz", **(arrays | {"xcoords": arrays["diff3d"]}))
    with pytest.raises(FormatError, match="Python objects"):
        formats.read_scan(tmp_path / "b.npz", ReadOptions(**STATED))


def test_slac_archives_hold_metres_and_frames_last(tmp_path, oracle, explain):
    write_slac(tmp_path / "slac.npz", oracle)
    found = formats.detect(tmp_path / "slac.npz")
    assert found.name == "slac-npz"
    explain(formats.read_scan(tmp_path / "slac.npz", ReadOptions(**STATED)))
    assert found.read_probe(tmp_path / "slac.npz").shape == (1, 16, 20)


@pytest.mark.parametrize("shape", [(16, 20), (1, 16, 20), (16, 20, 1)])
@pytest.mark.parametrize("origin", [0, 1000])
def test_probe_and_object_give_an_estimate_wherever_positions_start(tmp_path, oracle, truth, shape, origin):
    arrays = arrays_of(oracle, truth, diff3d=oracle.patterns.astype(int), objectGuess=oracle.object)
    arrays |= {"probeGuess": oracle.probe.reshape(shape), "ycoords": arrays["ycoords"] + origin}
    np.savez(tmp_path / "a.npz", **arrays)
    estimate = npz.read_estimate(tmp_path / "a.npz")
    np.testing.assert_array_equal(estimate.probe[0], oracle.probe)
    np.testing.assert_array_equal(estimate.object[0], oracle.object)
    expected = truth.positions_px.numpy()
    if origin:
        expected = expected - (expected.min(axis=0) + expected.max(axis=0)) / 2 + 12
    np.testing.assert_allclose(estimate.positions_px, expected)


@pytest.mark.parametrize("scale", [1, 1 / 3, 1e5])
def test_a_scan_that_we_write_comes_back(tmp_path, oracle, explain, scale):
    scan = replace(oracle.scan, patterns=ArrayPatterns(oracle.scan.frames(slice(None)) * scale))
    npz.write(tmp_path / "scan.npz", scan)
    back = formats.read_scan(tmp_path / "scan.npz", ReadOptions())
    assert not back.patterns.in_memory
    if scale == 1:
        explain(back)
    torch.testing.assert_close(back.frames(slice(None)), scan.frames(slice(None)), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(back.positions_m, scan.positions_m, rtol=1e-9, atol=1e-15)
    assert back.geometry == scan.geometry
    assert torch.equal(back.mask, scan.mask)
    assert torch.equal(back.monitor, scan.monitor)
    with np.load(tmp_path / "scan.npz", allow_pickle=False) as archive:
        assert archive["diff3d" if scale != 1 / 3 else "diffraction"].shape == (12, 16, 20)


def test_near_field_and_electron_geometry_come_back(tmp_path, oracle):
    for geometry in (
        Geometry.from_energy(8000.0, 1.0, (1e-5, 2e-5), 3e-3),
        Geometry.from_voltage(300e3, 1.0, (1e-5, 2e-5)),
    ):
        npz.write(tmp_path / "scan.npz", replace(oracle.scan, geometry=geometry))
        assert formats.read_scan(tmp_path / "scan.npz", ReadOptions()).geometry == geometry


def test_uncompressed_frames_are_read_singly_from_disk(tmp_path):
    frames = np.arange(5 * 3 * 4, dtype=np.float64).reshape(5, 3, 4)
    for name, array in (("c", frames), ("f", np.asfortranarray(frames)), ("extra", frames[..., None])):
        np.savez(tmp_path / f"{name}.npz", patterns=array, other=np.ones(3))
        patterns = npz_arrays.frames(tmp_path / f"{name}.npz", "patterns")
        assert not patterns.in_memory
        np.testing.assert_array_equal(patterns.read(torch.tensor([3, 1])), frames[[3, 1]])


def test_a_damaged_archive_is_refused(tmp_path, oracle):
    npz.write(tmp_path / "scan.npz", oracle.scan)
    whole = (tmp_path / "scan.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError):
        formats.read_scan(tmp_path / "half.npz", ReadOptions())
    broken = bytearray(whole)
    place = whole.index(b"\x93NUMPY", whole.index(b"xcoords.npy"))
    broken[place : place + 6] = b"nonsen"
    (tmp_path / "broken.npz").write_bytes(bytes(broken))
    with pytest.raises(FormatError, match="cannot be read"):
        formats.read_scan(tmp_path / "broken.npz", ReadOptions())
