"""What is stated of a microscope against closed forms: wavelength, angle of a pixel, object pixel."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exitwave.data.errors import FormatError, InputError
from exitwave.data.geometry import Geometry
from exitwave.data.patterns import ArrayPatterns
from exitwave.io import formats
from exitwave.io.assemble import Contents, ReadOptions, assemble
from exitwave.io.files import read, write

FILE = Path("cube.raw")
CUBE = Contents(patterns=ArrayPatterns(np.ones((4, 8, 8), np.float32)), scan_shape=(2, 2), scan_step_m=(1e-10, 1e-10))


def known(stated: ReadOptions, contents: Contents = CUBE) -> Geometry:
    return assemble(contents, stated, FILE, "raw").geometry


def test_the_object_pixel_of_known_angles_is_wavelength_over_pixels_and_angle() -> None:
    geometry = known(ReadOptions(kv=300, mrad_per_px=1.25))
    assert geometry.angles_only
    assert geometry.pixel_angle_rad == pytest.approx((1.25e-3, 1.25e-3))
    assert geometry.object_pixel_m((64, 64))[0] == pytest.approx(1.96875e-12 / (64 * 1.25e-3), rel=1e-5)


def test_camera_length_and_pixel_say_the_same_as_angles() -> None:
    by_length = known(ReadOptions(kv=80, camera_length_m=1.0, detector_pixel_m=1.25e-3))
    assert not by_length.angles_only
    assert by_length.object_pixel_m((64, 64)) == pytest.approx(
        known(ReadOptions(kv=80, mrad_per_px=1.25)).object_pixel_m((64, 64))
    )
    # The right answer of a user's own file.
    assert by_length.object_pixel_m((64, 64))[0] == pytest.approx(52.2e-12, rel=1e-3)


def test_angles_may_differ_between_rows_and_columns() -> None:
    y, x = known(ReadOptions(kv=300, mrad_per_px=(1.0, 2.0))).object_pixel_m((8, 8))
    assert y == pytest.approx(2 * x)


def test_stated_angles_win_over_distance_and_pixel_of_the_file() -> None:
    file = replace(CUBE, distance_m=3.0, detector_pixel_m=(1e-4, 1e-4), wavelength_m=1e-10)
    assert known(ReadOptions(mrad_per_px=2.0), file).pixel_angle_rad == pytest.approx((2e-3, 2e-3))
    angle = replace(CUBE, pixel_angle_rad=(1e-3, 1e-3), wavelength_m=1e-10, detector_pixel_m=(1e-4, 1e-4))
    assert known(ReadOptions(), angle).pixel_angle_rad == pytest.approx((1e-3, 1e-3))
    assert known(ReadOptions(distance_m=2.0), angle).pixel_angle_rad == pytest.approx((5e-5, 5e-5))


@pytest.mark.parametrize("known_too", [{}, {"distance_m": 2.0}, {"detector_pixel_m": (1e-4, 1e-4)}])
def test_a_file_that_knows_the_pixel_of_the_reconstruction_gets_it(known_too: dict[str, object]) -> None:
    file = replace(CUBE, object_pixel_m=(3e-11, 4e-11), wavelength_m=2e-12, **known_too)
    geometry = known(ReadOptions(), file)
    assert geometry.object_pixel_m((8, 8))[0] == pytest.approx(3e-11)
    assert geometry.angles_only == (not known_too)


@pytest.mark.parametrize(
    ("stated", "named"),
    [
        (ReadOptions(mrad_per_px=1.0), r"energy \(--energy-ev, or --kv of electrons\)"),
        (
            ReadOptions(kv=300),
            r"angle of a detector pixel \(--mrad-per-px; --camera-length-m and --detector-pixel-m; or --semi-angle-mrad",
        ),
        (ReadOptions(kv=300, detector_pixel_m=1e-4), "--camera-length-m or --mrad-per-px"),
        (ReadOptions(kv=300, camera_length_m=1.0), "--detector-pixel-m"),
        (ReadOptions(energy_ev=8000), r"sample-detector distance \(--distance-m\), detector pixel size"),
    ],
)
def test_what_is_missing_is_named_with_its_option(stated: ReadOptions, named: str) -> None:
    with pytest.raises(FormatError, match=named):
        known(stated)


@pytest.mark.parametrize(
    "wrong",
    [
        {"camera_length_m": 1.0, "distance_m": 1.0, "detector_pixel_m": 1e-3},
        {"mrad_per_px": 1.0, "camera_length_m": 1.0},
        {"mrad_per_px": -1.0},
        {"mrad_per_px": math.nan},
        {"mrad_per_px": 1.0, "semi_angle_mrad": 20000.0},
        {"mrad_per_px": 1.0, "semi_angle_mrad": math.nan},
        {"mrad_per_px": 1.0, "defocus_nm": math.inf},
        {"mrad_per_px": 1.0, "aberrations": ("C11=5nm",)},
        {"mrad_per_px": 1.0, "aberrations": ("Cs=5nm",)},
        {"mrad_per_px": 1.0, "aberrations": ("C10=5nm",), "defocus_nm": 3.0},
        {"mrad_per_px": 1.0, "semi_angle_mrad": 20.0, "focus_distance_m": 0.1},
    ],
)
def test_values_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        known(ReadOptions(kv=300, **wrong))  # pyright: ignore[reportArgumentType]


def test_what_forms_the_probe_is_kept_in_its_own_units() -> None:
    stated = ReadOptions(
        kv=300, mrad_per_px=1, semi_angle_mrad=20, defocus_nm=-15, aberrations=("C30=1.2mm", "C12=5nm,30deg")
    )
    optics = known(stated).optics
    assert optics is not None
    assert optics.semi_angle_rad == pytest.approx(0.02)
    assert optics.defocus_m == pytest.approx(-15e-9)
    assert optics.words == "semi-angle 20 mrad, defocus -15 nm, C30=1.2mm, C12=5nm,30deg"
    assert [a.coefficient_m for a in optics.coefficients] == pytest.approx([15e-9, 1.2e-3, 5e-9])


@pytest.mark.parametrize("ending", [".cxi", ".nxs"])
def test_a_file_of_ours_remembers_that_only_angles_are_known(tmp_path: Path, ending: str) -> None:
    scan = assemble(CUBE, ReadOptions(kv=300, mrad_per_px=1.25), FILE, "raw")
    write(scan, tmp_path / f"scan{ending}")
    again = read(tmp_path / f"scan{ending}").geometry
    assert again.angles_only
    assert again.particle == "electron"
    assert again.object_pixel_m((8, 8)) == pytest.approx(scan.geometry.object_pixel_m((8, 8)))
    stated = ReadOptions(distance_m=2.0, detector_pixel_m=1e-3)
    assert not formats.read_scan(tmp_path / f"scan{ending}", stated).geometry.angles_only
