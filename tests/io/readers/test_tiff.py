"""TIFF stacks: natural order, one file or many, any byte order; positions and geometry are stated."""

import numpy as np
import pytest
import tifffile
import torch

from exitwave.data.errors import FormatError
from exitwave.io import formats
from exitwave.io.assemble import ReadOptions


def stated(tmp_path, oracle, **more) -> ReadOptions:
    table = tmp_path / "positions.csv"
    np.savetxt(table, oracle.positions_m * 1e6, delimiter=",", header="y_um,x_um", comments="")
    return ReadOptions(positions=table, energy_ev=8000.0, distance_m=1.5, detector_pixel_m=(75e-6, 55e-6), **more)


@pytest.mark.parametrize("kind", ["uint16", "bigtiff", "float", "big endian", "imagej"])
def test_pages_of_one_file_are_frames(tmp_path, oracle, explain, kind):
    path = tmp_path / "stack.dat"
    counts = oracle.patterns.astype(np.float32 if kind == "float" else np.uint16)
    options = {"bigtiff": {"bigtiff": True}, "big endian": {"byteorder": ">"}, "imagej": {"imagej": True}}
    tifffile.imwrite(path, counts, photometric="minisblack", **options.get(kind, {}))
    assert formats.detect(path).name == "tiff"
    scan = formats.read_scan(path, stated(tmp_path, oracle))
    explain(scan)
    assert not scan.patterns.in_memory
    assert torch.equal(scan.frames(torch.tensor([7, 2])), oracle.scan.frames(torch.tensor([7, 2])))


def test_files_of_a_folder_are_frames_in_natural_order(tmp_path, oracle, explain):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(oracle.patterns):
        tifffile.imwrite(folder / f"scan_{number}.TIF", frame.astype(np.uint32))
    (folder / "notes.txt").write_text("not a frame")
    assert formats.detect(folder).name == "tiff"
    explain(formats.read_scan(folder, stated(tmp_path, oracle)))


def test_a_series_of_files_with_many_pages_is_one_stack(tmp_path, oracle, explain):
    """As cameras cut long runs: 5, 5 and 2 pages, numbers without leading zeros."""
    folder = tmp_path / "frames"
    folder.mkdir()
    counts = oracle.patterns.astype(np.uint16)
    for number, pages in zip((2, 9, 10), np.split(counts, [5, 10]), strict=True):
        tifffile.imwrite(folder / f"run_{number}.tif", pages)
    scan = formats.read_scan(folder, stated(tmp_path, oracle))
    explain(scan)
    assert torch.equal(scan.frames(torch.tensor([11, 4, 5])), oracle.scan.frames(torch.tensor([11, 4, 5])))


def test_darks_beside_the_frames_are_named_and_one_file_stands_for_its_series(tmp_path, oracle, explain):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(oracle.patterns):
        tifffile.imwrite(folder / f"scan_{number}.tif", frame.astype(np.uint32))
    for number in range(3):
        tifffile.imwrite(folder / f"dark_{number}.tif", np.zeros((16, 20), dtype=np.uint32))
    with pytest.raises(FormatError, match=r"3 files dark_N\.tif, 12 files scan_N\.tif"):
        formats.read_scan(folder, stated(tmp_path, oracle))
    explain(formats.read_scan(folder / "scan_0.tif", stated(tmp_path, oracle)))


def test_frames_of_another_shape_are_named_when_read(tmp_path, oracle):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(12):
        tifffile.imwrite(folder / f"f{number}.tif", np.ones((16, 20 if number != 5 else 21), dtype=np.uint8))
    scan = formats.read_scan(folder, stated(tmp_path, oracle))
    scan.frames(torch.tensor([4]))
    with pytest.raises(FormatError, match=r"f5\.tif"):
        scan.frames(torch.tensor([5]))


def test_what_is_not_a_stack_of_grey_frames_is_refused(tmp_path, oracle):
    options = stated(tmp_path, oracle)
    tifffile.imwrite(tmp_path / "colour.tif", np.zeros((16, 20, 3), dtype=np.uint8), photometric="rgb")
    tifffile.imwrite(tmp_path / "complex.tif", np.zeros((12, 16, 20), dtype=np.complex64))
    (tmp_path / "cut.tif").write_bytes((tmp_path / "colour.tif").read_bytes()[:10])
    (tmp_path / "empty").mkdir()
    for name in ("colour.tif", "complex.tif", "cut.tif", "empty"):
        with pytest.raises(FormatError):
            formats.read_scan(tmp_path / name, options)


def test_without_positions_the_option_is_named(tmp_path, oracle):
    tifffile.imwrite(tmp_path / "stack.tif", oracle.patterns.astype(np.uint16))
    with pytest.raises(FormatError, match="--positions"):
        formats.read_scan(tmp_path / "stack.tif", ReadOptions())
