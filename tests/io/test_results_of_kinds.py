"""A result of every kind of estimate comes back bit for bit, and plain h5py finds all of it where docs/results.md says."""

import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from exitwave.data.errors import FormatError
from exitwave.data.estimate import BraggEstimate, Estimate, PtychoEstimate, SupportEstimate
from exitwave.data.frame_fits import FrameFits
from exitwave.data.geometry import Geometry
from exitwave.data.result import Result
from exitwave.data.verdict import Verdict
from exitwave.io.export import export
from exitwave.io.results import read_result, write_result

GEOMETRY = Geometry.from_energy(8000.0, 2.0, (75e-6, 55e-6))
PIXEL_M = (2e-8, 1.5e-8)
DOCS = Path(__file__).parents[2] / "docs" / "results.md"


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def deviation(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A standard deviation as solvers give one: real numbers in a complex tensor."""
    return drawn(*shape, seed=seed, dtype=dtype).abs() + 0j


def ptychography(**further: torch.Tensor) -> PtychoEstimate:
    positions = torch.rand(7, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 8
    return PtychoEstimate(object=drawn(2, 20, 24), probe=drawn(3, 10, 12, seed=2), positions_px=positions, **further)


def support(*shape: int, photons: torch.Tensor | None = None) -> SupportEstimate:
    return SupportEstimate(
        object=drawn(*shape),
        support=drawn(*shape, dtype=torch.float32) > 0,
        beam_photons=torch.tensor(1 / 3, dtype=torch.float64) if photons is None else photons,
    )


def crystal(*shape: int) -> BraggEstimate:
    lying = support(*shape)
    return BraggEstimate(
        **lying.tensors(),
        basis_m=torch.tensor([[2e-8, 0, 1e-9], [0, 1.5e-8, 0], [1e-9, 0, 1.5e-8]], dtype=torch.float64),
        scattering_vector=torch.tensor([-1e10, 2e10, 1e10], dtype=torch.float64),
    )


def result_of(estimate: Estimate, spread: Estimate | None, pixel_m: tuple[float, ...] = PIXEL_M) -> Result:
    frames = len(estimate.positions_px) if isinstance(estimate, PtychoEstimate) else 1
    return Result(
        estimate=estimate,
        spread=spread,
        geometry=GEOMETRY,
        object_pixel_m=pixel_m,
        spec={"name": "any", "epochs": 3},
        history=(0.5, 1 / 3),
        residual=1 / 7,
        frame_residual=torch.linspace(0, 1, frames),
        verdict=Verdict(grade="doubtful", reasons=("few frames",), advice=("scan finer",), evidence={"frames": 7.0}),
        provenance={"seed": 3},
    )


MOVED = torch.zeros(7, 2, dtype=torch.float64)
FITS = FrameFits(frames=(3,), measured=torch.ones(1, 5, 4), calculated=torch.ones(1, 5, 4))
RESULTS = {
    "ptychography": result_of(
        ptychography(),
        PtychoEstimate(
            object=deviation(2, 20, 24),
            probe=deviation(3, 10, 12),
            positions_px=torch.zeros(0, 2, dtype=torch.float64),
        ),
    ),
    "all that a scan can vary in": replace(
        result_of(
            ptychography(
                slice_spacing_m=torch.tensor([1 / 3 * 1e-5], dtype=torch.float64),
                variations=drawn(2, 10, 12, seed=3),
                weights=drawn(7, 2, seed=4),
                brightness=drawn(7, dtype=torch.float32),
                background=drawn(10, 12, dtype=torch.float32),
            ),
            Estimate(object=deviation(2, 20, 24, dtype=torch.float64)),
        ),
        frame_fits=FITS,
        recorded_positions_px=MOVED,
    ),
    "double precision": result_of(
        replace(ptychography(), object=drawn(1, 20, 24, dtype=torch.complex128)),
        replace(ptychography(), object=deviation(1, 20, 24, dtype=torch.float64), probe=deviation(3, 10, 12)),
    ),
    "isolated object": result_of(support(16, 18), replace(support(16, 18), object=deviation(16, 18))),
    "isolated object in single precision": result_of(
        support(16, 18, photons=torch.tensor(1e7)), Estimate(object=deviation(16, 18))
    ),
    "isolated volume": result_of(
        support(6, 8, 10), replace(support(6, 8, 10), object=deviation(6, 8, 10)), (3e-8, *PIXEL_M)
    ),
    "crystal": result_of(crystal(6, 8, 10), Estimate(object=deviation(6, 8, 10)), (3e-8, *PIXEL_M)),
    "line": result_of(Estimate(object=drawn(11)), Estimate(object=deviation(11)), (1e-8,)),
    "image": result_of(Estimate(object=drawn(9, 11)), Estimate(object=deviation(9, 11))),
    "four axes": result_of(Estimate(object=drawn(2, 3, 4, 5)), Estimate(object=deviation(2, 3, 4, 5))),
    "without spread": result_of(support(16, 18), None),
}


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def assert_same_bits(left: Estimate | None, right: Estimate | None) -> None:
    assert type(left) is type(right)
    if left is None or right is None:
        return
    ours, theirs = left.tensors(), right.tensors()
    assert set(ours) == set(theirs)
    for name in ours:
        assert ours[name].dtype == theirs[name].dtype, name
        assert ours[name].shape == theirs[name].shape, name
        assert bits(ours[name]) == bits(theirs[name]), name


@pytest.mark.parametrize("name", RESULTS)
def test_every_kind_comes_back_bit_for_bit_with_its_spread(tmp_path, name):
    result = RESULTS[name]
    write_result(tmp_path / "out.h5", result)
    back = read_result(tmp_path / "out.h5")
    assert_same_bits(back.estimate, result.estimate)
    assert_same_bits(back.spread, result.spread)
    assert back.object_pixel_m == result.object_pixel_m
    assert (back.geometry, back.history, back.residual) == (result.geometry, result.history, result.residual)
    assert back.frame_residual is not None
    assert torch.equal(back.frame_residual, result.frame_residual)
    # And once more, to the byte but for when it was written.
    write_result(tmp_path / "again.h5", back)
    assert_same_bits(read_result(tmp_path / "again.h5").estimate, result.estimate)


def test_a_spread_of_nonsense_does_not_hide_the_image(tmp_path):
    result = RESULTS["isolated object"]
    broken = replace(result, spread=Estimate(object=torch.full((16, 18), float("nan"), dtype=torch.complex64)))
    write_result(tmp_path / "out.h5", broken)
    assert_same_bits(read_result(tmp_path / "out.h5").estimate, result.estimate)


def documented() -> list[str]:
    """Paths in the first column of the table of docs/results.md."""
    rows = re.findall(r"^\| (`/entry_1.*?`) \|", DOCS.read_text("utf-8"), re.MULTILINE)
    paths: list[str] = []
    for row in rows:
        first, *others = re.findall(r"`([^`]+)`", row)
        folder = first.rpartition("/")[0]
        paths += [first, *(other if other.startswith("/") else f"{folder}/{other}" for other in others)]
    return paths


def test_plain_h5py_finds_everything_that_the_documentation_names(tmp_path):
    found: set[str] = set()
    for name in ("ptychography", "all that a scan can vary in", "isolated object", "crystal"):
        path = tmp_path / f"{name}.h5"
        write_result(path, RESULTS[name])
        with h5py.File(path) as file:
            found |= {named for named in documented() if named.rstrip("/.") in file}
    paths = documented()
    assert len(paths) > 20
    assert found == set(paths)


def test_every_tensor_stands_under_its_own_name_beside_the_kind(tmp_path):
    for name, result in RESULTS.items():
        path = tmp_path / f"{name}.h5"
        write_result(path, result)
        with h5py.File(path) as file:
            group = file["entry_1/exitwave/estimate"]
            assert group.attrs["kind"] == result.estimate.kind
            assert set(group) == set(result.estimate.tensors())
            for key, tensor in result.estimate.tensors().items():
                np.testing.assert_array_equal(group[key][()], tensor.numpy())


def test_images_and_exact_tensors_are_one_array_under_two_names(tmp_path):
    write_result(tmp_path / "out.h5", RESULTS["ptychography"])
    with h5py.File(tmp_path / "out.h5") as file:
        entry = file["entry_1"]
        for exact, shown in (
            ("estimate/object", "image_1/data"),
            ("estimate/probe", "image_2/data"),
            ("estimate/positions_px", "exitwave/positions_px"),
            ("spread/object", "object_spread/data"),
            ("spread/probe", "probe_spread/data"),
        ):
            assert isinstance(entry["exitwave"].get(exact, getlink=True), h5py.HardLink)
            assert entry["exitwave"][exact] == entry[shown]


def test_a_volume_has_three_axes_in_metres_and_slices_have_none(tmp_path):
    write_result(tmp_path / "volume.h5", RESULTS["isolated volume"])
    write_result(tmp_path / "slices.h5", RESULTS["ptychography"])
    with h5py.File(tmp_path / "volume.h5") as file:
        image = file["entry_1/image_1"]
        assert list(image.attrs["axes"]) == ["z", "y", "x"]
        for axis, size, length in zip("zyx", (3e-8, *PIXEL_M), (6, 8, 10), strict=True):
            np.testing.assert_allclose(image[axis][()], (np.arange(length) - length // 2) * size)
        support = file["entry_1/object_support/data"][()]
        np.testing.assert_array_equal(support, RESULTS["isolated volume"].estimate.support)  # pyright: ignore
    with h5py.File(tmp_path / "slices.h5") as file:
        image = file["entry_1/image_1"]
        assert list(image.attrs["axes"]) == ["slice", "y", "x"]
        assert "units" not in image["slice"].attrs


def test_a_tensor_that_is_missing_is_named_and_a_kind_that_is_not_installed_too(tmp_path):
    path = tmp_path / "out.h5"
    write_result(path, RESULTS["isolated object"])
    whole = path.read_bytes()
    with h5py.File(path, "r+") as file:
        del file["entry_1/exitwave/estimate/beam_photons"]
    with pytest.raises(FormatError, match="lacks /entry_1/exitwave/estimate/beam_photons"):
        read_result(path)
    path.write_bytes(whole)
    with h5py.File(path, "r+") as file:
        file["entry_1/exitwave/estimate"].attrs["kind"] = "hologram"
    with pytest.raises(FormatError, match="kind hologram, which is not installed here"):
        read_result(path)


@pytest.mark.parametrize("name", ["isolated object", "ptychography"])
def test_a_file_that_says_no_kind_or_no_length_of_a_pixel_is_refused(tmp_path, name):
    path = tmp_path / "out.h5"
    for group, attribute, value in (
        ("estimate", "kind", None),
        (".", "object_pixel_m", 1j),
        (".", "object_pixel_m", "a"),
    ):
        write_result(path, RESULTS[name])
        with h5py.File(path, "r+") as file:
            attributes = file["entry_1/exitwave"][group].attrs
            del attributes[attribute]
            if value is not None:
                attributes[attribute] = value
        if value is None and name == "ptychography":
            # As files of 0.1.0 were.
            assert_same_bits(read_result(path).estimate, RESULTS[name].estimate)
            continue
        with pytest.raises(FormatError, match="damaged or was edited"):
            read_result(path)


def test_an_image_taken_out_for_a_viewer_does_not_harm_the_exact_tensors(tmp_path):
    path = tmp_path / "out.h5"
    write_result(path, RESULTS["ptychography"])
    with h5py.File(path, "r+") as file:
        del file["entry_1/image_1"]
    assert_same_bits(read_result(path).estimate, RESULTS["ptychography"].estimate)


@pytest.mark.parametrize("ending", ["cxi", "tif", "png"])
@pytest.mark.parametrize("name", RESULTS)
def test_every_kind_can_be_exported_as_an_image(tmp_path, name, ending):
    # Crystals have pictures of their own.
    ending = "vti" if (name, ending) == ("crystal", "png") else ending
    export(RESULTS[name], tmp_path / f"out.{ending}")
    assert (tmp_path / f"out.{ending}").stat().st_size > 100


@pytest.mark.parametrize("value", [np.array([1.0, 2.0]), 0.0, -1.0, float("nan"), 1 + 1j, np.ones((1, 1))])
def test_a_beam_without_a_number_of_photons_is_refused(tmp_path, value):
    path = tmp_path / "out.h5"
    write_result(path, RESULTS["isolated object"])
    with h5py.File(path, "r+") as file:
        del file["entry_1/exitwave/estimate/beam_photons"]
        file["entry_1/exitwave/estimate/beam_photons"] = value
    with pytest.raises(FormatError, match="is damaged or was edited"):
        read_result(path)
