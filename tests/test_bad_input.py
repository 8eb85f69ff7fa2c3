"""Whatever is wrong with the input: exit code 2 and one line that says what was found and what to do, and no file touched."""

import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from command import done, refused
from good_files import good, result, scan

__all__ = ["good", "result", "scan"]

FRAMES = "entry_1/instrument_1/detector_1/data"
MASK = "entry_1/instrument_1/detector_1/mask"
DISTANCE = "entry_1/instrument_1/detector_1/distance"
POSITIONS = "entry_1/sample_1/geometry_1/translation"
SOURCE = "entry_1/instrument_1/source_1"


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


def with_value(value: complex, count: int = 1) -> Callable[[np.ndarray], np.ndarray]:
    """The frames with `value` in one pixel of each of the first `count`."""

    def spoil(frames: np.ndarray) -> np.ndarray:
        frames = frames.astype(np.result_type(type(value), np.float32))
        frames[:count, 3, 4] = value
        return frames

    return spoil


class TestFiles:
    def test_a_missing_scan_is_named(self, tmp_path: Path) -> None:
        assert "nowhere.cxi does not exist; check the path" in complaint(tmp_path / "nowhere.cxi")

    def test_what_is_not_hdf5_is_of_no_known_format(self, tmp_path: Path) -> None:
        path = tmp_path / "scan.cxi"
        path.write_text("frame,y,x\n1,2,3\n")
        line = complaint(path)
        assert "is of no known format" in line
        assert "CXI file" in line

    def test_an_empty_file_is_called_empty_or_unknown(self, tmp_path: Path) -> None:
        path = tmp_path / "scan.cxi"
        path.touch()
        assert "scan.cxi" in complaint(path)

    def test_a_folder_is_no_scan(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        assert "folder" in refused(tmp_path, *reconstruction(tmp_path / "folder"))

    @pytest.mark.parametrize("share", [0.001, 0.2, 0.6, 0.999])
    def test_a_truncated_file_is_called_truncated(self, scan: Path, share: float) -> None:
        data = scan.read_bytes()
        scan.write_bytes(data[: max(int(share * len(data)), 16)])
        assert re.search(r"truncated|damaged|no known format", complaint(scan))

    def test_a_truncated_file_says_how_much_is_there(self, scan: Path) -> None:
        size = len(scan.read_bytes())
        scan.write_bytes(scan.read_bytes()[:-100])
        assert f"truncated ({size - 100} of {size} bytes); copy it again" in complaint(scan)

    @pytest.mark.parametrize("command", ["evaluate", "report"])
    def test_a_scan_is_no_result(self, scan: Path, command: str) -> None:
        assert "expected an exitwave result" in refused(scan.parent, command, scan)

    def test_a_result_is_no_scan(self, result: Path, tmp_path: Path) -> None:
        line = refused(tmp_path, "reconstruct", result, "rpie", "-o", tmp_path / "out.h5")
        assert "holds no diffraction patterns; give the scan it was made from" in line

    def test_a_measured_scan_has_no_truth(self, scan: Path, result: Path) -> None:
        with h5py.File(scan, "r+") as file:
            del file["entry_1/exitwave_truth"]
        assert "holds no truth" in refused(scan.parent, "evaluate", result, "--truth", scan)

    def test_a_result_is_not_exported_onto_itself(self, result: Path) -> None:
        assert "is the source itself" in refused(result.parent, "export", result, "-o", result)

    def test_a_scan_is_not_overwritten_by_its_result(self, scan: Path) -> None:
        assert "is the scan itself" in refused(scan.parent, "reconstruct", scan, "rpie", "-o", scan)

    def test_the_halves_of_a_lost_scan_cannot_be_made(self, scan: Path) -> None:
        made = scan.with_name("made.h5")
        done("reconstruct", scan, "rpie", "--epochs", 1, "-o", made)
        scan.unlink()
        assert "scan.cxi does not exist" in refused(scan.parent, "evaluate", made, "--split-half")


class TestFrames:
    def test_complex_frames_are_wave_fields_not_counts(self, scan: Path) -> None:
        change(scan, FRAMES, with_value(1 + 1j))
        assert re.search("is complex.*; expected photon counts, which are real numbers", complaint(scan))

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_frames_that_are_not_finite_are_counted(self, scan: Path, value: float) -> None:
        change(scan, FRAMES, with_value(value, count=3))
        line = complaint(scan, "--as-is")
        assert "3 of 16 frames hold pixels that are not finite (NaN or infinite), the first is frame 0" in line
        assert "1 pixel masked, without data in many frames" in done(*reconstruction(scan)).err

    def test_counts_too_large_for_a_float_are_not_finite(self, scan: Path) -> None:
        change(scan, FRAMES, lambda frames: frames.astype(np.float64) * 1e300)
        assert "16 of 16 frames hold pixels that are not finite" in complaint(scan)

    def test_negative_counts_are_refused_until_set_to_zero(self, scan: Path) -> None:
        change(scan, FRAMES, with_value(-5.0, count=2))
        line = complaint(scan)
        assert "2 of 16 frames hold pixels that are negative" in line
        assert "threshold: 0" in line
        done(*reconstruction(scan, "--prepare", "threshold=0"))

    def test_empty_frames_are_refused_until_left_out(self, scan: Path) -> None:
        def darken(frames: np.ndarray) -> np.ndarray:
            frames[[2, 5]] = 0
            return frames

        change(scan, FRAMES, darken)
        line = complaint(scan, "--as-is")
        assert "2 of 16 frames are empty (nothing is counted): 2, 5" in line
        assert "drop_empty" in line
        done(*reconstruction(scan, "--as-is", "--prepare", "drop_empty"))
        assert "2 frames left out: 2,5 (empty)" in done(*reconstruction(scan)).err

    def test_a_dark_scan_is_called_empty(self, scan: Path) -> None:
        change(scan, FRAMES, np.zeros_like)
        assert "every frame is empty: nothing is counted in any trusted pixel" in complaint(scan)

    def test_a_single_frame_is_no_scan(self, scan: Path) -> None:
        line = complaint(scan, "--prepare", "select=0:1")
        assert "rpie is for a ptychography scan, but this is one pattern of an isolated object; " in line

    def test_no_frame_at_all(self, scan: Path) -> None:
        change(scan, FRAMES, lambda frames: frames[:0])
        assert "it holds no frames" in complaint(scan)

    def test_a_mask_of_another_shape_says_both_shapes(self, scan: Path) -> None:
        change(scan, MASK, lambda mask: mask[:, :-1])
        assert "mask has shape (16, 15) but frames are (16, 16)" in complaint(scan)

    def test_a_mask_that_trusts_nothing_may_be_inverted(self, scan: Path) -> None:
        change(scan, MASK, np.ones_like)
        assert "the mask trusts no pixel at all" in complaint(scan)

    def test_missing_frames(self, scan: Path) -> None:
        with h5py.File(scan, "r+") as file:
            del file[FRAMES]
        assert "scan.cxi holds no diffraction patterns" in complaint(scan)


class TestPositions:
    def test_missing_positions_can_come_from_a_second_file(self, scan: Path) -> None:
        with h5py.File(scan, "r+") as file:
            positions = file[POSITIONS][()][:, 1::-1]
            del file[POSITIONS]
        line = complaint(scan)
        assert "holds no scan positions" in line
        assert "--positions" in line
        np.save(scan.with_name("positions.npy"), positions)
        done(*reconstruction(scan, "--positions", scan.with_name("positions.npy")))

    def test_frames_and_positions_of_different_number(self, scan: Path) -> None:
        change(scan, POSITIONS, lambda positions: positions[:-3])
        line = complaint(scan)
        assert "16 diffraction patterns but 13 positions; each frame needs exactly one position" in line

    def test_positions_that_are_not_finite(self, scan: Path) -> None:
        change(scan, POSITIONS, lambda p: np.where(np.arange(16)[:, None] == 4, np.nan, p))
        assert "1 of 16 positions are not finite (NaN or infinite), the first is that of frame 4" in complaint(
            scan, "--as-is"
        )
        assert "1 frame left out: 4 (position is not a number)" in done(*reconstruction(scan)).err

    def test_positions_that_are_words(self, scan: Path) -> None:
        change(scan, POSITIONS, lambda positions: positions.astype("S8"))
        assert "expected real numbers" in complaint(scan)

    def test_duplicate_positions_are_refused_until_dropped(self, scan: Path) -> None:
        change(scan, POSITIONS, lambda p: np.where(np.arange(16)[:, None] == 4, p[3], p))
        line = complaint(scan)
        assert "1 of 16 positions repeat another exactly" in line
        assert "drop_duplicates" in line
        done(*reconstruction(scan, "--prepare", "drop_duplicates"))

    @pytest.mark.parametrize(
        ("told", "factor", "fits"),
        [("m", 1e3, "mm"), ("m", 1e6, "um"), ("m", 1e9, "nm"), ("nm", 1e6, "um"), ("um", 1.0, "m"), ("um", 1e9, "nm")],
    )
    def test_a_wrong_unit_is_found_and_the_advice_works(self, scan: Path, told: str, factor: float, fits: str) -> None:
        change(scan, POSITIONS, lambda positions: positions * factor)
        with h5py.File(scan, "r+") as file:
            file[POSITIONS].attrs["units"] = told
        line = complaint(scan)
        assert "What would fit:" in line
        assert f"positions in {fits}: --position-unit {fits}" in line
        done(*reconstruction(scan, "--position-unit", fits))

    @pytest.mark.parametrize("factor", [1e-3, 1e3])
    def test_an_energy_off_by_a_thousand_is_found_and_the_advice_works(self, scan: Path, factor: float) -> None:
        change(scan, f"{SOURCE}/energy", lambda energy: energy * factor)
        change(scan, f"{SOURCE}/wavelength", lambda wavelength: wavelength / factor)
        line = complaint(scan)
        assert f"an energy of 8000 eV instead of {8000 * factor:.4g} eV: --energy-ev" in line
        done(*reconstruction(scan, "--energy-ev", 8000))

    def test_an_energy_in_electronvolts_where_joule_belong(self, scan: Path) -> None:
        with h5py.File(scan, "r+") as file:
            del file[f"{SOURCE}/wavelength"]
        change(scan, f"{SOURCE}/energy", lambda energy: np.asarray(8000.0))
        with h5py.File(scan, "r+") as file:
            del file[f"{SOURCE}/energy"].attrs["units"]
        assert "CXI stores joule, 1.28e-15 for 8 keV" in complaint(scan)

    def test_one_position_far_away_is_an_outlier(self, scan: Path) -> None:
        change(scan, POSITIONS, lambda p: np.where(np.arange(16)[:, None] == 4, 1.0, p))
        assert "look for outliers among the positions" in complaint(scan, "--as-is")
        assert "1 frame left out: 4 (position far from all others)" in done(*reconstruction(scan)).err

    def test_positions_without_end(self, scan: Path) -> None:
        change(scan, POSITIONS, lambda p: p * 1e300)
        assert "positions span" in complaint(scan)


class TestGeometry:
    @pytest.mark.parametrize("distance", [0.0, -2.0])
    def test_a_distance_that_is_none(self, scan: Path, distance: float) -> None:
        change(scan, DISTANCE, lambda old: np.asarray(distance))
        line = complaint(scan)
        assert f"sample-detector distance is {distance:g} m; expected a positive, finite number of m" in line

    def test_a_stated_distance_is_checked_too(self, scan: Path) -> None:
        assert "sample-detector distance is 0 m" in complaint(scan, "--distance-m", 0)

    def test_what_nobody_tells_is_asked_for_by_its_option(self, scan: Path) -> None:
        with h5py.File(scan, "r+") as file:
            del file[f"{SOURCE}/wavelength"], file[f"{SOURCE}/energy"]
        assert "does not say the energy (--energy-ev, or --kv of electrons)" in complaint(scan)
        done(*reconstruction(scan, "--energy-ev", 8000))

    @pytest.mark.parametrize("frame_px", [8, 24])
    def test_a_probe_of_another_size_says_both_sizes(
        self, scan: Path, tmp_path_factory: pytest.TempPathFactory, frame_px: int
    ) -> None:
        folder = tmp_path_factory.mktemp("other")
        done("simulate", "siemens", "--frames", 16, "--frame-px", frame_px, "-o", folder / "scan.cxi")
        done("reconstruct", folder / "scan.cxi", "rpie", "--epochs", 1, "-o", folder / "out.h5")
        line = complaint(scan, "--probe", folder / "out.h5")
        assert f"the probe is ({frame_px}, {frame_px}) pixels but frames are (16, 16)" in line
        line = complaint(scan, "--start", folder / "out.h5")
        assert f"the start's probe is ({frame_px}, {frame_px}) pixels but frames are (16, 16)" in line

    def test_a_start_from_other_frames_says_how_many(self, scan: Path, result: Path) -> None:
        line = complaint(scan, "--start", result, "--prepare", "select=::2")
        assert "the start was made from 16 frames but the scan has 8" in line

    def test_a_start_that_is_no_reconstruction(self, scan: Path) -> None:
        assert "stores no reconstruction" in complaint(scan, "--start", scan)
