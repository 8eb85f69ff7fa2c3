"""Ground truth of a simulated scan, in a group of its own which no reader of scans opens."""

from pathlib import Path

import h5py

from exitwave.data.errors import FormatError
from exitwave.data.estimate import Estimate
from exitwave.io.hdf5.reading import find, open_hdf5
from exitwave.io.hdf5.values import read_estimate, write_estimate
from exitwave.io.hdf5.writing import new_hdf5

TRUTH = "entry_1/exitwave_truth"


def write_truth(path: Path, estimate: Estimate) -> None:
    """Add the true object, probe and positions to a scan file, or replace those in it. Raises FormatError for no scan."""
    with open_hdf5(path) as file:
        if find(file, "entry_1") is None:
            raise FormatError(f"{path} is not a CXI file; write the simulated scan first, then its truth")
    # A copy, so that a kill in the middle leaves the scan as it was.
    with new_hdf5(path, like=path) as file:
        store_truth(file, estimate)


def store_truth(file: h5py.File, estimate: Estimate) -> None:
    """Put the truth into an open file."""
    if TRUTH in file:
        del file[TRUTH]
    group = file.create_group(TRUTH)
    group.attrs["comment"] = "Known truth of a simulated scan, for evaluation only"
    write_estimate(group, estimate)


def read_truth(path: str | Path) -> Estimate:
    """The true object, probe and positions of a simulated scan.

    Raises FormatError for a measured scan, whose truth nobody knows.
    """
    with open_hdf5(Path(path)) as file:
        group = find(file, TRUTH)
        if not isinstance(group, h5py.Group):
            raise FormatError(
                f"{path} holds no truth (no group {TRUTH}): only scans that exitwave simulated do. Give the simulated "
                "scan, or evaluate without truth"
            )
        return read_estimate(group)
