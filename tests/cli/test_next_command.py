"""What info found and what was stated comes as one line to paste and as a job, so that nothing is typed twice."""

import shlex
from dataclasses import fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from command import call, done, refused
from exitwave import Job, read_job, read_result
from exitwave.cli.next_command import words_for
from exitwave.cli.reconstruct import job_from
from exitwave.data.finding import Finding
from exitwave.io.assemble import ReadOptions
from exitwave.running.job import make_job, write_job
from exitwave.solvers.ptychography.pie import RPIE
from scans import known_scan

KNOWN = known_scan(side=5, photons=1e5).scan


@pytest.fixture
def cornered(tmp_path: Path) -> Path:
    """A scan without its energy, whose beam stands in the corners of the frames: info has one cure for it."""
    path = tmp_path / "a scan.h5"
    with h5py.File(path, "w") as file:
        file["ptychogram"] = np.fft.ifftshift(KNOWN.frames(slice(None)).numpy(), axes=(1, 2))
        file["encoder"], file["wavelength"] = KNOWN.positions_m.numpy(), KNOWN.geometry.wavelength_m
        file["zo"], file["dxd"] = 1.0, 75e-6
    return path


def test_the_line_that_info_prints_reconstructs_what_it_refuses(cornered: Path) -> None:
    stated = ("--distance-m", KNOWN.geometry.distance_m, "--prepare", "select=:24")
    assert call("reconstruct", cornered, *stated, "-o", cornered.with_name("no.h5")).code == 2
    told = done("info", cornered, *stated).out.splitlines()
    line = next(line for line in told if line.startswith("to reconstruct"))
    program, *words = shlex.split(line.removeprefix("to reconstruct"))
    assert program == "exitwave"
    assert words[1:6] == [str(cornered), "--distance-m", str(KNOWN.geometry.distance_m), "--prepare", "select=:24"]
    assert words[6:] == ["--prepare", "unshift", "-o", "result.h5"]
    words[-1] = str(cornered.with_name("out.h5"))
    done(*words, "--epochs", 2)
    assert len(read_result(cornered.with_name("out.h5")).frame_residual) == 24


def test_the_job_that_info_saves_does_the_same(cornered: Path) -> None:
    job = cornered.with_name("job.yaml")
    said = done("info", cornered, "--distance-m", KNOWN.geometry.distance_m, "--drop-frames", 3, "--save-job", job).out
    assert f"exitwave run {job}" in said
    assert yaml.safe_load(job.read_text()) == {
        "scan": "a scan.h5",
        "solver": "newton",
        "output": str(Path("result.h5").absolute()),
        "reading": {"distance_m": KNOWN.geometry.distance_m},
        "prepare": ["unshift"],
        "drop_frames": "3",
    }
    assert read_job(job).scan == cornered
    before = job.read_bytes()
    assert "exists already" in refused(cornered.parent, "info", cornered, "--save-job", job)
    assert job.read_bytes() == before
    assert "end in .yaml" in refused(cornered.parent, "info", cornered, "--save-job", cornered.with_name("job.h5"))


def test_every_option_of_reading_is_spelt_as_the_command_line_reads_it() -> None:
    stated = ReadOptions(
        format="cxi",
        positions=Path("p.txt"),
        energy_ev=8000.0,
        focus_distance_m=1e-3,
        position_sign="sample",
        swap_axes=False,
        sum_exposures=True,
        orientation="flipud",
        rotation_deg=-25.0,
    )
    words = words_for(Path("scan.h5"), stated, ["bin=2"], ["--focus-distance-m", "0.002", "--prepare", "mask_dead"])
    job = job_from(words, RPIE())
    # The cure takes the place of what it corrects.
    assert job.reading == replace(stated, focus_distance_m=0.002)
    assert job.prepare == ("bin=2", "mask_dead")


def test_a_job_that_was_written_is_read_as_it_was(tmp_path: Path) -> None:
    described = {
        "scan": tmp_path / "raw" / "scan.h5",
        "solver": {"name": "rpie", "alpha": 0.2},
        "output": "/elsewhere/out.h5",
        "prepare": ["bin=2"],
        "modes": 2,
        "refine_positions": True,
        "patience": 5,
        "reading": {"orientation": "transpose"},
    }
    job = make_job(described, "test")
    write_job(tmp_path / "job.yaml", job)
    again = read_job(tmp_path / "job.yaml")
    assert all(getattr(again, each.name) == getattr(job, each.name) for each in fields(Job))
    told = yaml.safe_load((tmp_path / "job.yaml").read_text())
    assert (told["scan"], told["output"], told["solver"]) == (
        "raw/scan.h5",
        "/elsewhere/out.h5",
        {"name": "rpie", "alpha": 0.2},
    )
    assert "seed" not in told


@pytest.mark.parametrize(
    ("cure", "options"),
    [
        ("--prepare unshift", ("--prepare", "unshift")),
        ("--focus-distance-m 0.00312", ("--focus-distance-m", "0.00312")),
        ("give the detector's mask, or --prepare mask_dead to mask what never counts", ("--prepare", "mask_dead")),
        ("leave out --focus-distance-m", ()),
        ("check --position-unit and --detector-pixel-m: a shadow is never smaller than the sample", ()),
        ("", ()),
    ],
)
def test_a_cure_is_pasted_only_where_one_option_does_it(cure: str, options: tuple[str, ...]) -> None:
    assert Finding("any", "something is wrong", "refused", cure).options == options
