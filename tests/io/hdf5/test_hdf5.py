import os
import pickle
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
import torch

from exitwave.data.errors import FormatError
from exitwave.io.hdf5.reading import (
    Hdf5Patterns,
    electronvolts,
    find,
    holds,
    is_hdf5,
    mean_frame,
    metres,
    number,
    numbers,
    open_hdf5,
    text,
)

FRAMES = np.arange(12 * 5 * 7, dtype=np.uint16).reshape(12, 5, 7)


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "stack.h5"
    with h5py.File(path, "w") as file:
        file["frames"] = FRAMES
        file["raster"] = FRAMES.reshape(3, 4, 5, 7)
        file["last"] = np.moveaxis(FRAMES, 0, -1)
        file["first"] = FRAMES[:5]
        file["second"] = FRAMES[5:]
        file["wave"] = FRAMES.astype(np.complex64)
        file["frames"].attrs["units"] = b"counts"
        file.create_dataset("packed", data=FRAMES, chunks=(5, 5, 7), **hdf5plugin.Bitshuffle(cname="lz4"))
    return path


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        (("frames",), "frame y x"),
        (("raster",), "row column y x"),
        (("last",), "y x frame"),
        (("first", "second"), "frame y x"),
        (("packed",), "frame y x"),
    ],
)
def test_every_layout_gives_the_frames_asked_for_in_that_order(
    stack: Path, names: tuple[str, ...], layout: str
) -> None:
    patterns = Hdf5Patterns(stack, names, layout)
    assert patterns.shape == (12, 5, 7)
    assert not patterns.in_memory
    for index in ([0, 1, 2, 3, 4, 5], [11, 0, 5, 5, 3, 4, 7, 8], [6], [], list(range(12))):
        read = patterns.read(torch.tensor(index, dtype=torch.int64))
        assert read.dtype == torch.float32
        np.testing.assert_array_equal(read.numpy(), FRAMES[index].astype(np.float32))


def test_a_scan_larger_than_memory_opens_and_gives_single_frames(tmp_path: Path) -> None:
    path = tmp_path / "huge.h5"
    with h5py.File(path, "w") as file:
        # 500 GB of frames that were never written take no room on disk.
        data = file.create_dataset("data", (500_000, 512, 512), np.uint32, chunks=(1, 512, 512))
        data[123_456, 3, 4] = 42
    read = Hdf5Patterns(path, ("data",)).read(torch.tensor([499_999, 123_456]))
    assert read[1, 3, 4] == 42
    assert read.sum() == 42


def test_patterns_survive_a_trip_to_another_process(stack: Path) -> None:
    patterns = Hdf5Patterns(stack, ("frames",))
    patterns.read(torch.tensor([0]))
    again = pickle.loads(pickle.dumps(patterns))
    np.testing.assert_array_equal(again.read(torch.tensor([3])).numpy()[0], FRAMES[3])


def test_complex_frames_are_refused(stack: Path) -> None:
    with pytest.raises(FormatError, match="complex64; expected photon counts"):
        Hdf5Patterns(stack, ("wave",))


def test_frames_of_the_wrong_shape_are_refused_with_the_shape(stack: Path) -> None:
    with pytest.raises(FormatError, match=r"\(3, 4, 5, 7\); expected axes \(frame, y, x\)"):
        Hdf5Patterns(stack, ("raster",))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"nowhere\.h5 does not exist"), open_hdf5(tmp_path / "nowhere.h5"):
        pass


def test_a_folder_a_text_and_an_empty_file_are_no_hdf5(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("hello, this is not a measurement" * 100)
    (tmp_path / "b.h5").touch()
    for path, message in ((tmp_path / "a.h5", "not an HDF5"), (tmp_path / "b.h5", "is empty"), (tmp_path, "a folder")):
        assert not is_hdf5(path)
        assert not holds(path, "frames")
        with pytest.raises(FormatError, match=message), open_hdf5(path):
            pass


def test_a_truncated_file_says_so_with_its_sizes(stack: Path) -> None:
    size = stack.stat().st_size
    os.truncate(stack, size // 2)
    with pytest.raises(FormatError, match=f"truncated .{size // 2} of {size} bytes"), open_hdf5(stack):
        pass


def test_a_damaged_chunk_is_an_error_with_a_cure(tmp_path: Path) -> None:
    path = tmp_path / "damaged.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", data=FRAMES, chunks=(1, 5, 7), compression="gzip", fletcher32=True)
        chunk = data.id.get_chunk_info(3)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(bytes(chunk.size))
    patterns = Hdf5Patterns(path, ("data",))
    np.testing.assert_array_equal(patterns.read(torch.tensor([2])).numpy()[0], FRAMES[2])
    with pytest.raises(FormatError, match="damaged"):
        patterns.read(torch.tensor([3]))


def test_links_into_nothing_are_passed_over(stack: Path) -> None:
    with h5py.File(stack, "r+") as file:
        file["soft"] = h5py.SoftLink("/nothing")
        file["outside"] = h5py.ExternalLink("gone.h5", "/data")
    with open_hdf5(stack) as file:
        item = find(file, "soft", "outside", "absent/deep", "frames")
        assert item is not None
        assert item.name == "/frames"
    with pytest.raises(FormatError, match=r"outside \(it should be in gone\.h5, which is not there\)"):
        Hdf5Patterns(stack, ("outside",))


def test_numbers_come_in_the_unit_that_the_file_names(tmp_path: Path) -> None:
    path = tmp_path / "values.h5"
    with h5py.File(path, "w") as file:
        file["distance"] = np.array([2500.0])
        file["distance"].attrs["units"] = np.bytes_("mm")
        file["energy"] = 8.0
        file["many"] = np.full(5, 3.0)
        file["different"] = np.arange(5.0)
        file["bad"] = np.nan
        file["title"] = "gold"
    with open_hdf5(path) as file:
        assert metres(file, "distance") == pytest.approx(2.5)
        assert electronvolts(file, "energy", default="keV") == pytest.approx(8000)
        assert number(file, "different", "bad", "title", "many") == 3
        assert number(file, "different") is None
        assert text(file, "energy", "title") == "gold"


def test_what_is_no_number_where_numbers_belong_is_named(stack: Path) -> None:
    with h5py.File(stack, "r+") as file:
        file["words"] = ["a", "b"]
        file["none"] = np.zeros((0, 3))
        file.create_dataset("huge", (2**20, 2**20), np.float64, chunks=(64, 64))
        file.create_dataset("huge frames", (3, 2**20, 2**20), np.uint16, chunks=(1, 64, 64))
    with open_hdf5(stack) as file:
        np.testing.assert_array_equal(numbers(file, "absent", "frames"), FRAMES)
        for name, what in (("words", "text"), ("none", "empty"), ("wave", "complex"), ("huge", "too large")):
            with pytest.raises(FormatError, match=f"/{name} in .*stack.h5 .*{what}"):
                numbers(file, name)
    with pytest.raises(FormatError, match="no detector has frames so large"):
        Hdf5Patterns(stack, ("huge frames",))


def test_dark_frames_are_averaged_one_by_one(stack: Path) -> None:
    with open_hdf5(stack) as file:
        np.testing.assert_allclose(mean_frame(file, "frames"), FRAMES.mean(axis=0))
        np.testing.assert_allclose(mean_frame(file, "raster"), FRAMES.mean(axis=0))
        assert mean_frame(file, "absent") is None
