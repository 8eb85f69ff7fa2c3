"""Rocking curves written by exitwave come back as they were, and those of others say what lacks."""

import numpy as np
import pytest
import torch

import exitwave as ew
from exitwave.data.errors import FormatError
from exitwave.data.estimate import BraggEstimate
from exitwave.io.hdf5 import cxi_writing
from rocking_curves import COLUMNS, FRAMES, ROWS, made_curve


def test_a_rocking_curve_written_as_cxi_comes_back_as_it_was(tmp_path):
    trusted = np.random.default_rng(1).random((FRAMES, ROWS, COLUMNS)) > 0.1
    curve = made_curve(voxel_mask=trusted)
    ew.write(curve, tmp_path / "curve.cxi")
    again = ew.read(tmp_path / "curve.cxi")
    assert type(again) is ew.RockingCurve
    assert again.diffraction == curve.diffraction
    assert torch.equal(again.angles_rad, curve.angles_rad)
    assert again.geometry == curve.geometry
    for name in ("mask", "monitor", "voxel_mask"):
        assert torch.equal(getattr(again, name), getattr(curve, name)), name
    assert torch.equal(again.frames(slice(None)), curve.frames(slice(None)))


def test_a_rocking_curve_without_trusted_voxels_of_its_own_comes_back_without(tmp_path):
    ew.write(made_curve(monitor=None), tmp_path / "curve.cxi")
    again = ew.read(tmp_path / "curve.cxi")
    assert (again.voxel_mask, again.monitor) == (None, None)


def test_the_truth_of_a_made_crystal_goes_along_and_no_reader_of_curves_sees_it(tmp_path):
    curve, rng = made_curve(), torch.Generator().manual_seed(1)
    shape = curve.patterns.shape
    truth = BraggEstimate(
        object=torch.complex(torch.rand(shape, generator=rng), torch.rand(shape, generator=rng)),
        support=torch.rand(shape, generator=rng) > 0.5,
        beam_photons=torch.tensor(3.0, dtype=torch.float64),
        basis_m=torch.from_numpy(curve.direct_basis_m),
        scattering_vector=torch.from_numpy(curve.scattering_vector),
    )
    cxi_writing.write(tmp_path / "curve.cxi", curve, truth=truth)
    again = ew.read_truth(tmp_path / "curve.cxi")
    assert type(again) is BraggEstimate
    assert {
        name: torch.equal(value, truth.tensors()[name]) for name, value in again.tensors().items()
    } == dict.fromkeys(truth.tensors(), True)
    assert not [name for name in ew.read(tmp_path / "curve.cxi").provenance if "truth" in name]


@pytest.mark.parametrize("ending", ["nxs", "npz", "ptyd"])
def test_formats_of_scans_alone_refuse_a_rocking_curve(tmp_path, ending):
    with pytest.raises((FormatError, ew.InputError), match="cxi"):
        ew.write(made_curve(), tmp_path / f"curve.{ending}")
    assert not list(tmp_path.iterdir())
