"""A support that the user states: shapes, lengths, files, and what is refused."""

import math

import h5py
import numpy as np
import pytest
import tifffile
import torch

from exitwave.data.errors import FormatError, InputError
from exitwave.problems.cdi import pattern_problem
from exitwave.problems.stated_support import stated_support
from scans import known_print

PIXEL_M = (20e-9, 40e-9)


def test_a_circle_has_its_radius_in_pixels_or_in_lengths():
    circle = stated_support("circle:12", (64, 64), PIXEL_M)
    assert int(circle.sum()) == pytest.approx(math.pi * 12**2, rel=0.03)
    assert bool(circle[32 + 12, 32])
    assert not bool(circle[32 + 13, 32])
    stretched = stated_support("circle:0.24um", (64, 64), PIXEL_M)
    assert bool(stretched[32 + 12, 32])
    assert bool(stretched[32, 32 + 6])
    assert not bool(stretched[32, 32 + 7])
    ball = stated_support("circle:6", (24, 26, 28), (1e-8,) * 3)
    assert int(ball.sum()) == pytest.approx(4 / 3 * math.pi * 6**3, rel=0.05)


def test_a_rectangle_is_rows_by_columns_in_the_middle():
    found = stated_support("rectangle:10x20", (64, 65), PIXEL_M).nonzero()
    assert found.amin(dim=0).tolist() == [27, 22]
    assert found.amax(dim=0).tolist() == [36, 41]
    lengths = stated_support("rectangle:200nmx0.8um", (64, 65), PIXEL_M).nonzero()
    assert torch.equal(lengths, found)


@pytest.mark.parametrize("kind", ["npy", "tif", "h5"])
def test_an_image_is_laid_into_the_middle(tmp_path, kind):
    image = np.zeros((20, 21), np.uint8)
    image[3, 5] = 1
    path = tmp_path / f"support.{kind}"
    if kind == "npy":
        np.save(path, image)
    elif kind == "tif":
        tifffile.imwrite(path, image)
    else:
        with h5py.File(path, "w") as file:
            file["entry/support"] = image
    name = f"{path}:/entry/support" if kind == "h5" else str(path)
    found = stated_support(name, (64, 64), PIXEL_M)
    assert found.nonzero().tolist() == [[32 - 10 + 3, 32 - 10 + 5]]


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ("circle:big", "is no shape; expected circle:RADIUS"),
        ("rectangle:10", "is no shape"),
        ("circle:0", "expected a number of object pixels above 0"),
        ("circle:60", "allows 100% of the object's array"),
    ],
)
def test_what_is_no_support_is_refused(stated, words):
    with pytest.raises(InputError, match=words):
        stated_support(stated, (64, 64), PIXEL_M)


def test_files_that_are_no_support_are_refused_by_name(tmp_path):
    np.save(tmp_path / "large.npy", np.ones((80, 20)))
    np.save(tmp_path / "empty.npy", np.zeros((20, 20)))
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["c"] = np.ones((4, 4)), np.ones((4, 4))
    for name, words in (("large.npy", "has shape 80 x 20"), ("empty.npy", "allows 0%")):
        with pytest.raises(InputError, match=words):
            stated_support(str(tmp_path / name), (64, 64), PIXEL_M)
    for name, words in (
        ("none.npy", "does not exist"),
        ("two.h5", "say which dataset"),
        ("two.h5:/b", "holds no dataset /b"),
    ):
        with pytest.raises(FormatError, match=words):
            stated_support(str(tmp_path / name), (64, 64), PIXEL_M)


def test_a_stated_support_is_where_solvers_begin_and_holds_pixels_out():
    problem = pattern_problem(known_print(phase=3.0).pattern, support="circle:20")
    assert int(problem.first_support.sum()) == pytest.approx(math.pi * 400, rel=0.02)
    assert problem.support_is_known
    assert problem.has_held_out
    with pytest.raises(InputError, match="state the support"):
        pattern_problem(known_print(phase=3.0, stop_px=30).pattern)
