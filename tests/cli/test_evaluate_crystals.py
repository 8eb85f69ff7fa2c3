"""exitwave evaluate with results of one rocking curve."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import exitwave as ew
import made_crystals as made
from command import done, refused


@pytest.fixture(scope="module")
def crystals(tmp_path_factory) -> list[Path]:
    """Two results of one rocking curve, the second a little noisy."""
    folder, curve = tmp_path_factory.mktemp("crystals"), made.curve()
    crystal = made.sampled(curve, made.box((140e-9, 110e-9, 90e-9), np.eye(3), 9e-9))
    noise = torch.randn(crystal.object.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    paths: list[Path] = []
    for name, x in (("a", crystal), ("b", replace(crystal, object=crystal.object + 0.05 * noise * crystal.support))):
        result = ew.Result(
            estimate=x,
            geometry=curve.geometry,
            object_pixel_m=curve.object_pixel_m,
            spec={"name": "er"},
            residual=0.02,
        )
        paths.append(folder / f"{name}.h5")
        ew.write(result, paths[-1])
    return paths


def test_several_results_are_told_how_far_they_agree(crystals):
    out = done("evaluate", *crystals).out
    assert "Agreement of reconstructions from other starts" in out
    assert "Fourier shells in the laboratory" in out
    # The longest edge of a voxel is the finest half period that the array has in every direction.
    assert "nm or finer" in out.split("Resolution")[1].split("half period")[0]
    told = json.loads(done("evaluate", *crystals, "--json").out)
    expected = ew.compare_crystals([ew.read_result(path).estimate for path in crystals]).metrics
    assert told["FSC-half-bit-starts"] == pytest.approx(expected["FSC-half-bit-starts"])
    assert told["amplitude-correlation-starts"] > 0.95
    assert "FSC-half-bit-starts" not in json.loads(done("evaluate", crystals[0], "--json").out)


def test_results_of_anything_else_are_not_compared_so(crystals, tmp_path):
    pattern = ew.simulate_pattern(frame_px=48)
    result = ew.reconstruct(pattern.scan, ew.ER(epochs=2))
    ew.write(result, tmp_path / "pattern.h5")
    assert "crystals only" in refused(tmp_path, "evaluate", crystals[0], tmp_path / "pattern.h5")
    assert "does not exist" in refused(tmp_path, "evaluate", crystals[0], tmp_path / "missing.h5")
