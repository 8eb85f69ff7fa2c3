from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from exitwave.data.errors import FormatError, InputError
from exitwave.data.geometry import Geometry
from exitwave.data.scan import Scan
from exitwave.io import formats
from exitwave.io.assemble import ReadOptions, assemble
from exitwave.io.readers import cxi, nexus

Explain = Callable[[Scan], None]
DETECTOR = "entry_1/instrument_1/detector_1"


def read(path: Path, stated: ReadOptions | None = None) -> Scan:
    stated = stated or ReadOptions()
    return assemble(nexus.read(path, stated), stated, path, "nexus")


def put(path: Path, name: str, value: object, units: str | None = None) -> None:
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        if value is not None:
            file[name] = value
            if units:
                file[name].attrs["units"] = np.bytes_(units)


@pytest.fixture
def diamond(tmp_path: Path, oracle: Any) -> Path:
    """As a Diamond beamline writes it: motors for each frame in entry_1/data, units everywhere, machine energy in GeV."""
    path = tmp_path / "i13.nxs"
    with h5py.File(path, "w"):
        pass
    put(path, "entry_1/definition", "NXcxi_ptycho")
    put(path, "entry_1/instrument_1/source_1/energy", 3.0, "GeV")
    put(path, "entry_1/instrument_1/beam_1/energy", 8.0, "keV")
    put(path, f"{DETECTOR}/data", oracle.patterns.astype(np.uint16))
    put(path, f"{DETECTOR}/distance", 1500.0, "mm")
    put(path, f"{DETECTOR}/y_pixel_size", 75.0, "um")
    put(path, f"{DETECTOR}/x_pixel_size", 55.0, "um")
    put(path, "entry_1/data/y", oracle.positions_m[:, 0] * 1e6, "um")
    put(path, "entry_1/data/x", oracle.positions_m[:, 1] * 1e3, "mm")
    put(path, "entry_1/data/data", h5py.SoftLink(f"/{DETECTOR}/data"))
    return path


def test_a_scan_comes_back_as_it_was_written(tmp_path: Path, oracle: Any, explain: Explain) -> None:
    path = tmp_path / "scan.nxs"
    nexus.write(path, replace(oracle.scan, background=torch.rand(oracle.scan.frame_shape)))
    again = read(path)
    explain(again)
    torch.testing.assert_close(again.positions_m, oracle.scan.positions_m, rtol=0, atol=0)
    assert torch.equal(again.mask, oracle.scan.mask)
    torch.testing.assert_close(again.monitor, oracle.scan.monitor)
    assert again.background is not None
    assert again.geometry == oracle.scan.geometry


def test_what_is_written_is_also_a_cxi_file(tmp_path: Path, oracle: Any, explain: Explain) -> None:
    path = tmp_path / "scan.nxs"
    nexus.write(path, oracle.scan)
    explain(assemble(cxi.read(path, ReadOptions()), ReadOptions(), path, "cxi"))


def test_near_field_and_electrons_come_back(tmp_path: Path, oracle: Any) -> None:
    near = Geometry.from_energy(9000, 2.0, (55e-6, 55e-6), float("inf"))
    for geometry in (near, Geometry.from_voltage(200e3, 0.3, (1e-5, 2e-5))):
        nexus.write(tmp_path / "scan.nxs", replace(oracle.scan, geometry=geometry))
        assert read(tmp_path / "scan.nxs").geometry == geometry


def test_units_are_read_not_assumed(diamond: Path, explain: Explain) -> None:
    scan = read(diamond)
    explain(scan)
    assert scan.geometry.energy_ev == pytest.approx(8000)
    assert scan.geometry.distance_m == pytest.approx(1.5)


def test_the_energy_of_the_machine_is_not_taken_for_that_of_the_beam(diamond: Path) -> None:
    put(diamond, "entry_1/instrument_1/beam_1/energy", None)
    with pytest.raises(FormatError, match="--energy-ev"):
        read(diamond)
    put(diamond, "entry_1/instrument_1/source_1/energy", 8000.0, "eV")
    assert read(diamond).geometry.energy_ev == pytest.approx(8000)


def test_a_raster_keeps_rows_and_columns_and_is_flattened(diamond: Path, oracle: Any) -> None:
    height, width = oracle.scan.frame_shape
    put(diamond, f"{DETECTOR}/data", oracle.patterns.reshape(3, 4, height, width))
    put(diamond, "entry_1/data/y", np.array([1.0, 2.0, 4.0]), "um")
    put(diamond, "entry_1/data/x", np.array([1.0, 2.0, 3.0, 5.0]), "um")
    scan = read(diamond)
    assert scan.patterns.shape == (12, height, width)
    np.testing.assert_allclose(scan.positions_m[[0, 1, 4, 11]] * 1e6, [[1, 1], [1, 2], [2, 1], [4, 5]])
    np.testing.assert_array_equal(scan.frames(torch.tensor([7]))[0], oracle.patterns[7])


def test_motors_that_run_the_other_way_are_turned_by_their_vector(diamond: Path, oracle: Any, explain: Explain) -> None:
    for axis, column, vector in (("x", 0, [0.0, -1.0, 0.0]), ("y", 1, [1.0, 0.0, 0.0])):
        put(diamond, f"entry_1/data/{axis}", None)
        name = f"entry_1/sample_1/transformations/{axis}"
        put(diamond, name, oracle.positions_m[:, column] * (-1 if axis == "x" else 1), "m")
        with h5py.File(diamond, "r+") as file:
            file[name].attrs["vector"] = vector
    explain(read(diamond))


def test_translations_serve_where_motors_are_missing(diamond: Path, oracle: Any, explain: Explain) -> None:
    for axis in "xy":
        put(diamond, f"entry_1/data/{axis}", None)
    xyz = np.stack([oracle.positions_m[:, 1], oracle.positions_m[:, 0], np.zeros(12)], axis=1)
    put(diamond, f"{DETECTOR}/translation", xyz * 1e9, "nm")
    explain(read(diamond))


@pytest.mark.parametrize(("centre", "units"), [((6.0, 13.0), "pixels"), ((6 * 75e-6, 13 * 55e-6), "m")])
def test_the_beam_is_brought_to_the_middle(diamond: Path, oracle: Any, centre: tuple[float, float], units: str) -> None:
    for axis, value in zip("yx", centre, strict=True):
        put(diamond, f"{DETECTOR}/beam_center_{axis}", value, units)
    scan = read(diamond)
    height, width = scan.frame_shape
    frame = scan.frames(torch.tensor([4]))[0]
    assert frame[height // 2, width // 2] == oracle.patterns[4, 6, 13]
    assert not scan.mask[0].any()


def test_dark_field_and_monitor_of_diamond_are_read(diamond: Path, oracle: Any) -> None:
    put(diamond, f"{DETECTOR}/darkfield", np.full(oracle.scan.frame_shape, 2.0))
    put(diamond, "entry_1/instrument_1/monitor/data", np.arange(12.0))
    scan = read(diamond)
    assert scan.background[3, 3] == 2
    assert scan.monitor[5] == 5


def test_an_unknown_unit_and_unequal_motors_are_refused(diamond: Path) -> None:
    put(diamond, f"{DETECTOR}/distance", 3.0, "furlong")
    with pytest.raises(FormatError, match=r"detector_1/distance in .*i13\.nxs: 'furlong' is no known unit of length"):
        read(diamond)
    put(diamond, "entry_1/data/x", np.arange(11.0), "um")
    with pytest.raises(InputError, match="11 values of x and 12 of y"):
        read(diamond)


def test_nexus_and_cxi_tell_each_other_apart(diamond: Path, tmp_path: Path, oracle: Any) -> None:
    cxi.write(tmp_path / "scan.cxi", oracle.scan)
    nexus.write(tmp_path / "scan.nxs", oracle.scan)
    assert nexus.recognises(diamond)
    assert nexus.recognises(tmp_path / "scan.nxs")
    assert not nexus.recognises(tmp_path / "scan.cxi")
    put(diamond, "entry_1/definition", None)
    assert nexus.recognises(diamond)


def test_the_content_tells_the_format(diamond: Path) -> None:
    assert formats.detect(diamond).name == "nexus"
