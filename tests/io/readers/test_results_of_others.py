"""Starts and probes from results of other programs, in the layouts that their releases write (see format_files.py)."""

import h5py
import numpy as np
import pytest
import torch

from command import done, refused
from exitwave.data.errors import FormatError
from exitwave.io import formats
from exitwave.io.files import read_estimate, read_probe
from format_files import write_cdtools, write_example, write_ptychi_result, write_ptyr, write_ptyrad

OTHERS = ("ptyr", "ptyrad", "cdtools", "ptychi-result")


@pytest.mark.parametrize("name", OTHERS)
def test_a_result_of_another_program_fits_the_frames_that_it_was_made_from(tmp_path, oracle, truth, name):
    write_example(name, path := tmp_path / "result", oracle, truth)
    formats.FORMATS["cxi"].write(tmp_path / "scan.cxi", oracle.scan)
    told = done(
        "reconstruct", tmp_path / "scan.cxi", "rpie", "--epochs", 1, "--as-is", "--start", path, "-o", tmp_path / "o.h5"
    ).out
    # The truth but for counts rounded to whole photons; anything mirrored or shifted by a pixel is a hundred times worse.
    assert float(told.partition("residual ")[2].split()[0].strip(",")) < 1e-3
    assert torch.equal(read_estimate(path).probe, read_probe(path))


@pytest.mark.parametrize("name", OTHERS)
def test_other_units_of_photons_are_no_other_start(tmp_path, oracle, truth, name):
    dim = type(truth)(object=truth.object, probe=truth.probe * 1e-4, positions_px=truth.positions_px)
    write_example(name, path := tmp_path / "result", oracle, dim)
    formats.FORMATS["cxi"].write(tmp_path / "scan.cxi", oracle.scan)
    words = ("reconstruct", tmp_path / "scan.cxi", "rpie", "--epochs", 1, "--as-is", "-o", tmp_path / "o.h5")
    told = done(*words, "--start", path).out
    assert float(told.partition("residual ")[2].split()[0].strip(",")) < 1e-3
    done(*words, "--probe", path)


def test_positions_that_ptypy_repeats_for_each_probe_mode_are_taken_once(tmp_path, oracle, truth):
    two = torch.cat([truth.probe, truth.probe * 0.1])
    write_ptyr(
        path := tmp_path / "a.ptyr",
        oracle,
        type(truth)(object=truth.object, probe=two, positions_px=truth.positions_px),
        views=2,
    )
    found = read_estimate(path)
    torch.testing.assert_close(found.positions_px, truth.positions_px, atol=1e-6, rtol=0)
    assert found.probe.shape[0] == 2


def test_a_start_whose_axes_lie_otherwise_is_refused(tmp_path, oracle, truth):
    formats.FORMATS["cxi"].write(tmp_path / "scan.cxi", oracle.scan)
    turned = truth.positions_px.flip(0)
    write_ptychi_result(tmp_path / "a.npz", type(truth)(object=truth.object, probe=truth.probe, positions_px=turned))
    words = ("reconstruct", tmp_path / "scan.cxi", "rpie", "--as-is", "-o", tmp_path / "o.h5")
    assert "lie mirrored or turned" in refused(tmp_path, *words, "--start", tmp_path / "a.npz")


@pytest.mark.parametrize("name", OTHERS)
def test_what_a_result_lacks_is_named(tmp_path, oracle, truth, name):
    path = tmp_path / "result.h5"
    if name == "ptyr":
        write_ptyr(path, oracle, truth)
        with h5py.File(path, "r+") as file:
            del file["content/positions"]
    elif name == "ptyrad":
        write_ptyrad(path, truth, modes=2)
    elif name == "cdtools":
        write_cdtools(path, oracle, truth, simple=True)
    else:
        write_ptychi_result(path, truth)
        with np.load(path) as held:
            arrays = {key: held[key] for key in held if key != "object"} | {"object": np.zeros(3)}
        with path.open("wb") as file:
            np.savez(file, **arrays)
    with pytest.raises(FormatError, match=r"--probe|save them again"):
        read_estimate(path)
    assert torch.equal(read_probe(path), truth.probe)


def test_slices_of_ptyrad_keep_their_distance(tmp_path, truth):
    write_ptyrad(path := tmp_path / "model.hdf5", truth)
    with h5py.File(path, "r+") as file:
        for key in ("obja", "objp"):
            one = file[f"optimizable_tensors/{key}"][()]
            del file[f"optimizable_tensors/{key}"]
            file[f"optimizable_tensors/{key}"] = np.concatenate([one, one], axis=1)
        file["optimizable_tensors/slice_thickness"][...] = 20.0
    found = read_estimate(path)
    assert found.object.shape[0] == 2
    torch.testing.assert_close(found.slice_spacing_m, torch.tensor([20e-10], dtype=torch.float64))
