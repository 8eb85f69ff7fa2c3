"""Values for rows and columns alike, or for each."""

import pytest

from exitwave.data.errors import InputError
from exitwave.io.pairs import pair, whole_pair


@pytest.mark.parametrize("stated", [(75e-6, 60e-6), "75e-6x60e-6", "75e-6,60e-6", "(7.5e-05, 6e-05)", "75E-6 × 60E-6"])
def test_rows_and_columns_are_told_apart(stated):
    assert pair(stated, "detector_pixel_m") == (75e-6, 60e-6)


@pytest.mark.parametrize("stated", [0.5, "0.5", (0.5, 0.5)])
def test_one_number_is_for_both(stated):
    assert pair(stated, "step_nm") == (0.5, 0.5)


@pytest.mark.parametrize("stated", ["", "x", "1x2x3", "one", float("nan"), "1xinf"])
def test_anything_else_is_refused_by_name(stated):
    with pytest.raises(InputError, match="step_nm is"):
        pair(stated, "step_nm")


def test_sizes_are_whole_numbers():
    assert whole_pair("256x128", "detector_size") == (256, 128)
    assert whole_pair(64, "detector_size") == (64, 64)
    for wrong in ("256.5", 0, "64x-1"):
        with pytest.raises(InputError, match="detector_size is"):
            whole_pair(wrong, "detector_size")
