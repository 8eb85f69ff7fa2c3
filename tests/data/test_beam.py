"""Where the beam stands, how far its light reaches, and sizes that are transformed quickly."""

import pytest
import torch
from scipy import fft

from exitwave.data.beam import beam_centre, is_quick, lit_size, quick_length


def disc(shape, centre, radius):
    rows, columns = torch.arange(shape[0])[:, None] - centre[0], torch.arange(shape[1])[None, :] - centre[1]
    return (torch.hypot(rows.float(), columns.float()) <= radius).float()


def test_the_centre_of_a_disc_behind_a_beam_stop_is_found():
    light = disc((120, 150), (40, 90), 15)
    mask = disc((120, 150), (41, 88), 4) == 0
    assert beam_centre(torch.where(mask, light, 1e6), mask) == (40, 90)


def test_a_dark_frame_has_its_centre_in_the_middle():
    assert beam_centre(torch.zeros(20, 31), torch.ones(20, 31, dtype=torch.bool)) == (10, 15)
    assert beam_centre(torch.ones(20, 31), torch.zeros(20, 31, dtype=torch.bool)) == (10, 15)


@pytest.mark.parametrize("background", [0.0, 0.3])
def test_the_light_reaches_as_far_as_the_disc(background):
    light = 100 * disc((200, 220), (90, 110), 30) + background
    assert 60 <= lit_size(light, (90, 110)) <= 72


def test_quick_lengths_are_even_and_have_small_prime_factors():
    for length in (514, 1030, 257, 97, 4, 3):
        quick = quick_length(length)
        assert quick <= length
        assert quick % 2 == 0
        assert fft.next_fast_len(quick) == quick
    assert quick_length(512) == 512
    assert is_quick(100)
    assert not is_quick(514)
