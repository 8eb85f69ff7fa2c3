"""Masks in files of their own: which value is good is found by pixels and light, or stated."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import torch

from command import done, refused
from exitwave.data.errors import FormatError
from exitwave.io import formats
from exitwave.io.assemble import ReadOptions
from exitwave.io.files import read
from oracle import Oracle


@pytest.fixture
def bad() -> np.ndarray:
    """A gap, a corner and a pixel of the oracle's 16 x 20 frames; no mirror image of itself."""
    bad = np.zeros((16, 20), dtype=bool)
    bad[4:6], bad[:2, :3], bad[9, 12] = True, True, True
    return bad


@pytest.fixture
def scan_file(tmp_path: Path, oracle: Oracle) -> Path:
    path = tmp_path / "scan.cxi"
    formats.FORMATS["cxi"].write(path, oracle.scan)
    return path


def trusted(scan_file: Path, mask: Path | str, **stated: object) -> np.ndarray:
    return read(scan_file, ReadOptions(mask=Path(mask), **stated)).mask.numpy()  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("good", ["zero", "nonzero"])
@pytest.mark.parametrize("ending", ["npy", "tif", "edf", "h5"])
def test_a_mask_of_either_kind_in_any_file_is_understood(scan_file, oracle, bad, tmp_path, ending, good):
    values = (bad if good == "zero" else ~bad).astype(np.uint8) * 3
    path: Path | str = tmp_path / f"mask.{ending}"
    if ending == "npy":
        np.save(path, values)
    elif ending == "tif":
        tifffile.imwrite(path, values)
    elif ending == "edf":
        pytest.importorskip("fabio")
        path.write_bytes(_edf(values))
    else:
        with h5py.File(path, "w") as file:
            file["entry/mask"] = values[None]
        path = f"{path}:/entry/mask"
    np.testing.assert_array_equal(trusted(scan_file, path), oracle.mask & ~bad)


def _edf(values: np.ndarray) -> bytes:
    """Text of `Key = Value ;` between braces, filled up to 512 bytes, then the pixels (ESRF data format)."""
    rows, columns = values.shape
    keys = f"{{\nDim_1 = {columns} ;\nDim_2 = {rows} ;\nDataType = UnsignedByte ;\nByteOrder = LowByteFirst ;\n"
    return keys.ljust(510).encode() + b"}\n" + values.astype(np.uint8).tobytes()


def test_a_mask_of_few_good_pixels_is_understood_only_when_stated(scan_file, oracle, bad, tmp_path):
    path = tmp_path / "mask.npy"
    few = np.zeros((16, 20), dtype=bool)
    few[5:11, 7:13] = True
    with h5py.File(scan_file, "r+") as file:
        frames = file["entry_1/instrument_1/detector_1/data"]
        frames[...] = frames[()] * few
    np.save(path, few)
    with pytest.raises(FormatError, match="--mask-good zero or --mask-good nonzero"):
        trusted(scan_file, path)
    np.testing.assert_array_equal(trusted(scan_file, path, mask_good="nonzero"), oracle.mask & few)


def test_pixels_marked_as_no_number_are_bad(scan_file, oracle, bad, tmp_path):
    for value in (0.0, 1.0):
        np.save(tmp_path / "mask.npy", np.where(bad, np.nan, value))
        np.testing.assert_array_equal(trusted(scan_file, tmp_path / "mask.npy"), oracle.mask & ~bad)


def test_a_mask_is_turned_with_the_frames_that_it_belongs_to(scan_file, oracle, bad, tmp_path):
    np.save(tmp_path / "mask.npy", bad)
    scan = read(scan_file, ReadOptions(mask=tmp_path / "mask.npy", orientation="flipud", swap_axes=True))
    # The beam stays at row h // 2, so that the rest rolls by one.
    assert torch.equal(scan.mask, torch.from_numpy(np.roll((oracle.mask & ~bad)[::-1], 1, axis=0)))
    assert scan.provenance["mask_good"] == "zero (found)"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.zeros((16, 19)), "16 x 19 but frames are 16 x 20"),
        (np.zeros((16, 20)), "--mask-good"),
        (np.zeros((16, 20), dtype=complex), "complex"),
    ],
)
def test_a_mask_that_cannot_be_is_refused(scan_file, tmp_path, values, told):
    np.save(tmp_path / "mask.npy", values)
    with pytest.raises(FormatError, match=told):
        trusted(scan_file, tmp_path / "mask.npy")


def test_info_and_jobs_take_a_mask_from_the_folder_of_the_job(scan_file, bad, tmp_path, monkeypatch):
    np.save(tmp_path / "mask.npy", bad)
    assert "good is what is zero (found)" in done("info", scan_file, "--as-is", "--mask", tmp_path / "mask.npy").out
    job = tmp_path / "job.yaml"
    options = "solver: {name: rpie, epochs: 1}\noutput: o.h5\nas_is: true\n"
    job.write_text(f"scan: scan.cxi\nreading: {{mask: mask.npy}}\n{options}")
    done("run", job)
    job.write_text(f"scan: scan.cxi\nreading: {{mask: none.npy}}\n{options}")
    assert "none.npy does not exist" in refused(tmp_path, "run", job)
