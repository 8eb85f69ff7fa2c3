import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from exitwave.data.errors import ExitwaveError, FormatError, InputError
from exitwave.data.patterns import ArrayPatterns
from exitwave.data.scan import Scan
from exitwave.data.unmatched import UnmatchedScan
from exitwave.io.assemble import Contents, ReadOptions, assemble

FILE = Path("cube.raw")
CUBE = Contents(patterns=ArrayPatterns(np.ones((6, 4, 4), np.float32)), distance_m=1.0, detector_pixel_m=(1e-3, 1e-3))


def placed(stated: ReadOptions, contents: Contents = CUBE) -> Scan:
    scan = assemble(contents, replace(stated, kv=stated.kv or 300.0), FILE, "raw")
    assert isinstance(scan, Scan)
    return scan


@pytest.mark.parametrize("unit", [{"step_nm": 0.5}, {"step_angstrom": 5.0}, {"step_pm": 500.0}])
@pytest.mark.parametrize("shape", ["2x3", "2 x 3", "2,3", (2, 3)])
def test_the_frames_of_a_raster_come_row_after_row(unit: dict[str, float], shape: str | tuple[int, int]) -> None:
    y, x = placed(ReadOptions(scan=shape, **unit)).positions_m.T * 1e9
    assert y.tolist() == pytest.approx([0, 0, 0, 0.5, 0.5, 0.5])
    assert x.tolist() == pytest.approx([0, 0.5, 1, 0, 0.5, 1])


def test_steps_may_differ_between_rows_and_columns() -> None:
    positions = placed(ReadOptions(scan="2x3", step_nm=(1.0, 2.0))).positions_m
    assert positions[-1].tolist() == pytest.approx([1e-9, 4e-9])


def test_what_the_file_knows_of_its_raster_need_not_be_stated_but_can_be() -> None:
    file = replace(CUBE, scan_shape=(3, 2), scan_step_m=(1e-9, 1e-9))
    assert placed(ReadOptions(), file).positions_m[-1].tolist() == pytest.approx([2e-9, 1e-9])
    assert placed(ReadOptions(scan="2x3"), file).positions_m[-1].tolist() == pytest.approx([1e-9, 2e-9])
    assert placed(ReadOptions(step_pm=100), file).positions_m[-1].tolist() == pytest.approx([2e-10, 1e-10])


def test_a_stated_raster_wins_over_positions_in_the_file() -> None:
    file = replace(CUBE, positions=np.arange(12.0).reshape(6, 2), position_unit="um", position_sign="sample")
    assert placed(ReadOptions(scan="2x3", step_nm=1.0), file).positions_m[-1].tolist() == pytest.approx([1e-9, 2e-9])


def test_a_raster_can_be_turned_and_its_axes_exchanged() -> None:
    turned = placed(ReadOptions(scan="2x3", step_nm=1.0, rotation_deg=90.0)).positions_m
    # Counter-clockwise with row 0 on top: columns to the right go up.
    torch.testing.assert_close(turned[2] * 1e9, torch.tensor([-2.0, 0.0], dtype=torch.float64), atol=1e-12, rtol=0)
    swapped = placed(ReadOptions(scan="2x3", step_nm=1.0, swap_axes=True)).positions_m
    assert swapped[2].tolist() == pytest.approx([2e-9, 0])


@pytest.mark.parametrize(
    ("stated", "named"),
    [
        (ReadOptions(), "--scan"),
        (ReadOptions(scan="2x3"), "--step-nm"),
        (ReadOptions(step_nm=1.0), "--scan"),
        (ReadOptions(scan="2 by 3", step_nm=1.0), "rows x columns"),
        (ReadOptions(scan="0x3", step_nm=1.0), "rows x columns"),
        (ReadOptions(scan="2x3", step_nm=1.0, step_pm=1000.0), "step_nm and step_pm"),
        (ReadOptions(scan="2x3", step_nm=math.nan), "step_nm is nan"),
        (ReadOptions(scan="2x3", step_nm=1.0, position_unit="nm"), "raster"),
        (ReadOptions(scan="2x3", step_nm=1.0, positions=FILE), "raster"),
    ],
)
def test_what_is_missing_or_contradicts_itself_is_named(stated: ReadOptions, named: str) -> None:
    with pytest.raises(ExitwaveError, match=named):
        placed(stated)


def test_a_file_that_knows_its_raster_asks_for_the_step_alone() -> None:
    with pytest.raises(FormatError, match="raster of 2 x 3 positions but its step is not known; state --step-nm"):
        placed(ReadOptions(), replace(CUBE, scan_shape=(2, 3)))


def test_kilovolts_make_electrons() -> None:
    geometry = placed(ReadOptions(kv=300, scan="2x3", step_nm=1.0)).geometry
    assert geometry.particle == "electron"
    assert geometry.wavelength_m == pytest.approx(1.96875e-12, rel=1e-5)
    assert geometry.energy_ev == pytest.approx(300e3)


@pytest.mark.parametrize("kv", [300e3, 0.0, math.nan])
def test_a_voltage_that_is_not_in_kilovolts_is_refused(kv: float) -> None:
    with pytest.raises(InputError, match="kilovolts"):
        assemble(CUBE, ReadOptions(kv=kv, scan="2x3", step_nm=1.0), FILE, "raw")


def test_an_energy_that_is_stated_of_an_electron_file_is_of_electrons() -> None:
    file = replace(CUBE, particle="electron")
    geometry = assemble(file, ReadOptions(energy_ev=80e3, scan="2x3", step_nm=1.0), FILE, "raw").geometry
    assert geometry.wavelength_m == pytest.approx(4.1757e-12, rel=1e-4)
    with pytest.raises(InputError, match="kv is of electrons"):
        assemble(CUBE, ReadOptions(energy_ev=80e3, kv=80, scan="2x3", step_nm=1.0), FILE, "raw")


def test_a_raster_of_more_places_than_frames_is_told():
    unmatched = assemble(CUBE, ReadOptions(scan="3x4", step_nm=1.0, kv=300.0), FILE, "raw")
    assert isinstance(unmatched, UnmatchedScan)
    with pytest.raises(InputError, match=r"6 diffraction patterns but 12 positions of a raster of 3 x 4; .*--scan"):
        unmatched.settled()
