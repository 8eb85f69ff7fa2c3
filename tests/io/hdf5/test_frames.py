from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from exitwave.io.assemble import ReadOptions, assemble
from exitwave.io.hdf5 import frames
from exitwave.io.readers import cxi

DATA = "entry_1/instrument_1/detector_1/data"


class Watched:
    """The oracle's patterns, remembering how many frames were asked for at once."""

    in_memory = False

    def __init__(self, source: Any) -> None:
        self.source, self.shape, self.sizes = source, source.shape, []

    def read(self, index: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(index))
        return self.source.read(index)


def test_a_scan_is_written_a_few_frames_at_a_time(tmp_path: Path, oracle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "BATCH_BYTES", 5 * 4 * 16 * 20)
    watched = Watched(oracle.scan.patterns)
    cxi.write(tmp_path / "scan.cxi", replace(oracle.scan, patterns=watched))
    assert watched.sizes == [5, 5, 2]


def test_large_scans_are_packed_with_bitshuffle(tmp_path: Path, oracle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "LARGE_BYTES", 0)
    path = tmp_path / "scan.cxi"
    cxi.write(path, oracle.scan)
    with h5py.File(path) as file:
        assert file[DATA].id.get_create_plist().get_filter(0)[0] == 32008
    scan = assemble(cxi.read(path, ReadOptions()), ReadOptions(), path, "cxi")
    np.testing.assert_array_equal(scan.frames(slice(None)), oracle.patterns)


def test_a_fraction_in_a_late_frame_starts_the_file_again(
    tmp_path: Path, oracle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "BATCH_BYTES", 5 * 4 * 16 * 20)
    counts = oracle.scan.frames(slice(None)).clone()
    counts[11, 0, 0] = -0.5
    cxi.write(tmp_path / "scan.cxi", replace(oracle.scan, patterns=frames_of(counts)))
    with h5py.File(tmp_path / "scan.cxi") as file:
        assert file[DATA].dtype == np.float32
        np.testing.assert_array_equal(file[DATA][()], counts)


def frames_of(counts: torch.Tensor) -> Watched:
    class Held:
        shape = tuple(counts.shape)

        def read(self, index: torch.Tensor) -> torch.Tensor:
            return counts[index]

    return Watched(Held())
