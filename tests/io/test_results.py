"""Our result file comes back as it was, and other programs can open it."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from exitwave.data.errors import FormatError, InputError
from exitwave.data.estimate import Estimate, PtychoEstimate
from exitwave.data.frame_fits import FrameFits
from exitwave.data.geometry import Geometry
from exitwave.data.result import Result
from exitwave.data.verdict import Verdict
from exitwave.io.results import FORMAT, positions_m, read_result, write_result


@pytest.fixture(scope="module")
def result(oracle, truth) -> Result:
    spread = PtychoEstimate(
        object=truth.object.abs().to(torch.complex64),
        probe=truth.probe.abs().to(torch.complex64),
        positions_px=torch.zeros(0, 2, dtype=torch.float64),
    )
    return Result(
        estimate=replace(truth, positions_px=truth.positions_px + 1 / 3),
        geometry=oracle.scan.geometry,
        object_pixel_m=oracle.scan.object_pixel_m,
        spec={"name": "rpie", "epochs": 3, "alpha": 0.05, "stages": [{"name": "epie"}], "weights": None},
        history=(0.5, 0.1, 1 / 3),
        residual=0.012345678901234567,
        free_residual=0.2,
        frame_residual=torch.linspace(0, 1, 12),
        spread=spread,
        provenance={
            "scan": {"file": "a.cxi", "position_flip": (1, -1)},
            "seed": 7,
            "date": "2026-01-02T03:04:05+00:00",
        },
    )


def assert_same(a: Result, b: Result) -> None:
    for left, right in ((a.estimate, b.estimate), (a.spread, b.spread)):
        for name in vars(left):
            one, other = getattr(left, name), getattr(right, name)
            assert (one is None) == (other is None)
            assert one is None or one.dtype == other.dtype
            assert one is None or torch.equal(one, other)
    assert a.geometry == b.geometry
    assert json.dumps(a.spec) == json.dumps(b.spec)
    assert json.dumps(a.provenance) == json.dumps(b.provenance)
    assert (a.history, a.residual, a.free_residual) == (b.history, b.residual, b.free_residual)
    assert torch.equal(a.frame_residual, b.frame_residual)


def test_a_result_comes_back_exactly(tmp_path, result):
    write_result(tmp_path / "out.h5", result)
    assert_same(result, read_result(tmp_path / "out.h5"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.h5"]


def test_patterns_of_frames_and_recorded_positions_come_back(tmp_path, result):
    measured = torch.linspace(0, 50, 2 * 5 * 4).reshape(2, 5, 4)
    measured[0, 1, 1] = torch.nan
    fits = FrameFits(frames=(3, 11), measured=measured, calculated=measured.nan_to_num().sqrt(), binned=2)
    positions = result.estimate.positions_px - 0.25
    write_result(tmp_path / "out.h5", replace(result, frame_fits=fits, recorded_positions_px=positions))
    back = read_result(tmp_path / "out.h5")
    assert back.frame_fits is not None
    assert torch.allclose(back.frame_fits.measured, measured, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(back.frame_fits.calculated, fits.calculated)
    assert (back.frame_fits.frames, back.frame_fits.binned) == ((3, 11), 2)
    assert torch.equal(back.recorded_positions_px, positions)
    write_result(tmp_path / "bare.h5", result)
    bare = read_result(tmp_path / "bare.h5")
    assert bare.frame_fits is None
    assert bare.recorded_positions_px is None


def test_patterns_and_positions_that_were_edited_are_refused(tmp_path, result):
    fits = FrameFits(frames=(0,), measured=torch.ones(1, 4, 4), calculated=torch.ones(1, 4, 4))
    for place, wrong in (
        ("frame_fits/frames", [1, 2]),
        ("frame_fits/calculated", np.ones(3)),
        ("recorded_positions_px", [[0.0]]),
    ):
        write_result(
            tmp_path / "out.h5", replace(result, frame_fits=fits, recorded_positions_px=result.estimate.positions_px)
        )
        with h5py.File(tmp_path / "out.h5", "a") as file:
            del file[f"entry_1/exitwave/{place}"]
            file[f"entry_1/exitwave/{place}"] = wrong
        with pytest.raises(FormatError, match="edited"):
            read_result(tmp_path / "out.h5")


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(wavelength_m=1e-10, distance_m=1.0, detector_pixel_m=(1e-5, 3e-5), focus_distance_m=float("inf")),
        Geometry(wavelength_m=1e-10, distance_m=1.12, detector_pixel_m=(1e-5, 3e-5), focus_distance_m=3.65e-3),
        Geometry.from_voltage(300e3, 1.0, (1e-5, 2e-5)),
    ],
)
def test_every_kind_of_geometry_comes_back(tmp_path, result, geometry):
    write_result(tmp_path / "out.h5", replace(result, geometry=geometry))
    assert read_result(tmp_path / "out.h5").geometry == geometry


def test_what_a_run_did_not_give_stays_absent(tmp_path, result):
    bare = Result(
        estimate=result.estimate,
        geometry=result.geometry,
        object_pixel_m=result.object_pixel_m,
        spec={"name": "epie"},
    )
    write_result(tmp_path / "out.h5", bare)
    back = read_result(tmp_path / "out.h5")
    assert back.spread is None
    assert back.frame_residual is None
    assert back.free_residual is None
    assert np.isnan(back.residual)
    assert back.history == ()
    write_result(tmp_path / "out.h5", replace(bare, spread=Estimate(object=result.spread.object)))
    assert type(read_result(tmp_path / "out.h5").spread) is Estimate


def test_viewers_find_an_image_with_axes_in_metres(tmp_path, result):
    write_result(tmp_path / "out.h5", result)
    with h5py.File(tmp_path / "out.h5") as file:
        entry = file[file.attrs["default"]]
        image = entry[entry.attrs["default"]]
        assert image.attrs["NX_class"] == "NXdata"
        assert image.attrs["interpretation"] == "image"
        signal = image[image.attrs["signal"]]
        assert signal.dtype == np.complex64
        assert [len(image[axis]) for axis in image.attrs["axes"]] == list(signal.shape)
        for axis, size in zip("yx", result.object_pixel_m, strict=True):
            assert image[axis].attrs["units"] == "m"
            assert image[axis][len(image[axis]) // 2] == 0
            assert np.diff(image[axis]) == pytest.approx(size)
        np.testing.assert_allclose(entry["object_amplitude/data"][()] ** 2, np.abs(signal[()]) ** 2, rtol=1e-5)
        np.testing.assert_allclose(entry["object_phase/data"][()], np.angle(signal[()]), atol=1e-6)
        assert entry["object_phase/data"].attrs["units"] == "rad"
        assert json.loads(entry["process_1/configuration"].asstr()[()])["alpha"] == 0.05
        assert entry["instrument_1/source_1/energy"][()] == pytest.approx(8000 * 1.602176634e-19)


def test_positions_in_metres_point_at_the_middle_of_each_window_in_the_image(tmp_path, result):
    write_result(tmp_path / "out.h5", result)
    with h5py.File(tmp_path / "out.h5") as file:
        entry = file["entry_1"]
        places = entry["exitwave/positions_m"][()]
        translation = entry["sample_1/geometry_1/translation"][()]
        rows = np.interp(places[:, 0], entry["image_1/y"], np.arange(40))
        columns = np.interp(places[:, 1], entry["image_1/x"], np.arange(44))
    corners = result.estimate.positions_px.numpy()
    np.testing.assert_allclose(rows, corners[:, 0] + 8, atol=1e-6)
    np.testing.assert_allclose(columns, corners[:, 1] + 10, atol=1e-6)
    np.testing.assert_allclose(translation[:, :2], -places[:, ::-1])
    np.testing.assert_allclose(positions_m(result.estimate, result.object_pixel_m), places)


def test_the_format_is_recognised_by_content_and_gives_estimate_and_probe(tmp_path, result):
    write_result(tmp_path / "no_suffix", result)
    (tmp_path / "text.h5").write_text("hello")
    assert FORMAT.recognises(tmp_path / "no_suffix")
    assert not FORMAT.recognises(tmp_path / "text.h5")
    assert torch.equal(FORMAT.read_estimate(tmp_path / "no_suffix").object, result.estimate.object)
    assert torch.equal(FORMAT.read_probe(tmp_path / "no_suffix"), result.estimate.probe)


def test_a_newer_foreign_or_damaged_file_is_refused_by_name(tmp_path, result):
    path = tmp_path / "out.h5"
    write_result(path, result)
    whole = path.read_bytes()
    with h5py.File(path, "r+") as file:
        file.attrs["exitwave_format"], file.attrs["exitwave_version"] = 99, "7.5"
    with pytest.raises(FormatError, match=r"written by exitwave 7\.5.*update exitwave"):
        read_result(path)
    with h5py.File(path, "w") as file:
        file["data"] = 1
    with pytest.raises(FormatError, match="not a file that exitwave wrote"):
        read_result(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="truncated"):
        read_result(path)
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        del file["entry_1/exitwave/estimate/probe"]
    with pytest.raises(FormatError, match="lacks /entry_1/exitwave/estimate/probe"):
        read_result(path)


def test_a_failed_write_leaves_the_old_result_and_nothing_else(tmp_path, result):
    path = tmp_path / "out.h5"
    write_result(path, result)
    broken = replace(result, frame_residual="not a tensor")
    with pytest.raises(AttributeError):
        write_result(path, broken)
    assert_same(result, read_result(path))
    assert [p.name for p in tmp_path.iterdir()] == ["out.h5"]
    with pytest.raises(InputError, match="does not exist"):
        write_result(tmp_path / "missing" / "out.h5", result)


def test_the_verdict_comes_back_and_is_an_attribute_for_everybody(result: Result, tmp_path):
    verdict = Verdict(grade="doubtful", reasons=("one", "two"), advice=("three",), evidence={"noise-ratio": 1.5})
    path = tmp_path / "judged.h5"
    write_result(path, replace(result, verdict=verdict))
    assert read_result(path).verdict == verdict
    with h5py.File(path) as file:
        assert file["entry_1/exitwave"].attrs["verdict"] == "doubtful"
        assert json.loads(file["entry_1/exitwave/verdict"].asstr()[()])["reasons"] == ["one", "two"]


def test_a_result_without_a_verdict_has_none(result: Result, tmp_path):
    write_result(tmp_path / "plain.h5", result)
    assert read_result(tmp_path / "plain.h5").verdict is None


def test_an_edited_verdict_is_refused(result: Result, tmp_path):
    path = tmp_path / "edited.h5"
    write_result(path, replace(result, verdict=Verdict(grade="sound")))
    with h5py.File(path, "a") as file:
        del file["entry_1/exitwave/verdict"]
        file["entry_1/exitwave/verdict"] = json.dumps({"grade": "splendid"})
    with pytest.raises(FormatError, match="edited"):
        read_result(path)
