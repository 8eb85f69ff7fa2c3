"""What holds for every file format: recognised by its content as itself alone, written and read back equal, never a traceback."""

import contextlib
import random
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from exitwave.data.errors import ExitwaveError, FormatError
from exitwave.data.result import Result
from exitwave.io import formats
from exitwave.io.assemble import ReadOptions
from exitwave.io.export import export
from exitwave.io.results import write_result

WRITABLE = formats.writable()


def written(name: str, folder: Path, oracle, truth) -> Path:
    """An example of a file in the format `name`, with a file name that says nothing."""
    path = folder / "data"
    if name in WRITABLE:
        formats.named(name).write(path, oracle.scan)
    elif name == "tiff":
        tifffile.imwrite(path, oracle.patterns.astype(np.uint16))
    else:
        result = Result(estimate=truth, geometry=oracle.scan.geometry, spec={"name": "rpie"}, history=(0.5,))
        if name == "result":
            write_result(path, result)
        else:
            export(result, path, format="ptychodus")
    return path


@pytest.mark.parametrize("name", [*WRITABLE, "tiff", "result", "ptychodus-product"])
def test_a_file_is_recognised_as_what_it_is_and_as_nothing_more_specific(tmp_path, oracle, truth, name):
    path = written(name, tmp_path, oracle, truth)
    assert formats.detect(path).name == name
    claims = [other.name for other in formats.FORMATS.values() if other.recognises(path)]
    assert claims[0] == name


@pytest.mark.parametrize("name", WRITABLE)
def test_a_scan_written_in_any_format_comes_back(tmp_path, oracle, truth, explain, name):
    path = written(name, tmp_path, oracle, truth)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]
    scan = formats.read_scan(path, ReadOptions())
    explain(scan)
    assert torch.equal(scan.frames(slice(None)), oracle.scan.frames(slice(None)))
    assert torch.equal(scan.mask, oracle.scan.mask)
    assert scan.geometry.wavelength_m == pytest.approx(oracle.scan.geometry.wavelength_m)
    assert scan.geometry.distance_m == pytest.approx(oracle.scan.geometry.distance_m)
    assert scan.geometry.detector_pixel_m == pytest.approx(oracle.scan.geometry.detector_pixel_m)


@pytest.mark.parametrize("content", [b"", b"hello", bytes(5000), b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"II*\0"])
def test_rubbish_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "scan.cxi"
    path.write_bytes(content)
    with pytest.raises(FormatError):
        formats.read_scan(path, ReadOptions())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"nowhere\.cxi does not exist"):
        formats.read_scan(tmp_path / "nowhere.cxi", ReadOptions())


@pytest.mark.parametrize("name", [*WRITABLE, "tiff", "result", "ptychodus-product"])
def test_a_truncated_file_gives_a_clear_error(tmp_path, oracle, truth, name):
    path = written(name, tmp_path, oracle, truth)
    whole = path.read_bytes()
    for part in range(1, 20):
        path.write_bytes(whole[: len(whole) * part // 20])
        with pytest.raises(ExitwaveError):
            read_everything(path, stated(tmp_path, oracle) if name == "tiff" else ReadOptions())


# Not HDF5: its library itself may hang on a file with wrong bits in it, below all that we can catch.
@pytest.mark.parametrize("name", ["npz", "tiff"])
def test_a_file_with_wrong_bytes_gives_data_or_a_clear_error(tmp_path, oracle, truth, name):
    whole = written(name, tmp_path, oracle, truth).read_bytes()
    rng = random.Random(1)
    for attempt in range(60):
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 20, 400))):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path = tmp_path / f"damaged{attempt}"
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(ExitwaveError):
            read_everything(path, stated(tmp_path, oracle) if name == "tiff" else ReadOptions())


def stated(folder: Path, oracle) -> ReadOptions:
    table = folder / "positions.csv"
    np.savetxt(table, oracle.positions_m, delimiter=",", header="y_m,x_m", comments="")
    return ReadOptions(energy_ev=8000.0, distance_m=1.5, detector_pixel_m=75e-6, positions=table)


def read_everything(path: Path, options: ReadOptions) -> None:
    found = formats.detect(path)
    if found.read is not None:
        formats.read_scan(path, options).frames(slice(None))
    if found.read_estimate is not None and found.name != "npz":
        found.read_estimate(path)
