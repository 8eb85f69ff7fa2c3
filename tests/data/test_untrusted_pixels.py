"""Untrusted pixels are filled from their nearest trusted neighbours, and nothing else changes."""

import torch

from exitwave.data.untrusted_pixels import filled_from_neighbours


def test_a_hole_takes_the_value_of_its_nearest_neighbour_and_the_rest_stays():
    pattern = torch.arange(5.0)[:, None].expand(5, 7).clone()
    trusted = torch.ones(5, 7, dtype=torch.bool)
    trusted[:, 3] = False
    spoilt = torch.where(trusted, pattern, 1e6)
    assert torch.equal(filled_from_neighbours(spoilt, trusted), pattern)
    assert torch.equal(filled_from_neighbours(spoilt, torch.ones_like(trusted)), spoilt)
