"""The examination at the command line: said in lines, undone by options, the same in info, jobs and runs."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from command import call, done, refused
from exitwave import read_result
from scans import known_scan

KNOWN = known_scan(side=5, photons=1e5).scan


def ptylab(path: Path, frames: np.ndarray, positions: np.ndarray | None = None) -> Path:
    """A file as PtyLab has it."""
    with h5py.File(path, "w") as file:
        file["ptychogram"] = frames
        file["encoder"] = KNOWN.positions_m.numpy() if positions is None else positions
        file["wavelength"], file["zo"], file["dxd"] = KNOWN.geometry.wavelength_m, KNOWN.geometry.distance_m, 75e-6
    return path


@pytest.fixture
def frames() -> np.ndarray:
    return KNOWN.frames(slice(None)).numpy().astype(np.uint32)


@pytest.fixture
def gaps(tmp_path: Path, frames: np.ndarray) -> Path:
    frames[:, 5:7] = 2**32 - 1
    frames[7] = 0
    return ptylab(tmp_path / "gaps.h5", frames)


def run(scan: Path, *words: object) -> Path:
    out = scan.with_name("out.h5")
    done("reconstruct", scan, "rpie", "--epochs", 2, "-o", out, *words)
    return out


def test_each_cure_is_one_line_and_stays_with_the_result(gaps: Path) -> None:
    outcome = done("reconstruct", gaps, "rpie", "--epochs", 2, "-o", gaps.with_name("out.h5"))
    lines = [line for line in outcome.err.splitlines() if line.startswith("exitwave: examined: ")]
    assert len(lines) == 2
    assert "64 pixels masked, 4294967295 (the largest of an integer type)" in lines[0]
    assert "1 frame left out: 7 (empty); --keep-frames 7 keeps them" in lines[1]
    stored = read_result(gaps.with_name("out.h5")).provenance["examination"]
    assert [finding["name"] for finding in stored] == ["sentinel-pixels", "bad-frames"]


def test_info_lists_the_same_and_so_does_its_json(gaps: Path) -> None:
    told = done("info", gaps).out
    assert "! cured          64 pixels masked, 4294967295" in told
    assert "64 untrusted" in told
    assert [found["action"] for found in json.loads(done("info", gaps, "--json").out)["findings"]] == ["cured", "cured"]
    assert "! cured" not in done("info", gaps, "--as-is").out


def test_options_undo_and_add(gaps: Path) -> None:
    assert "7 of" not in call("reconstruct", gaps, "rpie", "-o", gaps.with_name("o.h5")).err
    assert "1 of 25 frames are empty" in refused(
        gaps.parent, "reconstruct", gaps, "rpie", "-o", gaps.with_name("n.h5"), "--as-is"
    )
    assert len(read_result(run(gaps, "--drop-frames", "3,9-11")).estimate.positions_px) == 20
    assert "--drop-frames" in refused(
        gaps.parent, "reconstruct", gaps, "rpie", "-o", gaps.with_name("n.h5"), "--drop-frames", "x"
    )


def test_a_job_takes_the_same_options(gaps: Path) -> None:
    job = {"scan": gaps.name, "solver": {"name": "rpie", "epochs": 2}, "output": "job.h5", "drop_frames": "1,2"}
    path = gaps.with_name("job.yaml")
    path.write_text(yaml.safe_dump(job))
    done("run", path)
    assert len(read_result(gaps.with_name("job.h5")).estimate.positions_px) == 22
    path.write_text(yaml.safe_dump({**job, "as_is": True, "drop_frames": [7, 8]}))
    done("run", path)
    assert len(read_result(gaps.with_name("job.h5")).estimate.positions_px) == 23


def test_what_has_no_safe_cure_stops_the_run_and_the_cure_works_when_pasted(tmp_path: Path, frames: np.ndarray) -> None:
    scan = ptylab(tmp_path / "corner.h5", np.fft.ifftshift(frames, axes=(1, 2)))
    line = refused(tmp_path, "reconstruct", scan, "rpie", "-o", tmp_path / "n.h5")
    assert "the beam stands in the corners of the frame" in line
    straight = read_result(run(ptylab(tmp_path / "good.h5", frames)))
    turned = read_result(run(scan, "--prepare", "unshift"))
    assert turned.residual == pytest.approx(straight.residual, rel=1e-6)


def test_a_hint_about_saturation_masks_when_pasted(tmp_path: Path) -> None:
    frames = (KNOWN.frames(slice(None)).numpy() * 40000).clip(max=123456789).astype(np.uint32)
    frames[0, 0, 0] = 1
    told = done("info", ptylab(tmp_path / "saturated.h5", frames)).out
    (hint,) = {word for word in told.split() if word.startswith("mask_saturated=")}
    assert hint == "mask_saturated=123456792"  # as float32 holds it
    assert "0 saturated" in done("info", tmp_path / "saturated.h5", "--prepare", hint).out


def test_frames_without_positions_wait_for_a_selection(tmp_path: Path, frames: np.ndarray) -> None:
    many = ptylab(tmp_path / "many.h5", np.concatenate([frames, frames[:3]]))
    line = refused(tmp_path, "info", many)
    assert "28 diffraction patterns but 25 positions" in line
    hint = next(word for word in line.split() if word.startswith("select=")).rstrip(",")
    assert "frames           25 of 32 x 32" in done("info", many, "--prepare", hint).out
    assert "frames           25 of 32 x 32" in done("info", many, "--prepare", "select=3:").out
    few = ptylab(tmp_path / "few.h5", frames[:20])
    assert "20 diffraction patterns but 25 positions" in refused(tmp_path, "info", few)
    assert "frames           20 of 32 x 32" in done("info", few, "--prepare", "select=:20").out


def test_exposures_are_offered_to_be_summed(tmp_path: Path, frames: np.ndarray) -> None:
    burst = ptylab(tmp_path / "burst.h5", np.stack([frames, frames], axis=1))
    line = refused(tmp_path, "info", burst)
    assert "50 diffraction patterns but 25 positions" in line
    assert "2 frames at each position are added up by --sum-exposures" in line
    assert "frames           25 of 32 x 32" in done("info", burst, "--sum-exposures").out


def test_positions_that_are_no_numbers_are_left_out(tmp_path: Path, frames: np.ndarray) -> None:
    positions = KNOWN.positions_m.numpy().copy()
    positions[[4, 5, 20]] = np.nan
    scan = ptylab(tmp_path / "lost.h5", frames, positions)
    assert "3 frames left out: 4-5,20 (position is not a number)" in done("info", scan).out
    assert len(read_result(run(scan)).estimate.positions_px) == 22


def test_a_wrong_key_names_those_of_its_own_section(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("scan: a.h5\nsolver: rpie\noutput: o.h5\nreading: {masc: m.npy}\n")
    line = refused(tmp_path, "run", path)
    assert (
        "reading.masc: unknown key (did you mean mask?); keys of reading are format, recipe, entry, positions," in line
    )
    assert "checkpoint_every" not in line
    path.write_text("scan: a.h5\nsolver: rpie\noutput: o.h5\nmask: m.npy\n")
    assert "mask: unknown key; keys are scan, solver, output, reading" in refused(tmp_path, "run", path)
