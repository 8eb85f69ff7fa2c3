"""What holds for every registered file format: recognised by its content as itself alone, read with the right signs and axes,
written and read back equal, and never a traceback. A new format is tested without a line here; see format_files.py."""

import contextlib
import random
from pathlib import Path

import pytest
import torch

from exitwave.data.errors import ExitwaveError, FormatError
from exitwave.io import formats
from exitwave.io.assemble import ReadOptions
from exitwave.io.formats import FORMATS
from format_files import write_example

WRITABLE = formats.writable()
READABLE = [name for name, chosen in FORMATS.items() if chosen.read is not None]
REBUILT = [name for name, chosen in FORMATS.items() if chosen.read_estimate is not None and name != "npz"]
"""Formats that store a reconstruction; an npz archive may, but that which we write is a scan alone."""
OWN_FRAMES = {"empad", "blo"}
"""Formats whose frames are 128 x 128 pixels or of 8 bits, and so not those of the oracle; see tests/io/test_cubes.py."""
ROCKING = {"cohere", "cdiutils", "autophasenn-npz"}
"""Formats of rocking curves alone; see tests/io/readers/test_rocking_formats.py."""
FOLDERS = {"cohere"}
"""Formats of which a file alone is nothing."""
ALSO = {("nexus", "cxi"), ("result", "cxi"), ("ptychodus-training", "ptychodus")}
"""Files of the first format look like files of the second, too, which stands behind it and so is not asked."""


@pytest.fixture(scope="module")
def examples(tmp_path_factory, oracle, truth) -> dict[str, tuple[Path, ReadOptions]]:
    """A file in every format, with a file name that says nothing, and the options with which it is read."""
    made = {}
    for name in FORMATS:
        path = tmp_path_factory.mktemp(name) / "data"
        made[name] = path, write_example(name, path, oracle, truth)
    return made


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_recognises_its_own_files_and_none_of_the_others(examples, name):
    own = {other for other, (path, _) in examples.items() if FORMATS[name].recognises(path)}
    assert own == {name} | {first for first, second in ALSO if second == name}
    assert formats.detect(examples[name][0]).name == name


@pytest.mark.parametrize("name", [name for name in READABLE if name not in OWN_FRAMES | ROCKING])
def test_an_asymmetric_scan_is_read_with_the_right_signs_and_axes(examples, explain, name):
    explain(formats.read_scan(*examples[name]))


@pytest.mark.parametrize("name", WRITABLE)
def test_a_scan_written_in_any_format_comes_back(tmp_path, oracle, name):
    path = tmp_path / "data"
    FORMATS[name].write(path, oracle.scan)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]
    scan = formats.read_scan(path, ReadOptions())
    assert torch.equal(scan.frames(slice(None)), oracle.scan.frames(slice(None)))
    assert torch.equal(scan.mask, oracle.scan.mask)
    assert scan.geometry.wavelength_m == pytest.approx(oracle.scan.geometry.wavelength_m)
    assert scan.geometry.distance_m == pytest.approx(oracle.scan.geometry.distance_m)
    assert scan.geometry.detector_pixel_m == pytest.approx(oracle.scan.geometry.detector_pixel_m)


@pytest.mark.parametrize("name", REBUILT)
def test_a_stored_reconstruction_is_one_of_the_scan(examples, truth, name):
    estimate = FORMATS[name].read_estimate(examples[name][0])
    steps, expected = (x.positions_px - x.positions_px[0] for x in (estimate, truth))
    torch.testing.assert_close(steps.double(), expected, atol=0.02, rtol=0)
    torch.testing.assert_close(estimate.probe.abs().float(), truth.probe.abs(), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("content", [b"", b"hello", bytes(5000), b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"II*\0"])
def test_rubbish_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "scan.cxi"
    path.write_bytes(content)
    with pytest.raises(FormatError):
        formats.read_scan(path, ReadOptions())


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"nowhere\.cxi does not exist"):
        formats.read_scan(tmp_path / "nowhere.cxi", ReadOptions())


@pytest.mark.parametrize("name", READABLE)
def test_a_file_of_another_format_gives_a_clear_error_or_is_read_as_one_of_this(examples, name):
    refused = 0
    for path, options in examples.values():
        try:
            formats.read_scan(path, ReadOptions(format=name, positions=options.positions)).frames(slice(None))
        except FormatError:
            refused += 1
    assert refused >= len(FORMATS) - 2


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in FOLDERS])
def test_a_truncated_file_gives_a_clear_error(tmp_path, oracle, truth, name):
    path = tmp_path / "data"
    options = write_example(name, path, oracle, truth)
    whole = path.read_bytes()
    for part in range(1, 20):
        path.write_bytes(whole[: len(whole) * part // 20])
        with pytest.raises(FormatError):
            read_everything(path, options)


# Not HDF5: its library itself may hang on a file with wrong bits in it, below all that we can catch.
@pytest.mark.parametrize(
    "name", ["npz", "slac-npz", "tiff", "empad", "merlin", "blo", "dm", "npy", "mat", "edf-cbf", "autophasenn-npz"]
)
def test_a_file_with_wrong_bytes_gives_data_or_a_clear_error(tmp_path, oracle, truth, name):
    path = tmp_path / "data"
    options = write_example(name, path, oracle, truth)
    whole = path.read_bytes()
    rng = random.Random(1)
    for attempt in range(60):
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 20, 400))):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path = tmp_path / f"damaged{attempt}"
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(ExitwaveError):
            read_everything(path, options)


def read_everything(path: Path, options: ReadOptions) -> None:
    found = formats.detect(path)
    if found.read is not None:
        formats.read_scan(path, options).frames(slice(None))
    if found.name in REBUILT:
        found.read_estimate(path)
