"""No permission, a full disk, too little memory, options that make no sense: one line, and no file touched."""

import os
import re
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from command import call, contents, refused
from good_files import good, result, scan

__all__ = ["good", "result", "scan"]

FRAMES = "entry_1/instrument_1/detector_1/data"
MASK = "entry_1/instrument_1/detector_1/mask"
POSITIONS = "entry_1/sample_1/geometry_1/translation"


def reconstruction(scan: Path, *more: object) -> tuple[object, ...]:
    return ("reconstruct", scan, "rpie", "--epochs", 1, "-o", scan.with_name("out.h5"), *more)


def complaint(scan: Path, *more: object) -> str:
    """The one line with which reconstruct refuses a scan, in the same words as `info` warns of it."""
    return refused(scan.parent, *reconstruction(scan, *more))


def change(scan: Path, name: str, function: Callable[[np.ndarray], object]) -> None:
    with h5py.File(scan, "r+") as file:
        stored = file[name]
        assert isinstance(stored, h5py.Dataset)
        value, kept = function(stored[()]), dict(stored.attrs)
        del file[name]
        file[name] = value
        file[name].attrs.update(kept)


class TestOutputs:
    @pytest.fixture(
        params=["reconstruct", "simulate", "export cxi", "export npz", "export png", "export tiff", "report"]
    )
    def writing(self, request: pytest.FixtureRequest, good: Path, result: Path) -> Callable[[Path], tuple[object, ...]]:
        """Each command that writes a file, with the folder it should write to left open."""
        name = str(request.param)

        def words(folder: Path) -> tuple[object, ...]:
            if name == "reconstruct":
                return "reconstruct", good, "rpie", "--epochs", 1, "-o", folder / "out.h5"
            if name == "simulate":
                return "simulate", "siemens", "--frames", 16, "--frame-px", 16, "-o", folder / "out.cxi"
            if name == "report":
                return "report", result, "-o", folder / "out.html"
            return "export", result, "-o", folder / f"out.{name.split()[1]}"

        return words

    def test_a_missing_folder_is_named(self, writing: Callable[[Path], tuple[object, ...]], tmp_path: Path) -> None:
        line = refused(tmp_path, *writing(tmp_path / "nowhere"))
        assert "nowhere does not exist; create it or choose another output path" in line

    def test_a_forbidden_folder_is_named(
        self, writing: Callable[[Path], tuple[object, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Simulated, because the superuser may write anywhere.
        opened = Path.open

        def forbid(path: Path, mode: str = "r", *arguments: object, **options: object) -> object:
            if "w" in mode and path.name.endswith(".partial"):
                raise PermissionError(13, "Permission denied", str(path))
            return opened(path, mode, *arguments, **options)

        monkeypatch.setattr(Path, "open", forbid)
        assert "no permission to write" in refused(tmp_path, *writing(tmp_path))

    def test_a_full_disk_leaves_the_old_file_and_no_part_of_the_new(
        self, writing: Callable[[Path], tuple[object, ...]], tmp_path: Path, limited_file_size: None
    ) -> None:
        words = writing(tmp_path)
        Path(str(words[-1])).write_text("old")
        outcome = call(*words)
        last = outcome.err.strip().splitlines()[-1]
        assert outcome.code == 2, outcome.err
        assert re.match("exitwave: the disk is full: .* was not written; free space or write elsewhere", last)
        assert contents(tmp_path) == {Path(str(words[-1])): b"old"}

    @pytest.fixture
    def limited_file_size(self) -> Iterator[None]:
        """Files end at 512 bytes, as they do at some point on a full disk; the system says so in the middle of a write."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, before[1]))
        yield
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def test_a_forbidden_folder_is_named_by_the_system_too(self, good: Path, tmp_path: Path) -> None:
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o500)
        if os.access(folder, os.W_OK):
            pytest.skip("this user may write anywhere")
        line = refused(tmp_path, "reconstruct", good, "rpie", "--epochs", 1, "-o", folder / "out.h5")
        assert "no permission to write" in line

    def test_a_folder_is_no_output(self, scan: Path) -> None:
        (scan.parent / "out.h5").mkdir()
        assert "out.h5 is a folder; give the name of a file to write" in complaint(scan)

    @pytest.mark.parametrize("device", ["/dev/null", "/dev/full"])
    def test_a_device_stays_a_device(self, scan: Path, device: str) -> None:
        line = refused(scan.parent, "reconstruct", scan, "rpie", "--epochs", 1, "-o", device)
        assert f"{device} is a device or a pipe" in line
        assert Path(device).is_char_device()

    def test_a_picture_is_no_result_file(self, scan: Path) -> None:
        line = refused(scan.parent, "reconstruct", scan, "rpie", "-o", scan.with_suffix(".png"))
        assert "should end in .h5" in line
        assert "exitwave export" in line

    def test_a_report_that_cannot_be_written_is_refused_before_the_work(self, scan: Path) -> None:
        line = complaint(scan, "--report", scan.parent / "nowhere/report.html")
        assert "nowhere does not exist" in line

    def test_an_ending_without_a_format_lists_those_there_are(self, result: Path, tmp_path: Path) -> None:
        line = refused(tmp_path, "export", result, "-o", tmp_path / "out.jpeg")
        assert ".cxi, .npz, .tif, .tiff, .png" in line


class TestMemory:
    def test_an_object_that_does_not_fit_is_refused_with_advice(
        self, scan: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("exitwave.running.pose.available_memory_bytes", lambda: 10_000)
        line = complaint(scan)
        assert re.search(r"needs about [\d.]+ KiB of memory but 9.77 KiB are free", line)
        assert "crop or bin" in line

    @pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are enforced on Linux only")
    def test_the_limit_of_a_batch_job_counts(self, scan: Path) -> None:
        # One position 2500 pixels away asks for an object of 300 MB.
        change(scan, POSITIONS, lambda p: np.where(np.arange(16)[:, None] == 4, p + 2500 * 258e-9, p))
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (taken + 2**27, before[1]))
        try:
            line = complaint(scan, "--as-is")
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
        assert "of memory but" in line

    def test_frames_of_absurd_size_are_refused_before_memory_is_taken(self, scan: Path) -> None:
        with h5py.File(scan, "r+") as file:
            del file[FRAMES], file[MASK]
            # Takes no room in the file: nothing is written into it.
            file.create_dataset(FRAMES, (16, 2_000_000, 1_000_000), "u2", chunks=True)
        line = complaint(scan)
        assert "(16, 2000000, 1000000); no detector has frames so large" in line

    @pytest.mark.parametrize("name", [MASK, POSITIONS])
    def test_arrays_of_absurd_size_are_refused_before_memory_is_taken(self, scan: Path, name: str) -> None:
        with h5py.File(scan, "r+") as file:
            del file[name]
            file.create_dataset(name, (2**30, 2**20), "f8", chunks=True)
        assert name.rsplit("/", 1)[-1] in complaint(scan)

    @pytest.mark.parametrize(
        "error",
        [
            MemoryError(),
            RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
        ],
        ids=["python", "torch"],
    )
    def test_running_out_of_memory_tells_the_ways_out(
        self, scan: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        def fail(*arguments: object, **options: object) -> None:
            raise error

        monkeypatch.setattr("exitwave.problems.initial_guess.first_guess", fail)
        line = complaint(scan)
        for advice in ("bin=2", "crop=128", "select=::2", "on disk in HDF5"):
            assert advice in line


class TestOptions:
    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (["--epochs", 0], "epochs"),
            (["--epochs", "many"], "epochs"),
            (["--alpha", 2], "alpha"),
            (["--alpah", 0.1], "alpah"),
            (["--modes", 0], "modes"),
            (["--seed", -1], "seed"),
            (["--seed", 2**40], "seed"),
            (["--device", "abacus"], "device 'abacus' is not available here"),
            (["--free-fraction", 0.9], "free_fraction"),
            (["--patience", 0], "patience"),
            (["--checkpoint-every", 0], "checkpoint_every"),
            (["--format", "jpeg"], "there is no format 'jpeg'; there are"),
            (["--recipe", "nobody"], "there is no recipe 'nobody'"),
            (["--orientation", "sideways"], "orientation"),
            (["--position-unit", "furlong"], "position-unit"),
            (["--prepare", "shrink=2"], "there is no preparation step 'shrink'; there are"),
            (["--prepare", "bin=0"], "bin factor is 0"),
            (["--prepare", "bin=100"], "bin factor 100 exceeds"),
            (["--prepare", "crop=99"], "a crop to 99 x 99"),
            (["--prepare", "crop=["], "crop=["),
            (["--prepare", "crop=abc"], "crop"),
            (["--prepare", "drop_empty=3"], "drop_empty does not take"),
            (["--prepare", "select=1-2"], "select takes first:last:step"),
            (["--prepare", "select=::0"], "select takes first:last:step"),
            (["--prepare", "select=50:"], "no frame of 16 is selected"),
            (["--prepare", "pad=8"], "would shrink frames"),
            (["--prepare", "subtract_background"], "the scan holds no background"),
            (["--prepare", "orient=up"], "orient"),
            (["--resume", "--start"], "start"),
        ],
        ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
    )
    def test_a_wrong_option_is_named(self, scan: Path, words: list[object], expected: str) -> None:
        assert expected.replace("_", "-") in complaint(scan, *words).replace("_", "-")

    def test_an_unknown_solver_lists_those_there_are(self, scan: Path) -> None:
        line = refused(scan.parent, "reconstruct", scan, "oipe", "-o", scan.with_name("out.h5"))
        assert "there is no solver 'oipe'; there are" in line
        assert "rpie" in line

    @pytest.mark.parametrize("nested", ["chain", "ensemble"])
    def test_solvers_of_solvers_need_a_job(self, scan: Path, nested: str) -> None:
        assert "YAML job" in refused(scan.parent, "reconstruct", scan, nested)

    @pytest.mark.parametrize(
        "words",
        [
            ["unicorn"],
            ["siemens", "--frames", 0],
            ["siemens", "--frame-px", 1],
            ["siemens", "--overlap", 1.5],
            ["siemens", "--overlap", "nan"],
            ["siemens", "--energy-ev", 0],
            ["siemens", "--distance-m", -1],
            ["siemens", "--probe", "laser"],
            ["siemens", "--trajectory", "drunk"],
            ["siemens", "--seed", -1],
            ["siemens", "--modes", 0],
            ["siemens", "--photons-per-frame", -1],
            ["siemens", "--photons-per-frame", "nan"],
            ["siemens", "--focus-distance-m", 0],
        ],
        ids=lambda words: " ".join(map(str, words)),
    )
    def test_a_simulation_that_makes_no_sense_is_refused(self, tmp_path: Path, words: list[object]) -> None:
        refused(tmp_path, "simulate", *words, "-o", tmp_path / "scan.cxi")
