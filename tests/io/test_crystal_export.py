"""Crystals for other programs: sizes in nanometres, signs and axes as the laboratory has them, read back by other code."""

import base64
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np
import pytest
import tifffile
import torch

import exitwave as ew
from command import done, refused
from made_crystals import box, curve, sampled

SIDES_NM = (150.0, 120.0, 200.0)
"""(z, y, x) of the box, whose edges lie along the axes of the laboratory."""
SLOPE = 2e-4
"""Strain of the crystal's upper half; the lower one has the opposite."""


@pytest.fixture(scope="module")
def result() -> ew.Result:
    """A box of known size on an oblique array, stretched above and compressed below, with a mark at +x, +y, +z."""
    of = curve("34-ID-C", (48, 48, 48))
    sides = tuple(side * 1e-9 for side in SIDES_NM)
    shape, q = box((sides[0], sides[1], sides[2]), np.eye(3), 5e-9), of.scattering_vector
    along = q / np.linalg.norm(q)
    bright = 1.3

    def amplitude(r: np.ndarray) -> np.ndarray:
        return shape(r) * np.where((r > 0).all(axis=-1), bright, 1.0)

    def displacement_m(r: np.ndarray) -> np.ndarray:
        return SLOPE * np.abs(r @ along)

    estimate = sampled(of, amplitude, displacement_m)
    return ew.Result(
        estimate=estimate,
        geometry=of.geometry,
        object_pixel_m=of.object_pixel_m,
        spec={"name": "cdi"},
        history=(0.5, 0.1),
    )


def arrays(path: Path, kind: str) -> tuple[ElementTree.Element, dict[str, np.ndarray]]:
    """The piece of a VTK file and its arrays, as its description has them."""
    root = ElementTree.parse(path).getroot()
    assert (root.get("type"), root.get("byte_order"), root.get("header_type")) == (kind, "LittleEndian", "UInt64")
    types = {"Float32": "<f4", "Float64": "<f8", "Int64": "<i8", "UInt8": "u1"}
    found: dict[str, np.ndarray] = {}
    for each in root.iter("DataArray"):
        held = base64.b64decode("".join(each.itertext()))
        (size,) = np.frombuffer(held[:8], "<u8")
        assert size == len(held) - 8
        parts = int(each.get("NumberOfComponents", "1"))
        values = np.frombuffer(held[8:], types[each.get("type", "")])
        found[each.get("Name", "")] = values.reshape(-1, parts) if parts > 1 else values
    piece = root.find(f"{kind}/Piece")
    assert piece is not None
    return piece, found


def test_a_volume_for_paraview_has_the_size_of_the_crystal_in_nanometres(result, tmp_path):
    ew.write(result, tmp_path / "crystal.vti")
    _, found = arrays(tmp_path / "crystal.vti", "ImageData")
    image = ElementTree.parse(tmp_path / "crystal.vti").getroot().find("ImageData")
    extent = [int(word) for word in image.get("WholeExtent").split()]
    shape = tuple(high + 1 - low for low, high in zip(extent[::2], extent[1::2], strict=True))
    spacing, origin = (np.array(image.get(name).split(), dtype=float) for name in ("Spacing", "Origin"))
    # x runs fastest: the last axis of NumPy.
    there = found["support"].reshape(shape[::-1]).T > 0
    amplitude = found["amplitude"].reshape(shape[::-1]).T
    places = np.argwhere(amplitude > 0.5 * np.median(amplitude[there]))
    sides = (np.ptp(places, axis=0) + 1) * spacing
    np.testing.assert_allclose(sides, SIDES_NM[::-1], atol=1.5 * spacing[0])
    # The mark lies at positive coordinates of all three axes.
    brightest = np.argwhere(amplitude > 0.9 * amplitude.max()).mean(axis=0) * spacing + origin
    assert (brightest > 10).all()
    assert set(found) == {"amplitude", "phase_rad", "displacement_pm", "strain", "support"}
    strain = found["strain"].reshape(shape[::-1]).T
    along = result.estimate.scattering_vector.numpy()[::-1] / float(result.estimate.scattering_vector.norm())
    side = (np.moveaxis(np.indices(shape), 0, -1) * spacing + origin) @ along
    known = np.isfinite(strain)
    upper, lower = np.median(strain[known & (side > 25)]), np.median(strain[known & (side < -25)])
    assert upper - lower == pytest.approx(2 * SLOPE, rel=0.05)
    np.testing.assert_array_equal(np.isfinite(strain), there)


def test_a_surface_for_paraview_encloses_the_volume_of_the_crystal(result, tmp_path):
    ew.write(result, tmp_path / "crystal.vtp")
    piece, found = arrays(tmp_path / "crystal.vtp", "PolyData")
    points, triangles = found["Points"], found["connectivity"].reshape(-1, 3)
    assert (int(piece.get("NumberOfPoints")), int(piece.get("NumberOfPolys"))) == (len(points), len(triangles))
    np.testing.assert_array_equal(found["offsets"], 3 * np.arange(1, len(triangles) + 1))
    a, b, c = (points[triangles[:, corner]].astype(float) for corner in range(3))
    # Positive: the triangles turn counter-clockwise as seen from outside, in (x, y, z).
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(math.prod(SIDES_NM), rel=0.05)
    np.testing.assert_allclose(np.ptp(points, axis=0), SIDES_NM[::-1], rtol=0.06)
    assert len(found["strain"]) == len(found["displacement_pm"]) == len(points)
    assert np.isfinite(found["strain"]).all()


def test_arrays_and_pages_hold_the_same_volume(result, tmp_path):
    for name in ("crystal.npz", "crystal.tif"):
        ew.write(result, tmp_path / name)
    crystal = ew.crystal_in_laboratory(result.estimate)
    with np.load(tmp_path / "crystal.npz") as held:
        np.testing.assert_allclose(held["amplitude"], crystal.amplitude)
        np.testing.assert_allclose(held["strain"], crystal.strain.astype(np.float32))
        np.testing.assert_allclose(held["x_m"], crystal.axis_m(2))
        assert held["voxel_m"] == crystal.voxel_m
    with tifffile.TiffFile(tmp_path / "crystal.tif") as file:
        pages, told = file.asarray(), file.imagej_metadata
    np.testing.assert_allclose(pages[:, 3], crystal.strain.astype(np.float32))
    assert pages.shape == (len(crystal.object), 5, *crystal.object.shape[1:])
    assert told["spacing"] == pytest.approx(crystal.voxel_m * 1e6)
    assert told["Labels"][:5] == ["amplitude", "phase_rad", "displacement_pm", "strain", "support"]


def test_cxi_holds_the_crystal_its_support_and_how_its_axes_lie(result, tmp_path):
    ew.write(result, tmp_path / "crystal.cxi")
    x = result.estimate
    with h5py.File(tmp_path / "crystal.cxi") as file:
        image = file["entry_1/image_1"]
        np.testing.assert_array_equal(image["data"][()], x.object.numpy())
        np.testing.assert_array_equal(image["mask"][()] == 0x1000, x.support.numpy())
        np.testing.assert_allclose(image["basis_vectors"][1], x.basis_m.numpy()[::-1, 1])
        np.testing.assert_allclose(image["image_size"], np.array(x.object.shape) * result.object_pixel_m)
        assert image["data_type"].asstr()[()] == "electron density"
    back = ew.read_result(tmp_path / "crystal.cxi").estimate
    assert isinstance(back, ew.BraggEstimate)
    assert torch.equal(back.object, x.object)
    assert torch.equal(back.basis_m, x.basis_m)


def test_what_a_result_cannot_be_written_as_is_refused_by_name(result, tmp_path, oracle, truth):
    scan = replace(result, estimate=truth, object_pixel_m=oracle.scan.object_pixel_m)
    for name in ("out.vti", "out.vtp"):
        with pytest.raises(ew.InputError, match=r"vt[ip] is not written of this kind of result \(ptychographic"):
            ew.write(scan, tmp_path / name)
    with pytest.raises(ew.InputError, match=r"ptychodus is not written of this kind of result \(crystal"):
        ew.write(result, tmp_path / "out.h5", format="ptychodus")
    with pytest.raises(ew.InputError, match="no strain to draw; choose amplitude"):
        ew.save_figure(scan, tmp_path / "out.png", ew.FigureOptions(panel=("strain",)))
    assert not list(tmp_path.iterdir())


def test_the_command_exports_crystals(result, tmp_path):
    ew.write(result, tmp_path / "crystal.h5")
    for ending in ("vtp", "png"):
        assert f"crystal.{ending}" in done("export", tmp_path / "crystal.h5", "-o", tmp_path / f"crystal.{ending}").out
        assert (tmp_path / f"crystal.{ending}").stat().st_size > 1000
    words = ("export", tmp_path / "crystal.h5", "-o", tmp_path / "p.png", "--panel", "probe")
    assert "no probe to draw" in refused(tmp_path, *words)


def test_a_surface_is_refused_where_there_is_none(result):
    crystal = ew.crystal_in_laboratory(result.estimate)
    with pytest.raises(ew.InputError, match="level of the surface is 40"):
        ew.crystal_surface(crystal, level=40)
    dark = replace(crystal, object=np.zeros_like(crystal.object))
    with pytest.raises(ew.InputError):
        ew.crystal_surface(dark)
